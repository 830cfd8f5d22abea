//! The responses of an HTTP/1.1 connection to an origin server: however the bytes come,
//! they are the same.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((part, responses)) = data.split_first() {
        let method = if part % 2 == 0 { Method::GET } else { Method::HEAD };
        seawall::upstream::fuzzing::responses(responses, usize::from(part / 2), &method);
    }
});
