//! The decoder of the list of purges on the disk.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall::cache::fuzzing::purges(data));
