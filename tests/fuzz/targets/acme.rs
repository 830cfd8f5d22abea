//! What an ACME server may answer: a directory, when to come again, a chain.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<String> = LazyLock::new(|| rcgen::KeyPair::generate().expect("a key").serialize_pem());

fuzz_target!(|bytes: &[u8]| seawall::certs::fuzzing::acme_answer(bytes, KEY.as_bytes()));
