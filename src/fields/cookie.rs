//! The cookies of a request (RFC 6265 s5.4), on one line or on several, as
//! HTTP/2 sends them (RFC 9113 s8.2.3). What a value means it does not say.

use http::HeaderMap;
use http::header::COOKIE;

/// The value of the first cookie of this `name`, as it was written.
pub fn value<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = fields.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    pairs.filter_map(|pair| value_of(pair, name)).next()
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
    use http::HeaderValue;

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
    fn names_are_tokens() {
        assert!(is_name("__Host-id") && is_name("a.b"));
        assert!(["", "a b", "a=b", "a;b", "ü"].iter().all(|name| !is_name(name)));
    }
}
