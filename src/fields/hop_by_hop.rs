//! The fields that are meant for one connection only (RFC 9110 s7.6.1) and
//! never pass an intermediary.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, DATE, ETAG, EXPIRES, FORWARDED, HOST, LAST_MODIFIED, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RANGE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::client_cert::{CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SUBJECT};
use super::list::tokens;

/// Hop-by-hop by their own meaning, whether `Connection` names them or not.
const ALWAYS: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Meant for every recipient: naming them in `Connection` is wrong (RFC 9110
/// s7.6.1) and would let one side take away what the other relies on.
const NEVER: [HeaderName; 24] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    CLIENT_CERT_SUBJECT,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    ETAG,
    EXPIRES,
    FORWARDED,
    HOST,
    LAST_MODIFIED,
    LOCATION,
    RANGE,
    SET_COOKIE,
    TRAILER,
    VARY,
    VIA,
    WWW_AUTHENTICATE,
];

/// Removes the hop-by-hop fields of a message and those its `Connection` field
/// names, except fields that are meant for every recipient. That the sender takes
/// trailers stays said, in `TE` (RFC 9110 s10.1.4), for they are passed on.
pub fn remove(fields: &mut HeaderMap) {
    // There are fewer fields than lookups would be needed, and mostly none of these.
    let present: SmallVec<[HeaderName; 4]> =
        fields.keys().filter(|name| ALWAYS.contains(name)).cloned().collect();
    if present.is_empty() {
        return;
    }
    let takes_trailers = present.contains(&TE) && fields.get_all(TE).iter().any(names_trailers);
    let named: SmallVec<[HeaderName; 2]> = named(fields).collect();
    for name in named.into_iter().chain(present) {
        fields.remove(name);
    }
    if takes_trailers {
        fields.insert(TE, TRAILERS);
    }
}

/// True if `Connection` takes away a field that is there and means something beyond this
/// connection.
pub fn takes_any(fields: &HeaderMap) -> bool {
    named(fields).any(|name| !ALWAYS.contains(&name) && fields.contains_key(&name))
}

/// What `Connection` names and may take away.
fn named(fields: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    // What most of these lines say goes anyway.
    let lines = fields.get_all(CONNECTION).iter();
    let options = lines.filter(|line| !line.as_bytes().eq_ignore_ascii_case(b"keep-alive")).flat_map(tokens);
    options.filter_map(|option| HeaderName::from_bytes(option).ok()).filter(|name| !NEVER.contains(name))
}

/// What `TE` says of who takes trailers.
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

fn names_trailers(value: &HeaderValue) -> bool {
    tokens(value).any(|option| option.eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_left(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove(&mut fields);
        // Removal changes the order of what is left.
        let mut left: Vec<_> = fields.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn what_connection_names_goes() {
        let left = names_left(&[
            ("connection", "close, X-Private"),
            ("connection", " x-other"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
        ]);
        assert_eq!(left, ["x-kept"]);
    }

    #[test]
    fn it_is_told_whether_connection_takes_something_away() {
        for (connection, expected) in [
            ("accept", true),
            ("close, X-Private", true),
            ("keep-alive", false),
            ("keep-alive, Upgrade", false),
            ("close, x-absent", false),
            ("cookie", false),
        ] {
            let fields = ["accept", "x-private", "cookie", "upgrade"]
                .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
            let mut fields = HeaderMap::from_iter(fields);
            fields.insert(CONNECTION, HeaderValue::from_static(connection));
            assert_eq!(takes_any(&fields), expected, "{connection}");
        }
    }

    #[test]
    fn what_is_hop_by_hop_goes_unnamed() {
        let left = names_left(&[
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("proxy-authorization", "Basic x"),
        ]);
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn that_trailers_are_taken_stays_said() {
        let mut fields = HeaderMap::new();
        for (name, value) in [(TE, "gzip, Trailers"), (CONNECTION, "te"), (TRAILER, "x-sum")] {
            fields.append(name, HeaderValue::from_static(value));
        }
        remove(&mut fields);
        assert_eq!(
            (&fields[TE], &fields[TRAILER], fields.len()),
            (&TRAILERS, &HeaderValue::from_static("x-sum"), 2)
        );
    }

    #[test]
    fn what_everybody_needs_stays() {
        let left = names_left(&[
            ("connection", "content-length, cookie, Host, cache-control, set-cookie"),
            ("content-length", "5"),
            ("cookie", "a=b"),
            ("host", "a"),
            ("cache-control", "no-store"),
            ("set-cookie", "a=b"),
        ]);
        assert_eq!(left, ["cache-control", "content-length", "cookie", "host", "set-cookie"]);
    }
}
