//! A response on its way to the client, and what the floors it passed know of
//! how it came about. It is passed on in a box, as a request is.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Body, Tunnel};
use crate::fields::cache_status::CacheStatus;

/// A response in normal form: hop-by-hop fields are gone.
#[derive(Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The fields.
    pub fields: HeaderMap,
    /// The content.
    pub body: Body,
    /// For Cache-Status, logs and metrics.
    pub facts: Facts,
    /// The origin server's end of a tunnel, with a 101.
    pub tunnel: Option<Tunnel>,
}

impl Response {
    /// A response without content.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }
}

/// How a response came about.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What the cache did (RFC 9211). `None` where no cache was asked.
    pub cache: Option<CacheStatus>,
    /// The origin server that was asked last, as the config writes it.
    pub origin_server: Option<Arc<str>>,
    /// How many origin servers were asked.
    pub attempts: u32,
    /// The cookie that ties the client to that server, where nothing does yet.
    /// It is not among the fields, so that no cache keeps it for others.
    pub session: Option<HeaderValue>,
    /// From sending the request to the head of the origin server's response.
    pub origin_time: Option<Duration>,
    /// Set where the response was made here in place of one that failed
    /// (RFC 9209).
    pub proxy_error: Option<crate::fields::proxy_status::ProxyErrorType>,
}
