//! `Accept-Language` (RFC 9110 s12.5.4): which language a client likes best.
//! Knows nothing of which languages there are.

use http::{HeaderMap, header};

use super::list;

/// The weight of what is taken gladly, in thousandths (RFC 9110 s12.4.2).
const FULL: u16 = 1000;

/// The one language that the client likes better than every other, as it is
/// written; `None` if several are liked as well, or it is `*`.
pub fn preferred(request: &HeaderMap) -> Option<&[u8]> {
    let (mut best, mut is_alone) = (None::<(&[u8], u16)>, true);
    for member in list::field_members(request, &header::ACCEPT_LANGUAGE) {
        let (language, weight) = match member.iter().position(|byte| *byte == b';') {
            Some(at) => (member[..at].trim_ascii_end(), weight(&member[at + 1..])?),
            None => (member, FULL),
        };
        match best {
            Some((_, most)) if weight < most => {}
            Some((_, most)) if weight == most => is_alone = false,
            _ => (best, is_alone) = (Some((language, weight)), true),
        }
    }
    best.filter(|(language, weight)| is_alone && *weight > 0 && *language != b"*")
        .map(|(language, _)| language)
}

/// The weight that `text`, such as `q=0.5`, gives; `None` if it is none.
fn weight(text: &[u8]) -> Option<u16> {
    let sign = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text[..sign].trim_ascii(), text[sign + 1..].trim_ascii());
    if !name.eq_ignore_ascii_case(b"q") {
        return None;
    }
    let (whole, thousandths) = match value {
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        [whole] => (whole, &b""[..]),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let mut sum = digit(whole)? * FULL;
    for (place, byte) in [100, 10, 1].into_iter().zip(thousandths) {
        sum += digit(byte)? * place;
    }
    (sum <= FULL).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_liked_best() {
        for (line, expected) in [
            ("de", Some("de")),
            ("fr;q=0.5, de;q=1.0", Some("de")),
            ("fr;q=0.5 , de ; Q = 0.75, en;q=0.1", Some("de")),
            ("de-AT, de;q=0.9", Some("de-AT")),
            ("en, de", None),
            ("en;q=0.5, de;q=0.500", None),
            ("*", None),
            ("*, de;q=0.5", None),
            ("*;q=0.5, de", Some("de")),
            ("de;q=0", None),
            ("de;q=1.001", None),
            ("de;q=2", None),
            ("de;q=x, en", None),
            ("de;q=0.0001", None),
            ("", None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT_LANGUAGE, line.parse().unwrap());
            assert_eq!(preferred(&fields), expected.map(str::as_bytes), "{line}");
        }
        assert_eq!(preferred(&HeaderMap::new()), None);
    }
}
