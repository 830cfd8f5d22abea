//! The fields by which proxies tell an origin server about the client, and
//! which an origin server believes. Decides which of them a client may not
//! send, and prints `Forwarded` (RFC 7239).

use http::{HeaderMap, HeaderName};

/// The host that a client asked a proxy for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What origin servers and frameworks commonly believe of a proxy: who asks, by
/// what scheme, for which host and path, with which method. They must not take
/// it from a client. Besides these, every name that begins with `x-forwarded`.
const TRUST_FIELDS: [&str; 49] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "cf-visitor",
    "client-cert",
    "client-cert-chain",
    "client-cert-subject",
    "client-ip",
    "cloudfront-forwarded-proto",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-arr-ssl",
    "x-azure-clientip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-http-path-override",
    "x-method-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-proto",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-rewrite-uri",
    "x-rewrite-url",
    "x-scheme",
    "x-ssl",
    "x-url-scheme",
];

/// What a trusted proxy tells of a client. The others change what is answered,
/// and a proxy that does not know them passes on what a client wrote.
const OF_TRUSTED_PROXIES: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id"];

/// Names that frame, describe, select or identify a message. Many origin servers take `_`
/// for `-` (CGI turns both into `_`), so `Content_Length` is no harmless name.
const ALIASED: [&str; 20] = [
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "transfer-encoding",
    "user-agent",
];

/// What the edge itself writes of every client, and so differs between them
/// without any of them having sent it.
const OF_EACH_CLIENT: [&str; 3] = ["forwarded", "x-forwarded-for", "x-request-id"];

/// Removes what the sender of a request may not tell an origin server: the trust
/// fields except those in `kept`, and every name with `_` that stands for one of
/// them or for a field that frames the message. A trusted proxy may send those by
/// which proxies tell of the client.
/// Says how many fields went.
pub fn drop_untrusted(fields: &mut HeaderMap, kept: &[HeaderName], is_trusted_proxy: bool) -> usize {
    let dropped: Vec<HeaderName> = untrusted(fields, kept, is_trusted_proxy).cloned().collect();
    for name in &dropped {
        fields.remove(name);
    }
    dropped.len()
}

/// The names of the fields that [`drop_untrusted`] would remove.
pub fn untrusted<'a>(
    fields: &'a HeaderMap,
    kept: &'a [HeaderName],
    is_trusted_proxy: bool,
) -> impl Iterator<Item = &'a HeaderName> {
    let may_stay = move |name: &HeaderName| {
        kept.contains(name) || is_trusted_proxy && OF_TRUSTED_PROXIES.contains(&name.as_str())
    };
    fields.keys().filter(move |name| is_untrusted(name) && !may_stay(name))
}

/// True for a field that the edge writes differently for every client, so that
/// no request tells what an origin server saw of it.
pub fn differs_by_client(name: &HeaderName) -> bool {
    OF_EACH_CLIENT.contains(&name.as_str())
}

fn is_untrusted(name: &HeaderName) -> bool {
    let name = name.as_str();
    if name.contains('_') {
        let written = name.replace('_', "-");
        return is_trust_field(&written) || ALIASED.contains(&written.as_str());
    }
    is_trust_field(name)
}

fn is_trust_field(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'c' | b'f' | b'p' | b't' | b'w' | b'x'))
        && (name.starts_with("x-forwarded") || TRUST_FIELDS.binary_search(&name).is_ok())
}

/// One element of a `Forwarded` field (RFC 7239 s4) for a request that came
/// from the address `peer` for `host` by `scheme`.
pub fn forwarded_element(peer: &[u8], host: &str, scheme: &str) -> Vec<u8> {
    let (open, close) = if peer.contains(&b':') { ("\"[", "]\"") } else { ("", "") };
    let is_token = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let quote = if is_token { "" } else { "\"" };
    let [open, close, host, quote, scheme] = [open, close, host, quote, scheme].map(str::as_bytes);
    [b"for=", open, peer, close, b";host=", quote, host, quote, b";proto=", scheme].concat()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn left(names: &[&'static str], kept: &[HeaderName]) -> Vec<String> {
        left_of(names, kept, false)
    }

    fn left_of(names: &[&'static str], kept: &[HeaderName], is_trusted_proxy: bool) -> Vec<String> {
        let mut fields = HeaderMap::new();
        for name in names {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let before = fields.keys_len();
        let dropped = drop_untrusted(&mut fields, kept, is_trusted_proxy);
        assert_eq!(dropped, before - fields.keys_len());
        fields.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn the_names_are_sorted() {
        assert!(TRUST_FIELDS.is_sorted());
        assert!(TRUST_FIELDS.iter().all(|name| is_trust_field(name)));
    }

    #[test]
    fn trust_fields_of_a_client_go() {
        assert!(left(&TRUST_FIELDS, &[]).is_empty());
        assert!(left(&["x-forwarded-for", "x-forwarded-prefix", "x-forwarded-client-cert"], &[]).is_empty());
        assert_eq!(left(&["accept", "x-request-id", "x-api-key"], &[]), ["accept", "x-api-key"]);
    }

    #[test]
    fn aliases_go_and_other_underscores_stay() {
        let names = ["x_forwarded_for", "x_forwarded-proto", "content_length", "accept_language", "my_field"];
        assert_eq!(left(&names, &[]), ["my_field"]);
    }

    #[test]
    fn what_the_site_lists_stays() {
        let kept = [HeaderName::from_static("x-http-method-override")];
        let names = ["x-http-method-override", "x_http_method_override", "x-forwarded-for"];
        assert_eq!(left(&names, &kept), ["x-http-method-override"]);
    }

    #[test]
    fn a_trusted_proxy_tells_of_the_client_and_no_more() {
        assert_eq!(left_of(&OF_TRUSTED_PROXIES, &[], true), OF_TRUSTED_PROXIES);
        let names = ["x-forwarded-for", "x-original-url", "x-http-method-override", "x_forwarded_for"];
        assert_eq!(left_of(&names, &[], true), ["x-forwarded-for"]);
    }

    #[test]
    fn elements_quote_what_is_no_token() {
        let element = forwarded_element(b"192.0.2.1", "example.com", "https");
        assert_eq!(element, b"for=192.0.2.1;host=example.com;proto=https");
        let element = forwarded_element(b"2001:db8::1", "example.com:8443", "http");
        assert_eq!(element, b"for=\"[2001:db8::1]\";host=\"example.com:8443\";proto=http");
    }
}
