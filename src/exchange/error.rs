//! What can go wrong between a request and its response, in words that say
//! whether it may be tried again. Which status a client sees for it is decided
//! in `front/respond.rs` alone.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::BodyError;
use crate::fields::cache_status::CacheStatus;
use crate::fields::proxy_status::ProxyErrorType;

/// How far a request to an origin server had come when it failed: decides
/// whether another one may be sent (RFC 9110 s9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestProgress {
    /// Nothing of it left: any request may be tried again.
    NotSent,
    /// Some of it may have been processed: only an idempotent request may be
    /// tried again, and only if its content can be sent again.
    Sent,
    /// A part of the response came: never again.
    Answered,
}

/// An origin server's answer could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct FetchError {
    /// The kind of failure (RFC 9209 s2.3).
    pub kind: ProxyErrorType,
    /// How far the request had come.
    pub progress: RequestProgress,
    /// The client's own content was the reason (too large, too slow, cut).
    pub request_body: Option<BodyError>,
    /// What was asked for may be the reason: it says nothing of the server.
    pub is_requests_fault: bool,
    /// Ask again after this long.
    pub retry_after: Option<Duration>,
    /// The origin server that was asked last, as the config writes it.
    pub origin_server: Option<Arc<str>>,
    /// How many origin servers were asked.
    pub attempts: u32,
    /// What the library below said.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// A failure without more to say.
    pub fn new(kind: ProxyErrorType, progress: RequestProgress) -> Self {
        Self {
            kind,
            progress,
            request_body: None,
            is_requests_fault: false,
            retry_after: None,
            origin_server: None,
            attempts: 0,
            source: None,
        }
    }

    /// The same, with the error it came from.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Why an exchange ends without a response of an origin server or a cache.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The origin servers gave none.
    #[error("no response from the origin servers")]
    Fetch {
        /// Why.
        #[source]
        error: FetchError,
        /// What the cache did before it asked (RFC 9211).
        cache: Option<CacheStatus>,
    },
    /// No site answers to this host.
    #[error("no site of this name")]
    UnknownHost,
    /// The connection was made for another site (RFC 9110 s15.5.20).
    #[error("the connection was made for another site")]
    Misdirected,
    /// The request asked for a stored response only, and there is none that may
    /// be used (RFC 9111 s5.2.1.7).
    #[error("only-if-cached, and nothing usable is stored")]
    OnlyIfCached,
    /// The method is refused here.
    #[error("the method {0} is not served")]
    MethodNotAllowed(Method),
    /// A protocol that nobody here speaks was asked for in a CONNECT.
    #[error("the protocol asked for is not spoken here")]
    UnknownProtocol,
    /// Who asked may not do that, or did not say who it is.
    #[error("not authorized")]
    Unauthorized,
    /// The content is larger than this site or route allows.
    #[error("the content is larger than the limit of {limit} bytes")]
    ContentTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The request is malformed or can be read in two ways.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// An `Expect` other than `100-continue` (RFC 9110 s10.1.1).
    #[error("the expectation is unknown")]
    ExpectationFailed,
    /// The process has too little memory left for another exchange.
    #[error("too little memory is left")]
    OutOfMemory,
    /// What answered it panicked.
    #[error("the answer was lost to a panic")]
    Panicked,
    /// The target is longer than the limit.
    #[error("the request target is longer than the limit")]
    TargetTooLong,
    /// The fields are larger or more than the limits.
    #[error("the fields are larger or more than the limits")]
    FieldsTooLarge,
}
