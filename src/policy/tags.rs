//! The tags by which stored responses are purged together. They are fields of
//! the response, for the cache and not for the client, and stay in it as they
//! came.

use http::{HeaderMap, HeaderName};

use super::StoredHead;

/// Cache-Tag, whose members are parted by commas; it is read in any case.
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// Surrogate-Key, whose members are parted by spaces, unless the configuration
/// names another field of that form.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The most tags of a response that count.
pub(super) const MOST_TAGS: usize = 1024;

/// The longest tag that counts, in bytes.
pub const LONGEST_TAG: usize = 128;

/// The tags of a stored response: the members of the field `named` and of
/// Cache-Tag, byte for byte, up to 1,024 of them. One that is longer than
/// [`LONGEST_TAG`] is none.
pub fn tags<'a>(head: &'a StoredHead, named: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
    members(head.fields.get_all(named), head.fields.get_all(&CACHE_TAG))
}

/// The tags that a request names in the same fields, without a bound: what is
/// named in vain has to be told. `None` if it has none of the fields.
pub fn requested_tags<'a>(
    fields: &'a HeaderMap,
    named: &HeaderName,
) -> Option<impl Iterator<Item = &'a [u8]>> {
    let lines = |name: &HeaderName| fields.get_all(name).into_iter().map(http::HeaderValue::as_bytes);
    let has_any = fields.contains_key(named) || fields.contains_key(&CACHE_TAG);
    has_any.then(|| all_members(lines(named), lines(&CACHE_TAG)))
}

fn members<'a>(
    by_space: impl Iterator<Item = &'a [u8]>,
    by_comma: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    all_members(by_space, by_comma).filter(|tag| tag.len() <= LONGEST_TAG).take(MOST_TAGS)
}

fn all_members<'a>(
    by_space: impl Iterator<Item = &'a [u8]>,
    by_comma: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let by_space = by_space.flat_map(|line| line.split(|byte| matches!(byte, b' ' | b'\t')));
    let by_comma = by_comma.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    by_space.chain(by_comma).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{fields, now, stored_from};

    fn of(lines: &[(&str, &str)], named: &str) -> Vec<String> {
        let (head, named) = (stored_from(lines, now()), named.parse().unwrap());
        let text = |tag: &[u8]| String::from_utf8(tag.to_vec()).unwrap();
        let stored: Vec<_> = tags(&head, &named).map(text).collect();
        let lines = fields(lines);
        let requested: Vec<_> = requested_tags(&lines, &named).into_iter().flatten().map(text).collect();
        assert!(requested.len() >= stored.len() && stored.iter().all(|tag| requested.contains(tag)));
        stored
    }

    #[test]
    fn tags_are_the_members_of_both_fields() {
        let lines = &[
            ("surrogate-key", "a  b\tc,d"),
            ("surrogate-key", "e"),
            ("cache-tag", "f g, h ,,H"),
            ("xkey", "x y"),
        ];
        assert_eq!(of(lines, "Surrogate-Key"), ["a", "b", "c,d", "e", "f g", "h", "H"]);
        assert_eq!(of(lines, "xkey"), ["x", "y", "f g", "h", "H"]);
        assert!(of(&[("x", "a")], "surrogate-key").is_empty());
    }

    #[test]
    fn tags_are_bounded() {
        let (longest, longer) = ("x".repeat(LONGEST_TAG), "x".repeat(LONGEST_TAG + 1));
        assert_eq!(
            of(&[("surrogate-key", &format!("{longer} {longest} a"))], "surrogate-key"),
            [&longest, "a"]
        );
        let many = (0..MOST_TAGS + 9).map(|tag| tag.to_string()).collect::<Vec<_>>();
        assert_eq!(of(&[("surrogate-key", &many.join(" "))], "surrogate-key"), many[..MOST_TAGS]);
    }
}
