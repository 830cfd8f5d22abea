//! The cookies of a request (RFC 6265 s5.4), on one line or on several, as
//! HTTP/2 sends them (RFC 9113 s8.2.3). What a value means it does not say.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The value of the first cookie of this `name`, as it was written.
pub fn value<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = fields.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    pairs.filter_map(|pair| value_of(pair, name)).next()
}

/// Takes out every cookie of this `name`; what is left of a line stays in order.
pub fn remove(fields: &mut HeaderMap, name: &str) {
    let kept: Vec<_> = fields.get_all(COOKIE).iter().filter_map(|line| without(line, name)).collect();
    fields.remove(COOKIE);
    for line in kept {
        fields.append(COOKIE, line);
    }
}

/// `None` where nothing is left.
fn without(line: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let is_other = |pair: &&[u8]| value_of(pair, name).is_none();
    if pairs(line.as_bytes()).all(|pair| is_other(&pair)) {
        return Some(line.clone());
    }
    let others: Vec<_> = pairs(line.as_bytes()).filter(|pair| is_other(pair) && !pair.is_empty()).collect();
    let left = others.join(&b"; "[..]);
    if left.is_empty() { None } else { HeaderValue::try_from(left).ok() }
}

/// True if `name` can be that of a cookie: a token (RFC 6265 s4.1.1).
pub fn is_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_known)
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let sent = fields(&["aid=1; id=2;id=3", "other= ; empty="]);
        assert_eq!(value(&sent, "id"), Some(&b"2"[..]));
        assert_eq!(value(&sent, "aid"), Some(&b"1"[..]));
        assert_eq!(value(&sent, "empty"), Some(&b""[..]));
        assert_eq!(value(&sent, "ID"), None);
        assert_eq!(value(&sent, "d"), None);
        assert_eq!(value(&HeaderMap::new(), "id"), None);
    }

    #[test]
    fn a_cookie_is_taken_out_wherever_it_is() {
        let left = |lines: &[&'static str]| {
            let mut sent = fields(lines);
            remove(&mut sent, "id");
            let left = sent.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned());
            left.collect::<Vec<_>>()
        };
        assert_eq!(left(&["id=1"]), Vec::<String>::new());
        assert_eq!(left(&["a=1; id=2;b=3; id=4"]), ["a=1; b=3"]);
        assert_eq!(left(&["id=1", "a=2;  b=3", "id=4; c"]), ["a=2;  b=3", "c"]);
        assert_eq!(left(&["aid=1; id"]), ["aid=1; id"]);
    }

    #[test]
    fn names_are_tokens() {
        assert!(is_name("__Host-id") && is_name("a.b"));
        assert!(["", "a b", "a=b", "a;b", "ü"].iter().all(|name| !is_name(name)));
    }
}
