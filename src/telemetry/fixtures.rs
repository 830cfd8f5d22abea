//! Records to test with.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Method, StatusCode};

use crate::exchange::{ExchangeEnd, ExchangeRecord, Facts, Protocol, RequestId, Scheme, SiteNumber};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::fields::proxy_status::ProxyErrorType;

/// A record that has everything a successful exchange can have.
pub(crate) fn record() -> ExchangeRecord {
    ExchangeRecord {
        started: UNIX_EPOCH + Duration::from_millis(1_795_342_272_345),
        head_time: Some(Duration::from_micros(1002)),
        total_time: Duration::from_millis(2500),
        id: RequestId(255),
        client: IpAddr::from([192, 0, 2, 7]),
        protocol: Protocol::Http2,
        scheme: Scheme::Https,
        method: Method::GET,
        host: HeaderValue::from_static("example.com"),
        path_and_query: Some("/a?b=1&token=secret".parse().unwrap()),
        user_agent: Some(HeaderValue::from_static("curl/8")),
        referer: Some(HeaderValue::from_static("https://example.org/?token=secret")),
        site: Some(SiteNumber(0)),
        status: StatusCode::OK,
        bytes_in: 0,
        bytes_out: 1234,
        facts: Facts {
            cache: Some(CacheStatus { stored: true, ..CacheStatus::forwarded(ForwardReason::UriMiss) }),
            origin_server: Some("10.0.0.1:8080".into()),
            attempts: 1,
            ..Facts::default()
        },
        end: ExchangeEnd::Complete,
    }
}

/// The same with another id.
pub(crate) fn record_with_id(id: u128) -> ExchangeRecord {
    ExchangeRecord { id: RequestId(id), ..record() }
}

/// A record with as little as there can be: a request that came to nothing.
pub(crate) fn bare_record() -> ExchangeRecord {
    ExchangeRecord {
        protocol: Protocol::Http11,
        method: Method::OPTIONS,
        host: HeaderValue::from_static(""),
        path_and_query: None,
        user_agent: None,
        referer: None,
        site: None,
        status: StatusCode::BAD_GATEWAY,
        bytes_out: 0,
        facts: Facts { proxy_error: Some(ProxyErrorType::ConnectionRefused), ..Facts::default() },
        ..record()
    }
}
