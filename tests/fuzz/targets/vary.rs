//! Vary, and the normal form of the fields it names: what has a form is found
//! by it, and a form that is written as a field has itself as its form.

#![no_main]

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderName, VARY};
use libfuzzer_sys::fuzz_target;
use seawall::fields::vary::{Vary, has_normal_form, normal_form};
use seawall_fuzz::lines;

fuzz_target!(|data: &[u8]| {
    if let Vary::Fields(names) = Vary::of(&lines(&VARY, data)) {
        let absent = HeaderMap::new();
        assert!(names.iter().all(|name| has_normal_form(&absent, name, None)));
    }
    for name in [ACCEPT, ACCEPT_LANGUAGE, ACCEPT_ENCODING, HeaderName::from_static("x")] {
        let fields = lines(&name, data);
        let form = normal_form(&fields, &name);
        assert_eq!(form.is_some(), fields.contains_key(&name));
        assert!(has_normal_form(&fields, &name, form.as_deref()));
        let Some(form) = form else { continue };
        assert!(!has_normal_form(&fields, &name, None));
        assert!(!has_normal_form(&HeaderMap::new(), &name, Some(&form)));
        // A quote that nothing closes may be closed by what is sorted behind it.
        if !form.contains(&b'"') {
            let again = lines(&name, &form);
            assert_eq!(normal_form(&again, &name).as_deref(), Some(&*form), "{name}");
        }
    }
});
