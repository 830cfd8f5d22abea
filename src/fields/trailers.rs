//! Which fields may come after the content (RFC 9110 s6.5.1): not those that a
//! recipient has to know before it reads on, or believes of whoever sends them.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE,
    DATE, EXPECT, EXPIRES, HOST, LOCATION, MAX_FORWARDS, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    RANGE, RETRY_AFTER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName};

use super::{forwarding, hop_by_hop};

/// They frame, route, select, modify or identify a message.
const NEVER: [HeaderName; 27] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    EXPECT,
    EXPIRES,
    HOST,
    LOCATION,
    MAX_FORWARDS,
    PRAGMA,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    RANGE,
    RETRY_AFTER,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VARY,
    VIA,
    WWW_AUTHENTICATE,
];

/// Removes the trailers that do not pass; says whether any are left.
pub fn keep_harmless(trailers: &mut HeaderMap) -> bool {
    hop_by_hop::remove(trailers);
    forwarding::drop_untrusted(trailers, &[], false);
    for name in NEVER {
        trailers.remove(name);
    }
    let conditional: Vec<_> =
        trailers.keys().filter(|name| name.as_str().starts_with("if-")).cloned().collect();
    for name in conditional {
        trailers.remove(name);
    }
    !trailers.is_empty()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn left(names: &[&'static str]) -> Vec<String> {
        let field =
            |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("trailers"));
        let mut trailers: HeaderMap = names.iter().map(field).collect();
        let is_any_left = keep_harmless(&mut trailers);
        assert_eq!(is_any_left, !trailers.is_empty());
        trailers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_recipient_acts_on_beforehand_does_not_pass() {
        for name in NEVER {
            assert!(left(&[Box::leak(name.as_str().to_owned().into_boxed_str())]).is_empty(), "{name}");
        }
        let names =
            ["connection", "x-forwarded-for", "client-cert", "x_forwarded_for", "if-match", "keep-alive"];
        assert!(left(&names).is_empty());
    }

    #[test]
    fn what_tells_of_the_content_does() {
        let names = ["grpc-status", "grpc-message", "server-timing", "repr-digest", "x-sum"];
        assert_eq!(left(&names), names);
    }
}
