//! Where the requests of an HTTP/1 connection begin and end: however the bytes come, it
//! is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((part, requests)) = data.split_first() {
        seawall::front::fuzzing::requests(requests, usize::from(*part));
    }
});
