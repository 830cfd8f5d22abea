//! The decoder of the records on the disk.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall::cache::fuzzing::record(data));
