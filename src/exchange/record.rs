//! What is kept of one exchange for the access log and the metrics. The front
//! fills it in and finishes it exactly once, when the body has ended.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use super::{Facts, RequestId, Scheme};

/// One exchange, from the head of the request to the end of the response.
#[derive(Clone, Debug)]
pub struct ExchangeRecord {
    /// When the head of the request was complete.
    pub started: SystemTime,
    /// From then to the head of the response: zero where nothing had to be waited
    /// for, `None` where none was sent.
    pub head_time: Option<Duration>,
    /// From then to the end of the response.
    pub total_time: Duration,
    /// Names the exchange.
    pub id: RequestId,
    /// The client's address.
    pub client: IpAddr,
    /// The protocol between the client and the edge.
    pub protocol: Protocol,
    /// The scheme of the target.
    pub scheme: Scheme,
    /// The method.
    pub method: Method,
    /// The host as the client wrote it, in normal form; empty if it was none.
    pub host: HeaderValue,
    /// Path and query, not yet redacted.
    pub path_and_query: Option<PathAndQuery>,
    /// The `User-Agent` field.
    pub user_agent: Option<HeaderValue>,
    /// The `Referer` field.
    pub referer: Option<HeaderValue>,
    /// The site that was asked.
    pub site: Option<SiteNumber>,
    /// The status sent.
    pub status: StatusCode,
    /// Bytes of content received.
    pub bytes_in: u64,
    /// Bytes of content sent.
    pub bytes_out: u64,
    /// How the response came about.
    pub facts: Facts,
    /// How it ended.
    pub end: ExchangeEnd,
}

/// The number that `telemetry` gave to a site, and by which it knows the site's name: so
/// no exchange counts a reference to what all cores share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteNumber(pub usize);

/// The HTTP version of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// The version alone, as `Via` says it (RFC 9110 s7.6.3).
    pub fn version(self) -> &'static str {
        self.as_str().trim_start_matches("HTTP/")
    }

    /// As it is written in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// How the sending of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeEnd {
    /// All of it was handed to the connection.
    Complete,
    /// The client left before the end.
    ClientLeft,
    /// Its source failed, and the response was cut.
    Cut,
}

impl ExchangeEnd {
    /// As it is written in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientLeft => "client-left",
            Self::Cut => "cut",
        }
    }
}
