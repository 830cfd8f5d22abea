//! Range and Content-Range: what is sent lies in the representation, and is no
//! more than it.

#![no_main]

use http::header::RANGE;
use http::{HeaderMap, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use seawall::fields::range::{ByteRange, ContentRange, Resolved, Span};
use seawall::policy::{self, RangeAnswer, RequestHead};
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    if let Some(range) = ContentRange::parse(data) {
        assert_eq!(ContentRange::parse(range.to_string().as_bytes()), Some(range));
    }
    if let Some(only) = ByteRange::parse(data) {
        assert!(ByteRange::parse_each(data).unwrap().eq([Some(only)]));
        for length in [0, 1, 1000, u64::MAX] {
            if let Resolved::Part { first, last } = only.within(length) {
                assert!(first <= last && last < length);
            }
        }
    }
    let fields = lines(&RANGE, data);
    let req = RequestHead::new(&Method::GET, "/", &fields);
    for length in [0, 1, 11, 10_000, u64::MAX] {
        match policy::range(&req, StatusCode::OK, &HeaderMap::new(), length) {
            RangeAnswer::Part { first, last } => assert!(first <= last && last < length),
            RangeAnswer::Parts(spans) => {
                assert!(
                    spans.len() > 1 && spans.iter().all(|span| span.first <= span.last && span.last < length)
                );
                let sent: u128 = spans.iter().map(|span| u128::from(span.length())).sum();
                assert!(sent < length.into());
                let apart = |(at, one): (usize, &Span)| {
                    spans[at + 1..].iter().all(|other| one.last < other.first || other.last < one.first)
                };
                assert!(spans.iter().enumerate().all(apart));
            }
            RangeAnswer::Whole | RangeAnswer::Unsatisfiable => {}
        }
    }
});
