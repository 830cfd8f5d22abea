//! What the HTTP library says of a failed request, in the words of RFC 9209.

use std::io;

use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// Why a request that had come as far as `progress` got no response.
pub(super) fn fetch_error(error: hyper::Error, progress: RequestProgress) -> FetchError {
    let kind = if error.is_parse_too_large() {
        ProxyErrorType::HttpResponseHeaderSectionSize
    } else if error.is_parse() || is_broken_stream(&error) {
        ProxyErrorType::HttpProtocolError
    } else if progress == RequestProgress::Answered && !is_io(&error) {
        // The connection ended, or bytes came that belong to no response.
        ProxyErrorType::HttpResponseIncomplete
    } else {
        ProxyErrorType::ConnectionTerminated
    };
    FetchError::new(kind, progress).from_source(error)
}

/// How far a request had come whose stream failed like this before there was a
/// response.
pub(super) fn progress_on_stream(error: &hyper::Error) -> RequestProgress {
    if is_refused(error) {
        RequestProgress::NotSent
    } else if is_broken_stream(error) {
        RequestProgress::Answered
    } else {
        RequestProgress::Sent
    }
}

/// True where the server says that it has not processed the request: by a reset
/// (RFC 9113 s8.7), or by a GOAWAY, which ends only streams above the last one that
/// it may have processed (s6.8).
fn is_refused(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// True where the connection takes no further requests.
pub(super) fn is_go_away(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(h2::Error::is_go_away)
}

/// True where the library reset the stream, for what came on it was no response.
fn is_broken_stream(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| error.is_library() && error.is_reset())
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<io::Error>)
}

/// A connection on which nothing can be sent.
pub(super) fn not_sent(why: &'static str) -> FetchError {
    FetchError { progress: RequestProgress::NotSent, ..malformed(why) }
}

/// A response that is refused, whatever the library made of it.
pub(super) fn malformed(why: &'static str) -> FetchError {
    FetchError::new(ProxyErrorType::HttpProtocolError, RequestProgress::Answered).from_source(why)
}
