//! Cookie: what is taken out is gone, what is not stays as it was, and what is left is
//! read as it was before.

#![no_main]

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use seawall::fields::cookie;
use seawall_fuzz::lines;

/// The cookies of all lines, but for those of a name.
fn others(fields: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    let begin = [name.as_bytes(), b"="].concat();
    let lines = fields.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty() && !pair.starts_with(&begin)).map(<[u8]>::to_vec).collect()
}

// A name, and behind it a line for each line of the field.
fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (name, data) = data.split_at(at);
    let Ok(name) = std::str::from_utf8(name) else { return };
    if !cookie::is_name(name) {
        return;
    }
    let before = lines(&COOKIE, data);
    let mut left = before.clone();
    left.insert(HeaderName::from_static("x"), HeaderValue::from_static("stays"));
    cookie::remove(&mut left, name);
    assert_eq!(cookie::value(&left, name), None);
    assert_eq!(left.remove("x"), Some(HeaderValue::from_static("stays")));
    assert_eq!(others(&left, name), others(&before, name));
    let Some(value) = cookie::value(&before, name) else {
        assert_eq!(left, before);
        return;
    };
    assert!(!value.contains(&b';'));
    // What was found is found again where it is written by itself, before all others.
    let line = [name.as_bytes(), b"=", value].concat();
    let mut again = HeaderMap::new();
    again.append(COOKIE, HeaderValue::from_bytes(&line).expect("a part of a field value is one"));
    for line in left.get_all(COOKIE) {
        again.append(COOKIE, line.clone());
    }
    assert_eq!(cookie::value(&again, name), Some(value));
    cookie::remove(&mut again, name);
    assert_eq!(again, left);
});
