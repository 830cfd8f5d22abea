//! A large response that is fetched part by part: how a part is asked for, and
//! whether what comes is a part of the same representation (RFC 9110 s13.1.5,
//! s15.3.7.3, RFC 9111 s3.4).

use std::ops::Range;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::StoredHead;
use crate::fields::entity_tag::EntityTag;
use crate::fields::range::ContentRange;
use crate::fields::{date, list};

/// What an origin server answered to a request for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartAnswer {
    /// Exactly that part.
    Part,
    /// All of the same representation.
    Whole,
    /// Another representation, or none: what is stored of it is void.
    Changed,
    /// It could not say.
    Unavailable,
}

/// May the content of this response be fetched part by part? Parts belong
/// together only by a strong validator (RFC 9110 s8.8.1), and the origin server
/// must not have said that it knows no ranges (s14.3).
pub fn is_fetched_in_parts(head: &StoredHead) -> bool {
    let units = head.field(&header::ACCEPT_RANGES).unwrap_or_default();
    let knows_none = list::members(units).any(|unit| unit.eq_ignore_ascii_case(b"none"));
    head.status == StatusCode::OK && strong_validator(head).is_some() && !knows_none
}

/// Makes a request ask for these bytes of the representation that `head` is of,
/// or for all of what there is instead (RFC 9110 s13.1.5). Asks for nothing in
/// particular where `head` has no strong validator.
pub fn ask_for_part(head: &StoredHead, part: &Range<u64>, into: &mut HeaderMap) {
    super::strip_conditional(into);
    let range = HeaderValue::try_from(format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
    if let (Some((_, validator)), Ok(range)) = (strong_validator(head), range) {
        into.insert(header::IF_RANGE, validator);
        into.insert(header::RANGE, range);
    }
}

/// What a response with this status and these fields, whose content is
/// `declared` bytes long as far as is known, is to one who asked for `part` of
/// the `length` bytes that `head` is of.
pub fn part_answer(
    head: &StoredHead,
    length: u64,
    part: &Range<u64>,
    (status, fields): (StatusCode, &HeaderMap),
    declared: Option<u64>,
) -> PartAnswer {
    let has_changed = !is_of_same(head, fields);
    match status {
        StatusCode::PARTIAL_CONTENT if has_changed => PartAnswer::Changed,
        StatusCode::PARTIAL_CONTENT => {
            let range = fields.get(header::CONTENT_RANGE);
            match range.and_then(|range| ContentRange::parse(range.as_bytes())) {
                Some(ContentRange::Part { first, last, complete: Some(complete) })
                    if (first, last + 1, complete) == (part.start, part.end, length) =>
                {
                    PartAnswer::Part
                }
                _ => PartAnswer::Changed,
            }
        }
        StatusCode::OK if !has_changed && declared == Some(length) => PartAnswer::Whole,
        StatusCode::TOO_MANY_REQUESTS => PartAnswer::Unavailable,
        status if status.is_server_error() => PartAnswer::Unavailable,
        _ => PartAnswer::Changed,
    }
}

/// The validator by which parts of a response are known to belong together, and
/// the field it stands in. Without an entity tag it is Last-Modified, if the
/// response was made at least a second later (RFC 9110 s8.8.2.2).
fn strong_validator(head: &StoredHead) -> Option<(HeaderName, HeaderValue)> {
    let value = |name| HeaderValue::from_bytes(head.field(name)?).ok();
    let (name, is_strong) = if head.field(&header::ETAG).is_some() {
        (header::ETAG, head.etag().is_some_and(|tag| !tag.weak))
    } else {
        let made = value(&header::DATE).as_ref().and_then(date::of);
        let modified = head.last_modified();
        let is_later = |(made, modified)| made >= modified + Duration::from_secs(1);
        (header::LAST_MODIFIED, made.zip(modified).is_some_and(is_later))
    };
    if is_strong { value(&name).map(|value| (name, value)) } else { None }
}

/// Has a response the strong validator of `head`?
pub(super) fn is_of_same(head: &StoredHead, fields: &HeaderMap) -> bool {
    match strong_validator(head) {
        Some((header::ETAG, _)) => {
            let own = head.etag();
            own.zip(EntityTag::of(fields)).is_some_and(|(own, tag)| own.strong_eq(tag))
        }
        Some((name, value)) => fields.get(name) == Some(&value) && !fields.contains_key(header::ETAG),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::PartAnswer::{Changed, Part, Unavailable, Whole};
    use super::*;
    use crate::policy::testing::{fields, now, stored_from};

    const SIXTH: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SEVENTH: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    /// RFC 9110 s8.8.2.2, s13.1.5, s14.3
    #[test]
    fn a_part_is_asked_for_by_a_strong_validator() {
        for (response, expected) in [
            (&[("etag", "\"1\"")][..], Some("\"1\"")),
            (&[("etag", "\"1\""), ("accept-ranges", "bytes")], Some("\"1\"")),
            (&[("etag", "\"1\""), ("accept-ranges", "none")], None),
            (&[("etag", "W/\"1\"")], None),
            (&[("etag", "W/\"1\""), ("last-modified", SIXTH), ("date", SEVENTH)], None),
            (&[("last-modified", SIXTH), ("date", SEVENTH)], Some(SIXTH)),
            (&[("last-modified", SIXTH), ("date", SIXTH)], None),
            (&[], None),
        ] {
            let head = stored_from(response, now());
            assert_eq!(is_fetched_in_parts(&head), expected.is_some(), "{response:?}");
            let Some(validator) = expected else { continue };
            let mut asked = fields(&[("range", "bytes=1-2"), ("if-none-match", "\"0\""), ("x", "y")]);
            ask_for_part(&head, &(8..16), &mut asked);
            assert_eq!(asked, fields(&[("x", "y"), ("range", "bytes=8-15"), ("if-range", validator)]));
        }
    }

    /// RFC 9110 s15.3.7.3, RFC 9111 s3.4
    #[test]
    fn only_the_part_that_was_asked_for_is_taken() {
        let tagged = &[("etag", "\"1\"")][..];
        let dated = &[("last-modified", SIXTH), ("date", SEVENTH)][..];
        let range = ("content-range", "bytes 8-15/20");
        for (stored, status, lines, expected) in [
            (tagged, 206, &[("etag", "\"1\""), range][..], Part),
            (tagged, 206, &[("etag", "\"2\""), range], Changed),
            (tagged, 206, &[("etag", "W/\"1\""), range], Changed),
            (tagged, 206, &[range], Changed),
            (tagged, 206, &[("etag", "\"1\"")], Changed),
            (tagged, 206, &[("etag", "\"1\""), ("content-range", "bytes 8-15/21")], Changed),
            (tagged, 206, &[("etag", "\"1\""), ("content-range", "bytes 8-15/*")], Changed),
            (tagged, 206, &[("etag", "\"1\""), ("content-range", "bytes 8-14/20")], Changed),
            (tagged, 206, &[("etag", "\"1\""), ("content-range", "bytes 7-15/20")], Changed),
            (dated, 206, &[("last-modified", SIXTH), range], Part),
            (dated, 206, &[("last-modified", SEVENTH), range], Changed),
            (dated, 206, &[range], Changed),
            (dated, 206, &[("last-modified", SIXTH), ("etag", "\"1\""), range], Changed),
            (tagged, 200, &[("etag", "\"1\""), ("content-length", "20")], Whole),
            (tagged, 200, &[("etag", "\"2\""), ("content-length", "20")], Changed),
            (tagged, 200, &[("etag", "\"1\""), ("content-length", "21")], Changed),
            (tagged, 200, &[("etag", "\"1\"")], Changed),
            (tagged, 404, &[], Changed),
            (tagged, 416, &[("content-range", "bytes */5")], Changed),
            (tagged, 304, &[("etag", "\"1\"")], Changed),
            (tagged, 429, &[], Unavailable),
            (tagged, 503, &[], Unavailable),
        ] {
            let (head, fields) = (stored_from(stored, now()), fields(lines));
            let declared =
                fields.get("content-length").map(|length| length.to_str().unwrap().parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            let answer = part_answer(&head, 20, &(8..16), (status, &fields), declared);
            assert_eq!(answer, expected, "{stored:?} {status} {lines:?}");
        }
    }
}
