//! `Cache-Control` (RFC 9111 s5.2, RFC 5861, RFC 8246): what its directives
//! say, not what follows from them.

use http::{HeaderMap, HeaderName, header};

use super::{delta_seconds, list, targeted};

/// What a client asks of caches (RFC 9111 s5.2.1).
///
/// Of a directive that is given twice the first counts; a number of seconds
/// that is none counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing stored without validation, s5.2.1.4; also what
    /// `Pragma: no-cache` says where there is no Cache-Control (s5.4).
    pub no_cache: bool,
    /// Nothing of this exchange is to be stored, s5.2.1.5.
    pub no_store: bool,
    /// Only what is stored, s5.2.1.7.
    pub only_if_cached: bool,
    /// Not older than this, in seconds, s5.2.1.1.
    pub max_age: Option<u32>,
    /// Fresh for this long still, in seconds, s5.2.1.3.
    pub min_fresh: Option<u32>,
    /// Stale for up to this long is welcome, in seconds, s5.2.1.2.
    pub max_stale: Option<u32>,
    /// Stale for up to this long is better than an error, in seconds
    /// (RFC 5861 s4).
    pub stale_if_error: Option<u32>,
}

impl RequestDirectives {
    /// Reads them from a request.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut found = Self::default();
        if fields.contains_key(header::CACHE_CONTROL) {
            for member in list::field_members(fields, &header::CACHE_CONTROL) {
                found.add(&Directive::parse(member));
            }
        } else if fields.contains_key(header::PRAGMA) {
            found.no_cache = list::field_members(fields, &header::PRAGMA)
                .any(|member| Directive::parse(member).is(b"no-cache"));
        }
        found
    }

    fn add(&mut self, directive: &Directive<'_>) {
        match directive.name() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => keep_first(&mut self.max_age, directive.seconds()),
            b"min-fresh" => keep_first(&mut self.min_fresh, directive.seconds()),
            b"max-stale" if directive.argument.is_none() => keep_first(&mut self.max_stale, u32::MAX),
            b"max-stale" => keep_first(&mut self.max_stale, directive.seconds()),
            b"stale-if-error" => keep_first(&mut self.stale_if_error, directive.seconds()),
            _ => {}
        }
    }
}

/// What a response says to shared caches (RFC 9111 s5.2.2).
///
/// Of a lifetime that is given twice the first counts, and one that is no
/// number counts as 0, which is stale (s4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// Fresh for this long, in seconds, s5.2.2.1.
    pub max_age: Option<u32>,
    /// The same for shared caches only, and no stale use, s5.2.2.10.
    pub s_maxage: Option<u32>,
    /// Not to be used without validation, s5.2.2.4.
    pub no_cache: NoCache,
    /// Not to be stored, s5.2.2.5.
    pub no_store: bool,
    /// Not to be stored by a shared cache, s5.2.2.7; also the form that names
    /// fields, as the standard allows.
    pub private: bool,
    /// May be stored where that is otherwise forbidden, s5.2.2.9.
    pub public: bool,
    /// No stale use, s5.2.2.2.
    pub must_revalidate: bool,
    /// No stale use by a shared cache, s5.2.2.8.
    pub proxy_revalidate: bool,
    /// Only for caches that know the status code, s5.2.2.3.
    pub must_understand: bool,
    /// Does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// Usable this long past its lifetime while it is validated, in seconds
    /// (RFC 5861 s3).
    pub stale_while_revalidate: Option<u32>,
    /// Usable this long past its lifetime in place of an error, in seconds
    /// (RFC 5861 s4).
    pub stale_if_error: Option<u32>,
}

/// Do these fields, of a request or a response, say `no-transform`: that the
/// content has to stay as it is (RFC 9111 s5.2.1.6, s5.2.2.6)? In
/// CDN-Cache-Control, too.
pub fn forbids_transform(fields: &HeaderMap) -> bool {
    [header::CACHE_CONTROL, targeted::CDN_CACHE_CONTROL].iter().any(|name| {
        list::field_members(fields, name).any(|member| Directive::parse(member).is(b"no-transform"))
    })
}

/// The two forms of the response directive `no-cache`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// Not given.
    #[default]
    No,
    /// Usable without these fields.
    Fields(Vec<HeaderName>),
    /// Not usable without validation.
    Whole,
}

impl ResponseDirectives {
    /// Reads them from the Cache-Control of a response.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut found = Self::default();
        for member in list::field_members(fields, &header::CACHE_CONTROL) {
            found.add(&Directive::parse(member));
        }
        found
    }

    pub(super) fn add(&mut self, directive: &Directive<'_>) {
        match directive.name() {
            b"max-age" => keep_first(&mut self.max_age, directive.seconds()),
            b"s-maxage" => keep_first(&mut self.s_maxage, directive.seconds()),
            b"no-cache" => self.no_cache.add(directive.field_names()),
            b"no-store" => self.no_store = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"immutable" => self.immutable = true,
            b"stale-while-revalidate" => keep_first(&mut self.stale_while_revalidate, directive.seconds()),
            b"stale-if-error" => keep_first(&mut self.stale_if_error, directive.seconds()),
            _ => {}
        }
    }
}

impl NoCache {
    /// Adds one occurrence: the fields it names, or none if it names none or
    /// names them in a way that is not understood.
    fn add(&mut self, names: Option<Vec<HeaderName>>) {
        match (names, &mut *self) {
            (None, _) | (_, Self::Whole) => *self = Self::Whole,
            (Some(names), Self::No) => *self = Self::Fields(names),
            (Some(names), Self::Fields(known)) => known.extend(names),
        }
    }
}

fn keep_first(place: &mut Option<u32>, seconds: u32) {
    place.get_or_insert(seconds);
}

/// No directive that is known has a longer name than `stale-while-revalidate`.
const LONGEST_NAME: usize = 24;

/// What has another separator behind it is heeded only if it forbids something.
const FORBIDDING: [&[u8]; 6] =
    [b"no-store", b"private", b"no-cache", b"must-revalidate", b"proxy-revalidate", b"no-transform"];

/// One directive: a name, and what stands behind its `=`.
#[derive(Debug)]
pub(super) struct Directive<'a> {
    lower: [u8; LONGEST_NAME],
    length: usize,
    argument: Option<&'a [u8]>,
}

impl<'a> Directive<'a> {
    fn parse(member: &'a [u8]) -> Self {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let end = member.iter().position(|byte| !is_of_name(byte)).unwrap_or(member.len());
        let (name, behind) = member.split_at(end);
        match behind {
            [] => Self::new(name, None),
            [b'=', argument @ ..] => Self::new(name, Some(argument)),
            // Space before the `=` is not allowed: the name is heeded, for
            // `no-store =x` is meant seriously, but no number is taken from it.
            _ if behind.trim_ascii_start().starts_with(b"=") => Self::new(name, Some(b"")),
            // So is `private; max-age=60`, of which nothing else is taken.
            _ if FORBIDDING.iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                Self::new(name, Some(b""))
            }
            _ => Self::new(b"", None),
        }
    }

    pub(super) fn new(name: &[u8], argument: Option<&'a [u8]>) -> Self {
        let mut lower = [0; LONGEST_NAME];
        // A longer name is cut to nothing, which is no directive.
        let length = if name.len() <= LONGEST_NAME { name.len() } else { 0 };
        for (to, from) in lower.iter_mut().zip(name.iter().take(length)) {
            *to = from.to_ascii_lowercase();
        }
        Self { lower, length, argument }
    }

    /// The name in lower case; empty if it is none that is known.
    fn name(&self) -> &[u8] {
        self.lower.get(..self.length).unwrap_or_default()
    }

    fn is(&self, name: &[u8]) -> bool {
        self.name() == name
    }

    /// The argument without its quotes, in which nothing is escaped where a
    /// number or field names stand.
    fn unquoted(&self) -> Option<&'a [u8]> {
        let argument = self.argument?;
        let inner = argument.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
        Some(inner.unwrap_or(argument))
    }

    /// The argument as seconds; 0 if it is missing or no number.
    fn seconds(&self) -> u32 {
        self.unquoted().and_then(delta_seconds::parse).unwrap_or(0)
    }

    /// The argument as a list of at least one field name.
    fn field_names(&self) -> Option<Vec<HeaderName>> {
        let names: Result<Vec<_>, _> = list::members(self.unquoted()?).map(HeaderName::from_bytes).collect();
        names.ok().filter(|names| !names.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(name.clone(), line.parse().unwrap());
        }
        fields
    }

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&fields(&header::CACHE_CONTROL, lines))
    }

    /// RFC 9111 s4.2.1 and s5.2: what max-age comes to.
    #[test]
    fn max_age() {
        for (lines, expected) in [
            (&[][..], None),
            (&["foobar"], None),
            (&["max-age=3600"], Some(3600)),
            (&["MaX-aGe=3600"], Some(3600)),
            (&["foo, max-age=1"], Some(1)),
            (&["max-age=\"3600\""], Some(3600)),
            (&["max-age=003600"], Some(3600)),
            (&["max-age=99999999999"], Some(delta_seconds::MAX)),
            (&["max-age=1800, max-age=1"], Some(1800)),
            (&["max-age=1", "max-age=1800"], Some(1)),
            (&["x=\"max-age=3600\", max-age=1"], Some(1)),
            (&["x=\"a\\\", max-age=3600\""], None),
            (&["max-age=-3600"], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age='3600'"], Some(0)),
            (&["max-age=3600.0"], Some(0)),
            (&["max-age=a3600"], Some(0)),
            (&["max-age=3600a"], Some(0)),
            (&["max-age =3600"], Some(0)),
            (&["max-age= 3600"], Some(0)),
            (&["max-age=\"3600"], Some(0)),
            (&["max-age:3600"], None),
            (&["s-maxage=3600"], None),
        ] {
            assert_eq!(response(lines).max_age, expected, "{lines:?}");
        }
    }

    #[test]
    fn every_response_directive_is_known() {
        let all = "S-Maxage=2, NO-STORE, private=\"x\", public, must-revalidate, proxy-revalidate, \
                   must-understand, immutable, stale-while-revalidate=3, stale-if-error=4";
        let expected = ResponseDirectives {
            max_age: None,
            s_maxage: Some(2),
            no_cache: NoCache::No,
            no_store: true,
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            immutable: true,
            stale_while_revalidate: Some(3),
            stale_if_error: Some(4),
        };
        assert_eq!(response(&[all]), expected);
    }

    #[test]
    fn what_forbids_is_heeded_however_it_is_separated() {
        let none = ResponseDirectives::default();
        for (line, expected) in [
            ("private; max-age=100", ResponseDirectives { private: true, ..none.clone() }),
            ("no-store;", ResponseDirectives { no_store: true, ..none.clone() }),
            ("no-store ; foo", ResponseDirectives { no_store: true, ..none.clone() }),
            ("No-Store max-age=100", ResponseDirectives { no_store: true, ..none.clone() }),
            ("no-cache; no-store", ResponseDirectives { no_cache: NoCache::Whole, ..none.clone() }),
            ("no-cache no-store", ResponseDirectives { no_cache: NoCache::Whole, ..none.clone() }),
            ("must-revalidate: 1", ResponseDirectives { must_revalidate: true, ..none.clone() }),
            ("public; max-age=100", none.clone()),
            ("max-age=1; public", ResponseDirectives { max_age: Some(0), ..none.clone() }),
            ("immutable;", none.clone()),
            ("privateer, no-storey", none.clone()),
        ] {
            assert_eq!(response(&[line]), expected, "{line}");
        }
    }

    /// RFC 9111 s5.2.2.4
    #[test]
    fn both_forms_of_no_cache() {
        let names =
            |names: &[&str]| NoCache::Fields(names.iter().map(|name| name.parse().unwrap()).collect());
        for (lines, expected) in [
            (&["max-age=1"][..], NoCache::No),
            (&["no-cache"], NoCache::Whole),
            (&["No-Cache=\"\""], NoCache::Whole),
            (&["no-cache=\"a b\""], NoCache::Whole),
            (&["no-cache = \"a\""], NoCache::Whole),
            (&["no-cache=\"A\""], names(&["a"])),
            (&["no-cache=a"], names(&["a"])),
            (&["no-cache=\"a, b\"", "no-cache=\"c\""], names(&["a", "b", "c"])),
            (&["no-cache=\"a\"", "no-cache"], NoCache::Whole),
            (&["no-cache", "no-cache=\"a\""], NoCache::Whole),
        ] {
            assert_eq!(response(lines).no_cache, expected, "{lines:?}");
        }
    }

    /// RFC 9111 s5.2.1 and s5.4
    #[test]
    fn what_clients_ask_for() {
        let asked = |text| RequestDirectives::of(&fields(&header::CACHE_CONTROL, &[text]));
        let none = RequestDirectives::default();
        for (text, expected) in [
            ("nothing-to-see-here", none),
            ("x, No-Cache", RequestDirectives { no_cache: true, ..none }),
            ("no-store", RequestDirectives { no_store: true, ..none }),
            ("only-if-cached", RequestDirectives { only_if_cached: true, ..none }),
            ("max-age=0", RequestDirectives { max_age: Some(0), ..none }),
            ("min-fresh=5", RequestDirectives { min_fresh: Some(5), ..none }),
            ("max-stale", RequestDirectives { max_stale: Some(u32::MAX), ..none }),
            ("max-stale=7", RequestDirectives { max_stale: Some(7), ..none }),
            ("max-stale=x", RequestDirectives { max_stale: Some(0), ..none }),
            ("stale-if-error=9", RequestDirectives { stale_if_error: Some(9), ..none }),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
        let mut pragma = fields(&header::PRAGMA, &["foo, no-cache"]);
        assert!(RequestDirectives::of(&pragma).no_cache);
        pragma.insert(header::CACHE_CONTROL, "x".parse().unwrap());
        assert!(!RequestDirectives::of(&pragma).no_cache);
    }
}
