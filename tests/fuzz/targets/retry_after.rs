//! Retry-After: a wait is as long as was said, and what is written of it is read as it.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use seawall::fields::{date, delta_seconds, retry_after};
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    let fields = lines(&RETRY_AFTER, data);
    // In the midst of a day that the corpus names, or before; not always a whole second.
    let now = UNIX_EPOCH + Duration::from_millis(1_795_341_600_000 - 500 * (data.len() as u64 % 86_400));
    let Some(wait) = retry_after::of(&fields, now) else { return };
    assert!(!wait.is_zero());
    let of = |value| retry_after::of(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now);
    // The first line counts.
    let first = fields.get(RETRY_AFTER).expect("a wait was said somewhere").clone();
    assert_eq!(of(first.clone()), Some(wait));
    match date::parse(first.as_bytes()) {
        Some(time) => {
            assert_eq!(now + wait, time);
            assert_eq!(of(date::value(time)), Some(wait));
        }
        None => {
            assert!(wait.subsec_nanos() == 0 && wait.as_secs() <= delta_seconds::MAX.into());
            assert_eq!(of(HeaderValue::from(wait.as_secs())), Some(wait));
        }
    }
});
