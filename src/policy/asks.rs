//! What a request asks of caches: read of its fields once, for most of them ask nothing,
//! and each question of policy would look for several.

use http::HeaderMap;

use crate::fields::accept_encoding::AcceptEncoding;
use crate::fields::cache_control::RequestDirectives;

/// What a request asks of caches, and whether it may be one user's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Its directives (RFC 9111 s5.2.1).
    pub(super) directives: RequestDirectives,
    /// The codings it takes (RFC 9110 s12.5.3); `None` if it says nothing of them.
    pub(super) codings: Option<AcceptEncoding>,
    /// It has If-Match or If-Unmodified-Since (RFC 9110 s13.1.1, s13.1.4).
    pub(super) expects_a_state: bool,
    /// It has If-None-Match or If-Modified-Since (RFC 9110 s13.1.2, s13.1.3).
    pub(super) has_validators: bool,
    /// It has Range (RFC 9110 s14.2) or If-Range (s13.1.5).
    pub(super) has_range: bool,
    /// It says who sends it (RFC 9110 s11.6.2, RFC 9440).
    pub(super) has_credentials: bool,
    /// It has cookies (RFC 6265 s5.4).
    pub(super) has_cookies: bool,
}

impl Asks {
    /// Reads them of the fields of a request.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut asks = Self::default();
        let (mut has_directives, mut has_codings) = (false, false);
        // By their text: to compare with the name of each costs four times as much.
        for name in fields.keys() {
            match name.as_str() {
                "cache-control" | "pragma" => has_directives = true,
                "accept-encoding" => has_codings = true,
                "if-match" | "if-unmodified-since" => asks.expects_a_state = true,
                "if-none-match" | "if-modified-since" => asks.has_validators = true,
                "range" | "if-range" => asks.has_range = true,
                "authorization" | "client-cert" => asks.has_credentials = true,
                "cookie" => asks.has_cookies = true,
                _ => {}
            }
        }
        if has_directives {
            asks.directives = RequestDirectives::of(fields);
        }
        if has_codings {
            asks.codings = AcceptEncoding::of(fields);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::client_cert::CLIENT_CERT;
    use crate::policy::testing::fields;

    #[test]
    fn each_field_is_seen() {
        let plain = Asks::default();
        let codings = AcceptEncoding::of(&fields(&[("accept-encoding", "gzip, br;q=0.5")])).unwrap();
        let no_cache = RequestDirectives { no_cache: true, ..RequestDirectives::default() };
        for (name, value, expected) in [
            ("accept", "*/*", plain),
            ("accept-encoding", "gzip, br;q=0.5", Asks { codings: Some(codings), ..plain }),
            ("cache-control", "no-cache", Asks { directives: no_cache, ..plain }),
            ("pragma", "no-cache", Asks { directives: no_cache, ..plain }),
            ("if-match", "*", Asks { expects_a_state: true, ..plain }),
            ("if-unmodified-since", "x", Asks { expects_a_state: true, ..plain }),
            ("if-none-match", "*", Asks { has_validators: true, ..plain }),
            ("if-modified-since", "x", Asks { has_validators: true, ..plain }),
            ("range", "bytes=0-", Asks { has_range: true, ..plain }),
            ("if-range", "\"x\"", Asks { has_range: true, ..plain }),
            ("authorization", "Basic x", Asks { has_credentials: true, ..plain }),
            (CLIENT_CERT.as_str(), ":AA==:", Asks { has_credentials: true, ..plain }),
            ("cookie", "a=b", Asks { has_cookies: true, ..plain }),
        ] {
            assert_eq!(Asks::of(&fields(&[("x-first", "1"), (name, value)])), expected, "{name}");
        }
    }
}
