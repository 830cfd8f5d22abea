//! Accept-Encoding and Accept-Language: what is chosen is accepted, and what has
//! one normal form is answered alike.

#![no_main]

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE};
use libfuzzer_sys::fuzz_target;
use seawall::fields::accept_encoding::{self, AcceptEncoding};
use seawall::fields::accept_language;
use seawall::fields::coding::Coding;
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    let languages = lines(&ACCEPT_LANGUAGE, data);
    if let Some(preferred) = accept_language::preferred(&languages) {
        assert_ne!(preferred, b"*");
    }
    let fields = lines(&ACCEPT_ENCODING, data);
    let takes = |coding: Coding| accept_encoding::accepts(&fields, coding.as_str().as_bytes());
    let Some(accepted) = AcceptEncoding::of(&fields) else {
        assert!(Coding::ALL.into_iter().all(takes));
        return;
    };
    for coding in Coding::ALL {
        match accepted.choose(&[coding]) {
            Some(chosen) => assert!(chosen == coding && takes(coding)),
            None => {}
        }
    }
    if let Some(chosen) = accepted.choose(&Coding::ALL) {
        assert!(takes(chosen));
    }
    let form = lines(&ACCEPT_ENCODING, accepted.normal_form().as_bytes());
    let again = AcceptEncoding::of(&form).unwrap();
    assert_eq!(again.normal_form(), accepted.normal_form());
    for coding in Coding::ALL {
        assert_eq!(accept_encoding::accepts(&form, coding.as_str().as_bytes()), takes(coding), "{coding:?}");
    }
});
