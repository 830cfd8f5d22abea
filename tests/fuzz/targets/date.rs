//! Dates and ages: a date that is read is written and read again; an age is
//! what its digits say, or the longest there is.

#![no_main]

use http::header::AGE;
use libfuzzer_sys::fuzz_target;
use seawall::fields::{age, date, delta_seconds};
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    if let Some(time) = date::parse(data) {
        assert_eq!(date::of(&date::value(time)), Some(time));
    }
    age::of(&lines(&AGE, data));
    if let Some(seconds) = delta_seconds::parse(data) {
        assert!(seconds <= delta_seconds::MAX);
        let written = std::str::from_utf8(data).unwrap().trim();
        if let Ok(number) = written.parse::<u32>() {
            assert_eq!(seconds, number.min(delta_seconds::MAX));
        }
    }
});
