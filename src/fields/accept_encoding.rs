//! `Accept-Encoding` (RFC 9110 s12.5.3): which content codings a client takes,
//! and which it likes best. Knows nothing of what there is to choose from.

use http::{HeaderMap, header};

use super::coding::{Coding, is_same};
use super::list;

/// The weight of what is taken gladly, in thousandths (RFC 9110 s12.4.2).
const FULL: u16 = 1000;

/// What a request says of the codings that are made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptEncoding {
    /// In the order of [`Coding::ALL`], in thousandths; 0 is a refusal.
    weights: [u16; Coding::ALL.len()],
    /// `None` where it is not mentioned, and so taken if nothing else is there.
    identity: Option<u16>,
}

impl AcceptEncoding {
    /// Reads it from a request; `None` where the field is absent, which says
    /// nothing. Of a coding that is named twice the first counts.
    pub fn of(request: &HeaderMap) -> Option<Self> {
        if !request.contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let (mut weights, mut identity, mut others) = ([None; Coding::ALL.len()], None, None);
        for (name, weight) in members(request) {
            let said = match Coding::ALL.iter().position(|coding| is_same(name, coding.as_str().as_bytes())) {
                Some(at) => &mut weights[at],
                None if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                None if name == b"*" => &mut others,
                None => continue,
            };
            said.get_or_insert(weight);
        }
        let weights = weights.map(|weight| weight.or(others).unwrap_or(0));
        Some(Self { weights, identity: identity.or(others) })
    }

    /// The one of `offered` that the client likes best, and among equals the
    /// first; `None` if it would rather have none of them.
    pub fn choose(self, offered: &[Coding]) -> Option<Coding> {
        let weight = |coding: Coding| self.weights[coding as usize];
        let best = offered.iter().copied().rev().max_by_key(|coding| weight(*coding))?;
        (weight(best) > 0 && weight(best) >= self.identity.unwrap_or(0)).then_some(best)
    }

    /// What caches compare: which of the codings are taken at all, and whether
    /// content without any is refused. One of sixteen texts.
    pub fn normal_form(self) -> &'static str {
        let takes = self.weights.iter().enumerate().map(|(at, weight)| usize::from(*weight > 0) << at);
        let refuses = usize::from(self.identity == Some(0)) << Coding::ALL.len();
        FORMS[takes.sum::<usize>() + refuses]
    }
}

/// By the codings that are taken, a bit for each, and one for the refusal of
/// content without any.
const FORMS: [&str; 16] = [
    "",
    "br",
    "gzip",
    "br,gzip",
    "zstd",
    "br,zstd",
    "gzip,zstd",
    "br,gzip,zstd",
    "identity;q=0",
    "br,identity;q=0",
    "gzip,identity;q=0",
    "br,gzip,identity;q=0",
    "zstd,identity;q=0",
    "br,zstd,identity;q=0",
    "gzip,zstd,identity;q=0",
    "br,gzip,zstd,identity;q=0",
];

/// Does a request take content in `coding`, be it known here or not? One
/// without the field takes any, one whose field is empty takes none.
pub fn accepts(request: &HeaderMap, coding: &[u8]) -> bool {
    if !request.contains_key(header::ACCEPT_ENCODING) {
        return true;
    }
    let mut others = None;
    for (name, weight) in members(request) {
        if is_same(name, coding) {
            return weight > 0;
        }
        if name == b"*" {
            others.get_or_insert(weight > 0);
        }
    }
    others.unwrap_or(false)
}

/// The codings that are named, each with its weight.
fn members(request: &HeaderMap) -> impl Iterator<Item = (&[u8], u16)> {
    list::field_members(request, &header::ACCEPT_ENCODING).map(|member| {
        match member.iter().position(|byte| *byte == b';') {
            Some(at) => (member[..at].trim_ascii_end(), weight(&member[at + 1..])),
            None => (member, FULL),
        }
    })
}

/// The weight that `text`, such as `q=0.5`, gives. What is no weight is taken
/// for a refusal: content without a coding is always understood.
fn weight(text: &[u8]) -> u16 {
    let Some(sign) = text.iter().position(|byte| *byte == b'=') else { return 0 };
    if !text[..sign].trim_ascii().eq_ignore_ascii_case(b"q") {
        return 0;
    }
    match text[sign + 1..].trim_ascii() {
        [b'1'] => FULL,
        [b'1', b'.', rest @ ..] if rest.iter().all(|digit| *digit == b'0') => FULL,
        [b'0', b'.', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            let digit = |at: usize| rest.get(at).map_or(0, |digit| u16::from(digit - b'0'));
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asking(lines: &[&str]) -> HeaderMap {
        let mut request = HeaderMap::new();
        for line in lines {
            request.append(header::ACCEPT_ENCODING, line.parse().unwrap());
        }
        request
    }

    #[test]
    fn codings_that_are_taken() {
        for (lines, coding, expected) in [
            (&[][..], "gzip", true),
            (&[""], "gzip", false),
            (&["identity"], "gzip", false),
            (&["gzip"], "gzip", true),
            (&["GZip"], "x-gzip", true),
            (&["*;q=0, *"], "gzip", false),
            (&["*, *;q=0"], "gzip", true),
            (&["br, gzip;q=0.5"], "gzip", true),
            (&["br", "gzip"], "gzip", true),
            (&["gzip ; Q = 0.000"], "gzip", false),
            (&["gzip;q=0.001"], "gzip", true),
            (&["gzip;q=x"], "gzip", false),
            (&["*"], "br", true),
            (&["*;q=0"], "br", false),
            (&["*;q=0, br"], "br", true),
            (&["br;q=0, *"], "br", false),
            (&["x-br"], "br", false),
            (&["gzi"], "gzip", false),
            (&["deflate"], "deflate", true),
        ] {
            assert_eq!(accepts(&asking(lines), coding.as_bytes()), expected, "{lines:?} {coding}");
        }
    }

    /// RFC 9110 s12.5.3
    #[test]
    fn the_coding_that_is_liked_best_is_chosen() {
        use Coding::{Brotli, Gzip, Zstd};
        let offered = [Zstd, Brotli, Gzip];
        for (lines, expected) in [
            (&[""][..], None),
            (&["identity"], None),
            (&["deflate"], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["gzip, deflate, br"], Some(Brotli)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "zstd"], Some(Zstd)),
            (&["zstd;q=0.5, br;q=0.7, gzip;q=0.7"], Some(Brotli)),
            (&["br;q=0.1, gzip"], Some(Gzip)),
            (&["br;q=0"], None),
            (&["*"], Some(Zstd)),
            (&["*, zstd;q=0"], Some(Brotli)),
            (&["*;q=0"], None),
            (&["*;q=0, gzip;q=0.001"], Some(Gzip)),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0, gzip;q=0.1"], Some(Gzip)),
            (&["gzip;q=1.000"], Some(Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=-1"], None),
            (&["gzip;level=9"], None),
            (&["gzip;q=0, gzip"], None),
        ] {
            let said = AcceptEncoding::of(&asking(lines)).unwrap();
            assert_eq!(said.choose(&offered), expected, "{lines:?}");
        }
        let any = AcceptEncoding::of(&asking(&["*"])).unwrap();
        assert_eq!((any.choose(&[Gzip, Zstd]), any.choose(&[])), (Some(Gzip), None));
        assert_eq!(AcceptEncoding::of(&asking(&[])), None);
    }

    #[test]
    fn a_few_forms_stand_for_all() {
        for (lines, expected) in [
            (&[""][..], ""),
            (&["deflate, compress, foo"], ""),
            (&["gzip, deflate, br"], "br,gzip"),
            (&["br;q=1.0, gzip"], "br,gzip"),
            (&["GZIP;q=0.2", "zstd"], "gzip,zstd"),
            (&["*"], "br,gzip,zstd"),
            (&["*;q=0"], "identity;q=0"),
            (&["identity;q=0, *;q=0.1, br;q=0"], "gzip,zstd,identity;q=0"),
        ] {
            assert_eq!(AcceptEncoding::of(&asking(lines)).unwrap().normal_form(), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_accepted(line in "[a-z*;=., 01]{0,40}|(gzip|br|\\*|identity)(;q=[01](\\.[0-9]{1,3})?)?(, ?(zstd|br|identity)(;q=0\\.[0-9])?){0,3}") {
            let request = asking(&[&line]);
            let said = AcceptEncoding::of(&request).unwrap();
            let form = said.normal_form();
            for coding in Coding::ALL {
                let is_accepted = accepts(&request, coding.as_str().as_bytes());
                prop_assert_eq!(form.split(',').any(|name| name == coding.as_str()), is_accepted);
                if said.choose(&[coding]).is_some() {
                    prop_assert!(is_accepted);
                }
            }
        }
    }
}
