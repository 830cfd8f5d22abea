//! Surrogate-Key and Cache-Tag: the tags of a response are among those that a request with
//! the same fields names, are bounded, and written one by one they are the same.

#![no_main]

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use seawall::policy::{
    CacheRules, LONGEST_TAG, RequestHead, SURROGATE_KEY, StoredHead, Timing, requested_tags, tags,
};
use seawall_fuzz::values;

/// The most tags of a response that count.
const MOST_TAGS: usize = 1024;

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// The tags that a response with these fields is stored with.
fn stored(fields: &HeaderMap) -> Vec<Vec<u8>> {
    let absent = HeaderMap::new();
    let req = RequestHead::new(&Method::GET, "/", &absent);
    let timing = Timing { request: UNIX_EPOCH, response: UNIX_EPOCH };
    let head = StoredHead::new(&req, StatusCode::OK, fields.clone(), timing, &CacheRules::default());
    tags(&head, &SURROGATE_KEY).map(<[u8]>::to_vec).collect()
}

/// Those that a request with them names.
fn requested(fields: &HeaderMap) -> Option<Vec<Vec<u8>>> {
    requested_tags(fields, &SURROGATE_KEY).map(|tags| tags.map(<[u8]>::to_vec).collect())
}

// Lines that begin with a comma are those of Cache-Tag.
fuzz_target!(|data: &[u8]| {
    let mut fields = HeaderMap::new();
    for value in values(data) {
        let is_by_comma = value.as_bytes().starts_with(b",");
        fields.append(if is_by_comma { CACHE_TAG } else { SURROGATE_KEY }, value);
    }
    let of_response = stored(&fields);
    let Some(of_request) = requested(&fields) else {
        assert!(fields.is_empty() && of_response.is_empty());
        return;
    };
    assert!(of_request.iter().all(|tag| !tag.is_empty() && tag.trim_ascii() == &tag[..]));
    let mut counting: Vec<_> = of_request.iter().filter(|tag| tag.len() <= LONGEST_TAG).cloned().collect();
    counting.truncate(MOST_TAGS);
    assert_eq!(of_response, counting);
    // One a line, in the field whose members it cannot be taken for several of.
    let mut written = HeaderMap::new();
    for tag in &of_response {
        let is_by_comma = tag.iter().any(|byte| matches!(byte, b' ' | b'\t'));
        let value = HeaderValue::from_bytes(tag).expect("a part of a field value is one");
        written.append(if is_by_comma { CACHE_TAG } else { SURROGATE_KEY }, value);
    }
    let sorted = |mut tags: Vec<Vec<u8>>| {
        tags.sort();
        tags
    };
    assert_eq!(sorted(stored(&written)), sorted(of_response));
});
