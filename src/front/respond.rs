//! What a client is sent: the one place that turns failures into statuses, and
//! the one that says in `Cache-Status` and `Proxy-Status` what went on.

use std::time::Duration;

use http::header::{self, Entry};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::exchange::{Body, BodyError, Facts, Failure, FetchError, Response};
use crate::fields::cache_status::{CACHE_STATUS, CacheStatus};
use crate::fields::proxy_status::ProxyErrorType;

/// How long browsers are told to come by https only (RFC 6797 s6.1): two years, as
/// the preload list asks for.
pub(super) const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// A response as it goes out.
pub(super) struct Outgoing {
    pub(super) res: Box<Response>,
    /// Nothing more is read from an HTTP/1 connection after it.
    pub(super) close: bool,
}

/// The response of a handler, with the fields that say how it came about.
pub(super) fn response(mut res: Box<Response>) -> Outgoing {
    let Response { fields, facts, .. } = &mut *res;
    append_cache_status(fields, facts.cache.as_ref());
    Outgoing { res, close: false }
}

/// A short, plain response in place of one that could not be had.
pub(super) fn failure(failure: Failure) -> Outgoing {
    let status = status_of(&failure);
    let close = closes(&failure, status);
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut facts = Facts::default();
    match failure {
        Failure::Fetch { error, cache } => {
            append_cache_status(&mut fields, cache.as_ref());
            facts.cache = cache;
            facts.proxy_error = Some(error.kind);
            if error.request_body.is_none() {
                append(&mut fields, "proxy-status", &format!("Seawall; error={}", error.kind));
            }
            if let Some(wait) = retry_after(&error, status) {
                append(&mut fields, "retry-after", &wait.as_secs().max(1).to_string());
            }
            facts.origin_server = error.origin_server;
            facts.attempts = error.attempts;
        }
        Failure::OnlyIfCached => {
            let cache = CacheStatus { detail: Some("only-if-cached"), ..CacheStatus::default() };
            append_cache_status(&mut fields, Some(&cache));
            facts.cache = Some(cache);
        }
        Failure::MethodNotAllowed(_) => {
            fields.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
            append_cache_status(&mut fields, None);
        }
        Failure::Unauthorized => {
            fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            append_cache_status(&mut fields, None);
        }
        Failure::OutOfMemory => {
            fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            append_cache_status(&mut fields, None);
        }
        _ => append_cache_status(&mut fields, None),
    }
    let body = format!("{} {}\n", status.as_str(), status.canonical_reason().unwrap_or("Error"));
    let body = Body::Full(body.into());
    Outgoing { res: Box::new(Response { status, fields, body, facts, tunnel: None }), close }
}

/// The status a client sees for a failure.
fn status_of(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Fetch { error, .. } => status_of_fetch(error),
        Failure::UnknownHost => StatusCode::NOT_FOUND,
        Failure::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Failure::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
        Failure::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        // As RFC 9220 s3 has it for HTTP/3; RFC 8441 leaves it open.
        Failure::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
        Failure::Unauthorized => StatusCode::UNAUTHORIZED,
        Failure::ContentTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Failure::BadRequest(_) => StatusCode::BAD_REQUEST,
        Failure::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
        Failure::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        Failure::TargetTooLong => StatusCode::URI_TOO_LONG,
        Failure::FieldsTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
}

fn status_of_fetch(error: &FetchError) -> StatusCode {
    match &error.request_body {
        Some(BodyError::TooLarge { .. }) => return StatusCode::PAYLOAD_TOO_LARGE,
        Some(BodyError::TimedOut { .. }) => return StatusCode::REQUEST_TIMEOUT,
        Some(BodyError::Connection(_) | BodyError::Stream(_) | BodyError::Cut | BodyError::Shared(_)) => {
            return StatusCode::BAD_REQUEST;
        }
        None => {}
    }
    match error.kind {
        ProxyErrorType::ConnectionTimeout
        | ProxyErrorType::ConnectionReadTimeout
        | ProxyErrorType::ConnectionWriteTimeout
        | ProxyErrorType::HttpResponseTimeout
        | ProxyErrorType::DnsTimeout => StatusCode::GATEWAY_TIMEOUT,
        ProxyErrorType::DestinationUnavailable | ProxyErrorType::ConnectionLimitReached => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ProxyErrorType::ProxyLoopDetected => StatusCode::LOOP_DETECTED,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// After these the rest of the connection cannot be trusted, or its client is
/// too slow to be waited for.
fn closes(failure: &Failure, status: StatusCode) -> bool {
    match failure {
        Failure::BadRequest(_)
        | Failure::ExpectationFailed
        | Failure::TargetTooLong
        | Failure::FieldsTooLarge
        | Failure::MethodNotAllowed(_)
        | Failure::Unauthorized
        | Failure::OutOfMemory
        | Failure::Panicked
        | Failure::ContentTooLarge { .. } => true,
        Failure::Fetch { .. } => status.is_client_error(),
        // HTTP/2 alone has the last.
        Failure::UnknownHost | Failure::Misdirected | Failure::OnlyIfCached | Failure::UnknownProtocol => {
            false
        }
    }
}

fn retry_after(error: &FetchError, status: StatusCode) -> Option<Duration> {
    error.retry_after.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(1)))
}

/// The edge comes last in the list, as the cache nearest to the client (RFC
/// 9211 s2).
fn append_cache_status(fields: &mut HeaderMap, status: Option<&CacheStatus>) {
    let value = match status {
        Some(status) => {
            let mut text = Vec::with_capacity(64);
            status.write(&mut text);
            HeaderValue::from_bytes(&text).ok()
        }
        None => Some(HeaderValue::from_static("Seawall; detail=generated")),
    };
    match (fields.entry(CACHE_STATUS), value) {
        // An empty list is a place that was kept for it.
        (Entry::Occupied(mut list), Some(value)) if list.get().is_empty() => drop(list.insert(value)),
        (Entry::Occupied(mut list), Some(value)) => list.append(value),
        (Entry::Vacant(place), Some(value)) => drop(place.insert(value)),
        (_, None) => {}
    }
}

fn append(fields: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::RequestProgress;
    use http::Method;

    fn fetch(kind: ProxyErrorType) -> Failure {
        Failure::Fetch { error: FetchError::new(kind, RequestProgress::NotSent), cache: None }
    }

    #[test]
    fn every_failure_has_its_status() {
        for (failed, status) in [
            (fetch(ProxyErrorType::ConnectionRefused), 502),
            (fetch(ProxyErrorType::HttpProtocolError), 502),
            (fetch(ProxyErrorType::HttpResponseTimeout), 504),
            (fetch(ProxyErrorType::DestinationUnavailable), 503),
            (fetch(ProxyErrorType::ProxyLoopDetected), 508),
            (Failure::UnknownHost, 404),
            (Failure::Misdirected, 421),
            (Failure::OnlyIfCached, 504),
            (Failure::MethodNotAllowed(Method::TRACE), 405),
            (Failure::UnknownProtocol, 501),
            (Failure::Unauthorized, 401),
            (Failure::ContentTooLarge { limit: 1 }, 413),
            (Failure::BadRequest("x"), 400),
            (Failure::ExpectationFailed, 417),
            (Failure::OutOfMemory, 503),
            (Failure::Panicked, 500),
            (Failure::TargetTooLong, 414),
            (Failure::FieldsTooLarge, 431),
        ] {
            assert_eq!(failure(failed).res.status.as_u16(), status);
        }
    }

    #[test]
    fn the_clients_own_content_is_the_clients_error() {
        let mut error = FetchError::new(ProxyErrorType::ProxyInternalError, RequestProgress::Sent);
        error.request_body = Some(BodyError::TooLarge { limit: 1 });
        let outgoing = failure(Failure::Fetch { error, cache: None });
        assert_eq!(outgoing.res.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(outgoing.close && !outgoing.res.fields.contains_key("proxy-status"));
    }

    #[test]
    fn unavailable_says_when_to_come_back_and_why() {
        let fields = failure(fetch(ProxyErrorType::DestinationUnavailable)).res.fields;
        assert_eq!(fields["retry-after"], "1");
        assert_eq!(fields["proxy-status"], "Seawall; error=destination_unavailable");
        assert!(fields.contains_key("cache-status"));
    }

    #[test]
    fn a_response_says_what_the_cache_did() {
        let mut res = Box::new(Response::empty(StatusCode::OK));
        res.facts.cache = Some(CacheStatus { hit: true, ttl: Some(5), ..CacheStatus::default() });
        assert_eq!(response(res).res.fields["cache-status"], "Seawall; hit; ttl=5");
    }

    #[test]
    fn the_edge_comes_last_of_the_caches() {
        for (before, expected) in [
            (&[][..], &["Seawall; detail=generated"][..]),
            (&[""], &["Seawall; detail=generated"]),
            (&["Other; hit"], &["Other; hit", "Seawall; detail=generated"]),
        ] {
            let mut fields = HeaderMap::new();
            for member in before {
                fields.append(CACHE_STATUS, HeaderValue::from_static(member));
            }
            append_cache_status(&mut fields, None);
            assert_eq!(fields.get_all(CACHE_STATUS).iter().collect::<Vec<_>>(), expected);
        }
    }
}
