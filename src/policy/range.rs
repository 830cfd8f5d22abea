//! Range requests (RFC 9110 s14): which bytes of a representation answer one.
//! It never sends more than the representation has.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::RequestHead;
use crate::fields::date;
use crate::fields::entity_tag::EntityTag;
use crate::fields::range::{ByteRange, Resolved, Span};

/// So many ranges of a request are answered at most, not counting those that
/// lie outside; more are ignored (RFC 9110 s14.2).
const MOST_RANGES: usize = 16;

/// What a part of a multipart answer costs besides its bytes: ranges that lie
/// closer together are answered as one (RFC 9110 s15.3.7.2).
const PART_OVERHEAD: u64 = 80;

/// How much of a response is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A 206 in several parts (`multipart/byteranges`): in the order in which
    /// they were asked for, apart from each other, and no more in all than the
    /// whole.
    Parts(Vec<Span>),
    /// A 416.
    Unsatisfiable,
}

/// Decides how much of a response of this length answers a request, after its
/// other preconditions (RFC 9110 s13.2.2). Unknown units, what is no valid
/// range, and more ranges than are any use bring the whole, as s14.2 allows.
pub fn range(req: &RequestHead<'_>, status: StatusCode, fields: &HeaderMap, length: u64) -> RangeAnswer {
    if *req.method != Method::GET || status != StatusCode::OK {
        return RangeAnswer::Whole;
    }
    let Some(asked) = only_line(req) else { return RangeAnswer::Whole };
    if !req.fields.get(header::IF_RANGE).is_none_or(|validator| is_of(validator, fields)) {
        return RangeAnswer::Whole;
    }
    match ByteRange::parse(asked) {
        Some(only) => match only.within(length) {
            Resolved::Part { first, last } => RangeAnswer::Part { first, last },
            Resolved::Empty => RangeAnswer::Whole,
            Resolved::Outside => RangeAnswer::Unsatisfiable,
        },
        None => several(asked, length).unwrap_or(RangeAnswer::Whole),
    }
}

/// Does the request ask for one part? What asks for anything else is fetched
/// whole, and several ranges are no affair of the origin server's.
pub fn asks_for_part(req: &RequestHead<'_>) -> bool {
    *req.method == Method::GET && only_line(req).is_some_and(|asked| ByteRange::parse(asked).is_some())
}

pub(super) fn only_line<'a>(req: &RequestHead<'a>) -> Option<&'a [u8]> {
    if !req.asks.has_range {
        return None;
    }
    let mut lines = req.fields.get_all(header::RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(asked), None) => Some(asked.as_bytes()),
        _ => None,
    }
}

/// Several ranges; `None` if they are to be ignored.
fn several(asked: &[u8], length: u64) -> Option<RangeAnswer> {
    let (mut count, mut satisfiable) = (0, 0);
    let mut spans = Vec::new();
    for range in ByteRange::parse_each(asked)? {
        count += 1;
        match range?.within(length) {
            Resolved::Part { first, last } if satisfiable < MOST_RANGES => {
                satisfiable += 1;
                coalesce(&mut spans, Span { first, last });
            }
            Resolved::Part { .. } | Resolved::Empty => return None,
            Resolved::Outside => {}
        }
    }
    match spans.as_slice() {
        [] => (count > 0).then_some(RangeAnswer::Unsatisfiable),
        [Span { first, last }] => Some(RangeAnswer::Part { first: *first, last: *last }),
        several => {
            let cost = |span: &Span| span.length().saturating_add(PART_OVERHEAD);
            let sent = several.iter().map(cost).fold(0, u64::saturating_add);
            (sent < length).then_some(RangeAnswer::Parts(spans))
        }
    }
}

/// Adds a span, in one with those that it overlaps or nearly touches, at the
/// place of the first of them.
fn coalesce(spans: &mut Vec<Span>, mut new: Span) {
    let is_near = |one: Span, other: Span| one.first <= other.last.saturating_add(PART_OVERHEAD);
    let mut place = spans.len();
    while let Some(at) = spans.iter().position(|old| is_near(*old, new) && is_near(new, *old)) {
        let old = spans.remove(at);
        new = Span { first: old.first.min(new.first), last: old.last.max(new.last) };
        place = place.min(at);
    }
    spans.insert(place, new);
}

/// Is the validator of If-Range that of the response, and a strong one
/// (RFC 9110 s13.1.5)?
pub(super) fn is_of(validator: &HeaderValue, fields: &HeaderMap) -> bool {
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
    use proptest::prelude::*;

    use super::RangeAnswer::{Part, Parts, Unsatisfiable, Whole};
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
            (&[("range", "bytes=0-1,3-4")], Part { first: 0, last: 4 }),
            (&[("range", "bytes=3-4, 20-30, -0")], Part { first: 3, last: 4 }),
            (&[("range", "bytes=20-30, 40-")], Unsatisfiable),
            (&[("range", "bytes=0-1"), ("range", "bytes=3-4")], Whole),
            (&[("range", "lines=0-1")], Whole),
            (&[("range", "bytes=5-1")], Whole),
            (&[("range", "bytes=0-1, 5-1")], Whole),
            (&[("range", "bytes=,")], Whole),
        ] {
            let asked = fields(lines);
            assert_eq!(range(&get(&asked), StatusCode::OK, &fields(&[]), 11), expected, "{lines:?}");
            let is_one = expected != Whole && !lines[0].1.contains(',');
            assert_eq!(asks_for_part(&get(&asked)), is_one, "{lines:?}");
            let head = RequestHead::new(&Method::HEAD, "/", &asked);
            assert_eq!(range(&head, StatusCode::OK, &fields(&[]), 11), Whole);
            assert_eq!(range(&get(&asked), StatusCode::NOT_FOUND, &fields(&[]), 11), Whole);
        }
    }

    /// RFC 9110 s14.2, s15.3.7.2
    #[test]
    fn several_ranges_are_answered_within_bounds() {
        let answer = |asked: &str, length| {
            range(&get(&fields(&[("range", asked)])), StatusCode::OK, &fields(&[]), length)
        };
        let parts = |spans: &[(u64, u64)]| {
            Parts(spans.iter().map(|(first, last)| Span { first: *first, last: *last }).collect())
        };
        for (asked, expected) in [
            ("bytes=0-9, 500-509, -10", parts(&[(0, 9), (500, 509), (990, 999)])),
            ("bytes=-10, 0-9", parts(&[(990, 999), (0, 9)])),
            ("bytes=500-509, 0-9, 5000-", parts(&[(500, 509), (0, 9)])),
            // Near ones become one, at the place of the first.
            ("bytes=500-509, 0-9, 400-420", parts(&[(400, 509), (0, 9)])),
            ("bytes=0-9, 200-209, 85-125", Part { first: 0, last: 209 }),
            ("bytes=0-9, 90-99", parts(&[(0, 9), (90, 99)])),
            ("bytes=0-9, 89-99", Part { first: 0, last: 99 }),
            // What would be more than the whole.
            ("bytes=0-449, 550-", Whole),
        ] {
            assert_eq!(answer(asked, 1000), expected, "{asked}");
        }
        let many = |count: u64, step: u64, width: u64| {
            let ranges: Vec<_> =
                (0..count).map(|at| format!("{}-{}", at * step, at * step + width - 1)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert!(matches!(answer(&many(16, 1000, 1), 1 << 20), Parts(spans) if spans.len() == 16));
        assert_eq!(answer(&many(17, 1000, 1), 1 << 20), Whole);
        assert_eq!(answer(&many(1000, 1000, 1), 1 << 20), Whole);
        assert_eq!(answer(&many(500, 1, 1000), 1 << 20), Whole);
        assert_eq!(answer("bytes=0-,0-,0-,0-", 1000), Part { first: 0, last: 999 });
        // A length that only an origin server's word stands for.
        assert_eq!(answer("bytes=0-0,100-100,200-200,300-", u64::MAX), Whole);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_was_asked_for_and_never_more_than_the_whole(
            ranges in proptest::collection::vec((0u64..3000, 0u64..400), 2..20),
            length in 1u64..3000,
        ) {
            let asked: Vec<_> =
                ranges.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let asked = fields(&[("range", &format!("bytes={}", asked.join(", ")))]);
            let sent = match range(&get(&asked), StatusCode::OK, &fields(&[]), length) {
                Whole => vec![Span { first: 0, last: length - 1 }],
                Part { first, last } => vec![Span { first, last }],
                Parts(spans) => spans,
                Unsatisfiable => vec![],
            };
            for (first, more) in ranges.iter().filter(|(first, _)| *first < length) {
                let wanted = Span { first: *first, last: (first + more).min(length - 1) };
                prop_assert!(sent.iter().any(|span| span.contains(wanted)), "{wanted:?} of {sent:?}");
            }
            prop_assert!(sent.iter().map(|span| span.length()).sum::<u64>() <= length);
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
