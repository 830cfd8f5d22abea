//! `Accept-Encoding` (RFC 9110 s12.5.3): which content codings a client takes.

use http::{HeaderMap, header};

use super::list;

/// Does a request take content in `coding`? One without the field takes any,
/// one whose field is empty takes none.
pub fn accepts(request: &HeaderMap, coding: &[u8]) -> bool {
    if !request.contains_key(header::ACCEPT_ENCODING) {
        return true;
    }
    let mut others = false;
    for member in list::field_members(request, &header::ACCEPT_ENCODING) {
        let (name, weight) = match member.iter().position(|byte| *byte == b';') {
            Some(at) => member.split_at(at),
            None => (member, &b""[..]),
        };
        if is_same(name.trim_ascii_end(), coding) {
            return !is_zero(weight);
        }
        others |= name.trim_ascii_end() == b"*" && !is_zero(weight);
    }
    others
}

/// Are these names of one coding (RFC 9110 s8.4.1.3)?
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let is_gzip = |name: &[u8]| name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
    one.eq_ignore_ascii_case(other) || (is_gzip(one) && is_gzip(other))
}

/// Is `weight`, such as `;q=0.0`, a refusal?
fn is_zero(weight: &[u8]) -> bool {
    let mut letters = weight.iter().filter(|byte| !byte.is_ascii_whitespace());
    let begins = [b';', b'q', b'=']
        .iter()
        .all(|wanted| letters.next().is_some_and(|letter| letter.eq_ignore_ascii_case(wanted)));
    begins && letters.all(|letter| matches!(letter, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_that_are_taken() {
        for (lines, coding, expected) in [
            (&[][..], "gzip", true),
            (&[""], "gzip", false),
            (&["identity"], "gzip", false),
            (&["gzip"], "gzip", true),
            (&["GZip"], "x-gzip", true),
            (&["br, gzip;q=0.5"], "gzip", true),
            (&["br", "gzip"], "gzip", true),
            (&["gzip ; Q = 0.000"], "gzip", false),
            (&["gzip;q=0.001"], "gzip", true),
            (&["*"], "br", true),
            (&["*;q=0"], "br", false),
            (&["*;q=0, br"], "br", true),
            (&["br;q=0, *"], "br", false),
            (&["x-br"], "br", false),
            (&["gzi"], "gzip", false),
        ] {
            let mut request = HeaderMap::new();
            for line in lines {
                request.append(header::ACCEPT_ENCODING, line.parse().unwrap());
            }
            assert_eq!(accepts(&request, coding.as_bytes()), expected, "{lines:?} {coding}");
        }
    }
}
