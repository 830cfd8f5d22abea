//! Entity tags (RFC 9110 s8.8.3) and the lists of them in If-Match and
//! If-None-Match.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// An entity tag, borrowed from the field it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Written with `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// The entity tag that `text` is, if it is one.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        match Self::leading(text.trim_ascii())? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// The `ETag` of a response.
    pub fn of(fields: &'a HeaderMap) -> Option<Self> {
        Self::parse(fields.get(header::ETAG)?.as_bytes())
    }

    /// Equal, and both are strong (RFC 9110 s8.8.3.2).
    pub fn strong_eq(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Equal, weak or not (RFC 9110 s8.8.3.2).
    pub fn weak_eq(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag `text` begins with, and what follows it. A backslash is a
    /// letter like any other in it, a comma as well.
    fn leading(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = inner.split_at(end);
        let is_valid = opaque.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff));
        is_valid.then_some((Self { weak, opaque }, rest.get(1..).unwrap_or_default()))
    }
}

/// Does a value of If-Match or If-None-Match name a tag that `is_wanted`?
/// `*` names every tag, also that of a response that has none. What is
/// no entity tag is passed over.
pub fn any(fields: &HeaderMap, name: &HeaderName, is_wanted: impl Fn(EntityTag<'_>) -> bool) -> bool {
    fields.get_all(name).iter().any(|line| line_has(line, &is_wanted))
}

fn line_has(line: &HeaderValue, is_wanted: &impl Fn(EntityTag<'_>) -> bool) -> bool {
    let mut rest = line.as_bytes().trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        rest = match EntityTag::leading(rest) {
            Some((tag, _)) if is_wanted(tag) => return true,
            Some((_, rest)) => rest,
            None => rest,
        };
        let comma = rest.iter().position(|byte| *byte == b',');
        rest = comma.and_then(|at| rest.get(at + 1..)).unwrap_or_default().trim_ascii_start();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quoted_tags_are_tags() {
        for (text, expected) in [
            ("\"abc\"", Some((false, "abc"))),
            ("W/\"abc\"", Some((true, "abc"))),
            ("\"\"", Some((false, ""))),
            ("\"a,b\\\"", Some((false, "a,b\\"))),
            (" \"abc\" ", Some((false, "abc"))),
            ("w/\"abc\"", None),
            ("W\"abc\"", None),
            ("W\\\"abc\"", None),
            ("abc", None),
            ("\"abc", None),
            ("\"a b\"", None),
            ("\"a\"b", None),
            ("", None),
        ] {
            let tag = EntityTag::parse(text.as_bytes());
            let expected = expected.map(|(weak, opaque)| EntityTag { weak, opaque: opaque.as_bytes() });
            assert_eq!(tag, expected, "{text}");
        }
        assert!(EntityTag::parse(b"\"\xfc\"").is_some());
    }

    /// The table of RFC 9110 s8.8.3.2.
    #[test]
    fn strong_and_weak_comparison() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (one, other) =
                (EntityTag::parse(one.as_bytes()).unwrap(), EntityTag::parse(other.as_bytes()).unwrap());
            assert_eq!((one.strong_eq(other), one.weak_eq(other)), (strong, weak));
        }
    }

    #[test]
    fn lists_are_searched() {
        let tag = EntityTag::parse(b"\"abc\"").unwrap();
        for (lines, expected) in [
            (&["\"abc\""][..], true),
            (&["*"], true),
            (&["\"1\", \"abc\" , \"2\""], true),
            (&["\"1\",\"2\",W/\"abc\""], true),
            (&["\"1\"", "\"abc\""], true),
            (&["junk, \"abc\""], true),
            (&["\"1,\", \"a\\\",\"abc\""], true),
            (&["\"1\", \"2\""], false),
            (&["abc"], false),
            (&["\"x, abc"], false),
            (&["\", \"abc"], false),
            (&[","], false),
            (&[""], false),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(header::IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(
                any(&fields, &header::IF_NONE_MATCH, |other| tag.weak_eq(other)),
                expected,
                "{lines:?}"
            );
        }
    }
}
