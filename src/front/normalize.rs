//! Brings what a client sent into normal form, or refuses it: after this a
//! request can be read in one way only. Pure: of the head alone.

use h2::ext::Protocol;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::config::model::Limits;
use crate::exchange::{Failure, Host, Scheme, Target};
use crate::fields::list::tokens;

/// The longest method that is forwarded; registered ones have at most 17.
const LONGEST_METHOD: usize = 32;

/// The one protocol that can be changed to.
const WEBSOCKET: &str = "websocket";

/// The parts of a request in normal form.
#[derive(Debug)]
pub(super) struct Normal {
    pub(super) target: Target,
    /// The protocol the client wants to change to.
    pub(super) upgrade: Option<HeaderValue>,
}

/// Checks a head against RFC 9110 and RFC 9112 beyond what the parser did.
/// Takes the target and `Host` out of it, and makes a CONNECT for a WebSocket the GET that
/// it is in HTTP/1.1. `scheme` is the one the client used, as far
/// as it is known from the connection or a trusted proxy.
pub(super) fn normalize(head: &mut Parts, scheme: Scheme, limits: &Limits) -> Result<Normal, Failure> {
    let asked_by_connect = connect(head)?;
    check_method(&head.method)?;
    check_sizes(head, limits)?;
    check_framing(head)?;
    check_expectation(&head.headers)?;
    let host = host(head, scheme)?;
    let path_and_query = path_and_query(head)?;
    let upgrade = asked_by_connect.or_else(|| websocket(head));
    Ok(Normal { target: Target { scheme, host, path_and_query }, upgrade })
}

/// The protocol that HTTP/2 changes to by a CONNECT that names it (RFC 8441 s4).
/// What it would carry in place of any other cannot be left out.
fn connect(head: &mut Parts) -> Result<Option<HeaderValue>, Failure> {
    if head.method != Method::CONNECT {
        return Ok(None);
    }
    match head.extensions.remove::<Protocol>() {
        None => Ok(None),
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) => {
            // The GET would have it, and its content begin with what is in the tunnel.
            if head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
                return Err(Failure::BadRequest("a CONNECT with content"));
            }
            head.method = Method::GET;
            Ok(Some(HeaderValue::from_static(WEBSOCKET)))
        }
        Some(_) => Err(Failure::UnknownProtocol),
    }
}

fn check_method(method: &Method) -> Result<(), Failure> {
    if *method == Method::CONNECT || *method == Method::TRACE || method.as_str().len() > LONGEST_METHOD {
        return Err(Failure::MethodNotAllowed(method.clone()));
    }
    Ok(())
}

fn check_sizes(head: &Parts, limits: &Limits) -> Result<(), Failure> {
    let path = head.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    if head.method.as_str().len() + path + authority > limits.request_line {
        return Err(Failure::TargetTooLong);
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > limits.headers || bytes > limits.header_bytes {
        return Err(Failure::FieldsTooLarge);
    }
    Ok(())
}

/// The parser has settled how long the content is; here goes what other
/// recipients could read in another way (RFC 9112 s6.1, s6.3).
fn check_framing(head: &Parts) -> Result<(), Failure> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Failure::BadRequest("more than one Content-Length"));
    }
    if length.is_some_and(|length| length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Err(Failure::BadRequest("Content-Length is not a number"));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if head.version != Version::HTTP_11 {
        return Err(Failure::BadRequest("Transfer-Encoding outside HTTP/1.1"));
    }
    if length.is_some() {
        return Err(Failure::BadRequest("both Content-Length and Transfer-Encoding"));
    }
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::BadRequest("a Transfer-Encoding other than chunked"));
    }
    Ok(())
}

fn check_expectation(fields: &HeaderMap) -> Result<(), Failure> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if fields.get_all(EXPECT).iter().all(is_known) { Ok(()) } else { Err(Failure::ExpectationFailed) }
}

/// The host from the target, `:authority` or `Host`, which must agree (RFC 9112
/// s3.2, RFC 9113 s8.3.1).
fn host(head: &mut Parts, scheme: Scheme) -> Result<Host, Failure> {
    const NONE: Failure = Failure::BadRequest("Host is not a host");
    let mut fields = head.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Failure::BadRequest("more than one Host"));
    }
    let from_field = field.map(|value| Host::parse(value, scheme)).transpose();
    let from_target = head
        .uri
        .authority()
        .map(|authority| {
            let written = HeaderValue::from_str(authority.as_str()).map_err(|_| NONE)?;
            Host::parse(&written, scheme).map_err(|_| NONE)
        })
        .transpose()?;
    let from_field = from_field.map_err(|_| NONE)?;
    let host = match (from_target, from_field) {
        (Some(target), Some(field)) if target != field => {
            return Err(Failure::BadRequest("Host and target disagree"));
        }
        (Some(target), Some(_)) => target,
        (Some(target), None) if head.version == Version::HTTP_2 => target,
        (None, Some(field)) => field,
        (Some(_) | None, None) => return Err(Failure::BadRequest("no Host")),
    };
    head.headers.remove(HOST);
    Ok(host)
}

fn path_and_query(head: &mut Parts) -> Result<PathAndQuery, Failure> {
    let scheme = head.uri.scheme_str();
    if scheme.is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Failure::BadRequest("a scheme other than http and https"));
    }
    let target = std::mem::take(&mut head.uri).into_parts();
    let path = target.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    match path.as_str() {
        "*" if head.method == Method::OPTIONS => Ok(path),
        // An absolute-form target without a path means the root (RFC 9112 s3.2.2).
        written if written.starts_with('?') || written.is_empty() => {
            format!("/{written}").parse().map_err(|_| Failure::BadRequest("the target has no path"))
        }
        written if written.starts_with('/') && written.is_ascii() => Ok(path),
        _ => Err(Failure::BadRequest("the target is not a path")),
    }
}

/// The one upgrade that is forwarded (RFC 6455 s4.1); others are left out, as a
/// server may (RFC 9110 s7.8).
fn websocket(head: &Parts) -> Option<HeaderValue> {
    let upgrade = head.headers.get(UPGRADE)?;
    let asks = head.version == Version::HTTP_11
        && head.method == Method::GET
        && upgrade.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
        && head.headers.get_all(CONNECTION).iter().any(names_upgrade);
    asks.then(|| upgrade.clone())
}

fn names_upgrade(value: &HeaderValue) -> bool {
    tokens(value).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::pace::test_limits;

    fn head(version: Version, method: &str, target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut req = http::Request::builder().version(version).method(method).uri(target);
        for (name, value) in fields {
            req = req.header(*name, *value);
        }
        req.body(()).unwrap().into_parts().0
    }

    fn h1(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Result<Normal, Failure> {
        normalize(&mut head(Version::HTTP_11, method, target, fields), Scheme::Http, &test_limits())
    }

    #[test]
    fn a_plain_request_keeps_its_target() {
        let normal = h1("GET", "/a%2Fb?x=1&&y", &[("host", "Example.com:80")]).unwrap();
        assert_eq!(normal.target.to_string(), "http://example.com/a%2Fb?x=1&&y");
    }

    #[test]
    fn absolute_form_must_agree_with_host() {
        let normal = h1("GET", "http://a.test/x", &[("host", "A.test.")]).unwrap();
        assert_eq!(normal.target.to_string(), "http://a.test/x");
        let refused = h1("GET", "http://a.test/x", &[("host", "b.test")]).unwrap_err();
        assert!(matches!(refused, Failure::BadRequest("Host and target disagree")), "{refused:?}");
    }

    #[test]
    fn h2_needs_no_host_field() {
        let mut head = head(Version::HTTP_2, "GET", "https://a.test/x", &[]);
        let normal = normalize(&mut head, Scheme::Https, &test_limits()).unwrap();
        assert_eq!(normal.target.to_string(), "https://a.test/x");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (method, target, fields) in [
            ("GET", "/", &[][..]),
            ("GET", "/", &[("host", "a.test"), ("host", "a.test")]),
            ("GET", "/", &[("host", "a@b.test")]),
            ("GET", "http://a.test/", &[]),
            ("GET", "*", &[("host", "a.test")]),
            ("GET", "ftp://a.test/", &[("host", "a.test")]),
            ("POST", "/", &[("host", "a.test"), ("content-length", "+1")]),
            ("POST", "/", &[("host", "a.test"), ("content-length", "1"), ("content-length", "1")]),
            ("POST", "/", &[("host", "a.test"), ("content-length", "1"), ("transfer-encoding", "chunked")]),
            ("POST", "/", &[("host", "a.test"), ("transfer-encoding", "gzip, chunked")]),
            (
                "POST",
                "/",
                &[("host", "a.test"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            ),
        ] {
            let refused = h1(method, target, fields);
            assert!(
                matches!(refused, Err(Failure::BadRequest(_))),
                "{method} {target} {fields:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn transfer_encoding_is_refused_on_http_1_0() {
        let mut head =
            head(Version::HTTP_10, "POST", "/", &[("host", "a.test"), ("transfer-encoding", "chunked")]);
        assert!(normalize(&mut head, Scheme::Http, &test_limits()).is_err());
    }

    #[test]
    fn limits_have_their_own_failures() {
        let long = format!("/{}", "x".repeat(9000));
        assert!(matches!(h1("GET", &long, &[("host", "a.test")]), Err(Failure::TargetTooLong)));
        let large = "x".repeat(33_000);
        let fields = [("host", "a.test"), ("cookie", large.as_str())];
        assert!(matches!(h1("GET", "/", &fields), Err(Failure::FieldsTooLarge)));
    }

    #[test]
    fn methods_that_are_not_for_a_gateway_are_refused() {
        for method in ["TRACE", "AMETHODTHATISLONGERTHANANYREGISTERED"] {
            assert!(matches!(h1(method, "/", &[("host", "a.test")]), Err(Failure::MethodNotAllowed(_))));
        }
    }

    #[test]
    fn only_websocket_is_an_upgrade() {
        let asks = [("host", "a.test"), ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(h1("GET", "/ws", &asks).unwrap().upgrade.is_some());
        assert!(h1("POST", "/ws", &asks).unwrap().upgrade.is_none());
        let h2c = [("host", "a.test"), ("connection", "upgrade"), ("upgrade", "h2c")];
        assert!(h1("GET", "/", &h2c).unwrap().upgrade.is_none());
    }

    #[test]
    fn a_connect_for_a_websocket_becomes_a_get() {
        let connect_with = |protocol: Option<&'static str>, fields: &[(&'static str, &str)]| {
            let mut head = head(Version::HTTP_2, "CONNECT", "https://a.test/ws?x", fields);
            if let Some(protocol) = protocol {
                head.extensions.insert(Protocol::from_static(protocol));
            }
            let normal = normalize(&mut head, Scheme::Https, &test_limits());
            normal.map(|normal| (head.method, normal.target.to_string(), normal.upgrade))
        };
        let connect = |protocol| connect_with(protocol, &[]);
        let (method, target, upgrade) = connect(Some("websocket")).unwrap();
        assert_eq!((method, target.as_str()), (Method::GET, "https://a.test/ws?x"));
        assert_eq!(upgrade.unwrap(), "websocket");
        assert!(matches!(connect(Some("connect-udp")), Err(Failure::UnknownProtocol)));
        assert!(matches!(connect(None), Err(Failure::MethodNotAllowed(_))));
        for (length, is_refused) in [("0", false), ("5", true), ("00", true)] {
            let refused = connect_with(Some("websocket"), &[("content-length", length)]);
            assert_eq!(matches!(refused, Err(Failure::BadRequest(_))), is_refused, "{length}");
        }
    }

    #[test]
    fn an_unknown_expectation_is_refused() {
        let refused = h1("POST", "/", &[("host", "a.test"), ("expect", "101-maybe")]);
        assert!(matches!(refused, Err(Failure::ExpectationFailed)));
    }
}
