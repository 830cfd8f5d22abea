//! Cache-Control, CDN-Cache-Control and Pragma: `no-store` wins whatever stands
//! beside it, and lines count as one.

#![no_main]

use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderName};
use libfuzzer_sys::fuzz_target;
use seawall::fields::cache_control::{RequestDirectives, ResponseDirectives, forbids_transform};
use seawall::fields::targeted;
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    let fields = lines(&CACHE_CONTROL, data);
    let (asked, said) = (RequestDirectives::of(&fields), ResponseDirectives::of(&fields));
    let _ = forbids_transform(&fields);
    targeted::of(&lines(&HeaderName::from_static("cdn-cache-control"), data));
    RequestDirectives::of(&lines(&http::header::PRAGMA, data));

    let mut joined: Vec<u8> = Vec::new();
    for line in fields.get_all(CACHE_CONTROL) {
        joined.extend_from_slice(line.as_bytes());
        joined.push(b',');
    }
    // A quote that one line opens ends with the line.
    if !joined.contains(&b'"') {
        let joined = lines(&CACHE_CONTROL, &joined);
        assert_eq!(RequestDirectives::of(&joined), asked);
        assert_eq!(ResponseDirectives::of(&joined), said);
    }
    for before in [false, true] {
        let mut forbidden = http::HeaderMap::new();
        let no_store = HeaderValue::from_static("no-store");
        if before {
            forbidden.append(CACHE_CONTROL, no_store.clone());
        }
        forbidden.extend(fields.get_all(CACHE_CONTROL).iter().map(|line| (CACHE_CONTROL, line.clone())));
        forbidden.append(CACHE_CONTROL, no_store);
        assert!(RequestDirectives::of(&forbidden).no_store && ResponseDirectives::of(&forbidden).no_store);
    }
});
