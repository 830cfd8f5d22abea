//! How stored responses are validated (RFC 9111 s4.3.1), and which of them a
//! 304 is about (s4.3.4).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::StoredHead;
use crate::fields::date;
use crate::fields::entity_tag::EntityTag;

/// The fields of a request that are evaluated here against what comes back, and
/// so are not sent on with a fill: its preconditions and its range.
const EVALUATED_HERE: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// Takes a client's preconditions and Range out of a request that is to bring
/// the whole response.
pub fn strip_conditional(fields: &mut HeaderMap) {
    for name in &EVALUATED_HERE {
        fields.remove(name);
    }
}

/// Makes a request ask whether these stored responses still hold, in place of
/// its own preconditions: If-None-Match with all their entity tags, and
/// If-Modified-Since with the Last-Modified of the first one, which is the one
/// that was selected for the request. Without validators it stays an
/// unconditional request.
pub fn conditional(stored: &[&StoredHead], into: &mut HeaderMap) {
    strip_conditional(into);
    let tags: Vec<&[u8]> = stored
        .iter()
        .filter(|stored| stored.status.is_success() && stored.etag().is_some())
        .filter_map(|stored| stored.field(&header::ETAG))
        .map(<[u8]>::trim_ascii)
        .collect();
    if !tags.is_empty()
        && let Ok(list) = HeaderValue::from_bytes(&tags.join(b", ".as_slice()))
    {
        into.insert(header::IF_NONE_MATCH, list);
    }
    // As it was received: some servers compare it letter by letter.
    let modified = stored
        .first()
        .filter(|stored| stored.status.is_success() && stored.last_modified().is_some())
        .and_then(|stored| HeaderValue::from_bytes(stored.field(&header::LAST_MODIFIED)?).ok());
    if let Some(modified) = modified {
        into.insert(header::IF_MODIFIED_SINCE, modified);
    }
}

/// Is a 304 about this stored response (RFC 9111 s4.3.4)? One without
/// validators says nothing against any: it is about the one that was selected
/// for the request. Where a 304 is about none, nothing may be updated with it,
/// and the request is to be sent again without preconditions.
pub fn matches_validator(stored: &StoredHead, not_modified: &HeaderMap) -> bool {
    if let Some(tag) = EntityTag::of(not_modified) {
        // Weakly, though the standard asks for more where the new tag is
        // strong: servers that compress weaken the tag of a 200, but not that
        // of the 304 which answers it.
        return stored.etag().is_some_and(|own| own.weak_eq(tag));
    }
    match not_modified.get(header::LAST_MODIFIED).and_then(date::of) {
        Some(modified) => stored.last_modified() == Some(modified),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{fields, now, stored, stored_from};

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// RFC 9111 s4.3.1
    #[test]
    fn a_validation_names_all_tags_and_the_first_date() {
        let first = stored_from(&[("etag", "\"1\""), ("last-modified", MODIFIED)], now());
        let second = stored_from(&[("etag", " W/\"2\" ")], now());
        let dated = stored_from(&[("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT")], now());
        let invalid = stored_from(&[("etag", "abc"), ("last-modified", "yesterday")], now());
        let missing = stored(404, &[("etag", "\"3\""), ("last-modified", MODIFIED)], now());
        for (stored, expected) in [
            (
                &[&first, &second, &dated][..],
                &[("if-none-match", "\"1\", W/\"2\""), ("if-modified-since", MODIFIED)][..],
            ),
            (&[&second, &first], &[("if-none-match", "W/\"2\", \"1\"")]),
            (&[&invalid], &[]),
            (&[&missing], &[]),
            (&[], &[]),
        ] {
            let mut request = fields(&[
                ("if-none-match", "\"client\""),
                ("if-modified-since", "x"),
                ("if-range", "x"),
                ("if-match", "x"),
                ("if-unmodified-since", "x"),
                ("range", "bytes=0-1"),
                ("x", "kept"),
            ]);
            conditional(stored, &mut request);
            assert_eq!(request.remove("x").unwrap(), "kept");
            assert_eq!(request, fields(expected));
        }
    }

    /// RFC 9111 s4.3.4
    #[test]
    fn a_304_is_about_what_has_its_validator() {
        let tagged = stored_from(&[("etag", "\"1\""), ("last-modified", MODIFIED)], now());
        let weak = stored_from(&[("etag", "W/\"1\"")], now());
        let dated = stored_from(&[("last-modified", MODIFIED)], now());
        for (stored, not_modified, expected) in [
            (&tagged, &[][..], true),
            (&tagged, &[("etag", "\"1\"")], true),
            (&tagged, &[("etag", "W/\"1\"")], true),
            (&tagged, &[("etag", "\"2\""), ("last-modified", MODIFIED)], false),
            (&tagged, &[("last-modified", MODIFIED)], true),
            (&weak, &[("etag", "\"1\"")], true),
            (&dated, &[("etag", "\"1\"")], false),
            (&dated, &[("last-modified", MODIFIED)], true),
            (&dated, &[("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT")], false),
        ] {
            assert_eq!(matches_validator(stored, &fields(not_modified)), expected, "{not_modified:?}");
        }
    }
}
