//! The PROXY header of a connection: it is told from its own bytes alone.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall::listener::fuzzing::proxy_header(data));
