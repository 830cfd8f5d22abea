//! Range requests (RFC 9110 s14), answered from a whole response: one range.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::RequestHead;
use crate::fields::date;
use crate::fields::entity_tag::EntityTag;
use crate::fields::range::{ByteRange, Resolved};

/// How much of a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// All of it.
    Whole,
    /// A 206 with these bytes, both positions inside.
    Part {
        /// The position of the first byte.
        first: u64,
        /// The position of the last byte.
        last: u64,
    },
    /// A 416.
    Unsatisfiable,
}

/// Decides how much of a response of this length answers a request, after its
/// other preconditions (RFC 9110 s13.2.2). Several ranges, unknown units and
/// what is no valid range bring the whole, as s14.2 allows.
pub fn range(req: &RequestHead<'_>, status: StatusCode, fields: &HeaderMap, length: u64) -> RangeAnswer {
    if *req.method != Method::GET || status != StatusCode::OK {
        return RangeAnswer::Whole;
    }
    let Some(asked) = only_range(req) else { return RangeAnswer::Whole };
    if !req.fields.get(header::IF_RANGE).is_none_or(|validator| is_of(validator, fields)) {
        return RangeAnswer::Whole;
    }
    match asked.within(length) {
        Resolved::Part { first, last } => RangeAnswer::Part { first, last },
        Resolved::Empty => RangeAnswer::Whole,
        Resolved::Outside => RangeAnswer::Unsatisfiable,
    }
}

/// Does the request ask for one part, as [`range`] would answer? What asks for
/// anything else gets the whole, and its ranges are no affair of the origin
/// server's.
pub fn asks_for_part(req: &RequestHead<'_>) -> bool {
    *req.method == Method::GET && only_range(req).is_some()
}

fn only_range(req: &RequestHead<'_>) -> Option<ByteRange> {
    let mut lines = req.fields.get_all(header::RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(asked), None) => ByteRange::parse(asked.as_bytes()),
        _ => None,
    }
}

/// Is the validator of If-Range that of the response, and a strong one
/// (RFC 9110 s13.1.5)?
fn is_of(validator: &HeaderValue, fields: &HeaderMap) -> bool {
    if let Some(tag) = EntityTag::parse(validator.as_bytes()) {
        return EntityTag::of(fields).is_some_and(|own| own.strong_eq(tag));
    }
    let date = |name| fields.get(name).and_then(date::of);
    let (Some(modified), Some(made)) = (date(header::LAST_MODIFIED), date(header::DATE)) else {
        return false;
    };
    // RFC 9110 s8.8.2.2: within the second of the response it may have changed
    // again unseen.
    date::of(validator) == Some(modified) && made >= modified + Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::RangeAnswer::{Part, Unsatisfiable, Whole};
    use super::*;
    use crate::policy::testing::{fields, get};

    const SIXTH: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SEVENTH: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    /// RFC 9110 s14.2
    #[test]
    fn one_range_is_answered() {
        for (lines, expected) in [
            (&[][..], Whole),
            (&[("range", "bytes=0-1")], Part { first: 0, last: 1 }),
            (&[("range", "bytes=1-")], Part { first: 1, last: 10 }),
            (&[("range", "bytes=-1")], Part { first: 10, last: 10 }),
            (&[("range", "bytes=11-")], Unsatisfiable),
            (&[("range", "bytes=0-1,3-4")], Whole),
            (&[("range", "bytes=0-1"), ("range", "bytes=3-4")], Whole),
            (&[("range", "lines=0-1")], Whole),
            (&[("range", "bytes=5-1")], Whole),
        ] {
            let asked = fields(lines);
            assert_eq!(range(&get(&asked), StatusCode::OK, &fields(&[]), 11), expected, "{lines:?}");
            assert_eq!(asks_for_part(&get(&asked)), expected != Whole, "{lines:?}");
            let head = RequestHead { method: &Method::HEAD, path: "/", fields: &asked };
            assert_eq!(range(&head, StatusCode::OK, &fields(&[]), 11), Whole);
            assert_eq!(range(&get(&asked), StatusCode::NOT_FOUND, &fields(&[]), 11), Whole);
        }
    }

    /// RFC 9110 s13.1.5
    #[test]
    fn if_range_wants_a_strong_validator() {
        let tagged = &[("etag", "\"1\"")][..];
        let dated = &[("last-modified", SIXTH), ("date", SEVENTH)][..];
        for (validator, response, is_part) in [
            ("\"1\"", tagged, true),
            ("\"2\"", tagged, false),
            ("W/\"1\"", &[("etag", "W/\"1\"")], false),
            ("\"1\"", dated, false),
            (SIXTH, dated, true),
            (SEVENTH, dated, false),
            (SIXTH, &[("last-modified", SIXTH), ("date", SIXTH)], false),
            (SIXTH, &[("last-modified", SIXTH)], false),
            ("yesterday", dated, false),
        ] {
            let asked = fields(&[("range", "bytes=0-1"), ("if-range", validator)]);
            let answer = range(&get(&asked), StatusCode::OK, &fields(response), 11);
            assert_eq!(answer != Whole, is_part, "{validator} {response:?}");
        }
    }
}
