//! What is said of a failed request, in the words of RFC 9209.

use super::http1::Http1Error;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// Why a request that had come as far as `progress` got no response by HTTP/1.1.
pub(super) fn fetch_error(error: Http1Error, progress: RequestProgress) -> FetchError {
    let kind = match &error {
        Http1Error::TooLarge => ProxyErrorType::HttpResponseHeaderSectionSize,
        Http1Error::Syntax(_) | Http1Error::Malformed(_) => ProxyErrorType::HttpProtocolError,
        Http1Error::Ended | Http1Error::Io(_) if progress == RequestProgress::Answered => {
            ProxyErrorType::HttpResponseIncomplete
        }
        Http1Error::Ended | Http1Error::Io(_) | Http1Error::Content(_) => {
            ProxyErrorType::ConnectionTerminated
        }
    };
    FetchError::new(kind, progress).from_source(error)
}

/// Why a request that was sent by HTTP/2 got no response, and how far it had come.
pub(super) fn stream_error(error: h2::Error) -> FetchError {
    let (kind, progress) = if is_broken_stream(&error) {
        (ProxyErrorType::HttpProtocolError, RequestProgress::Answered)
    } else if is_refused(&error) {
        (ProxyErrorType::ConnectionTerminated, RequestProgress::NotSent)
    } else {
        (ProxyErrorType::ConnectionTerminated, RequestProgress::Sent)
    };
    FetchError::new(kind, progress).from_source(error)
}

/// True where the server says that it has not processed the request: by a reset
/// (RFC 9113 s8.7), or by a GOAWAY, which ends only streams above the last one that
/// it may have processed (s6.8).
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// True where h2 reset the stream, for what came on it was no response.
fn is_broken_stream(error: &h2::Error) -> bool {
    error.is_library() && error.is_reset()
}

/// A connection on which nothing can be sent.
pub(super) fn not_sent(why: &'static str) -> FetchError {
    FetchError { progress: RequestProgress::NotSent, ..malformed(why) }
}

/// A response that is refused.
pub(super) fn malformed(why: &'static str) -> FetchError {
    FetchError::new(ProxyErrorType::HttpProtocolError, RequestProgress::Answered).from_source(why)
}
