//! What the HTTP library says of a failed request, in the words of RFC 9209.

use std::io;

use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// Why a request that had come as far as `progress` got no response.
pub(super) fn fetch_error(error: hyper::Error, progress: RequestProgress) -> FetchError {
    let kind = if error.is_parse_too_large() {
        ProxyErrorType::HttpResponseHeaderSectionSize
    } else if error.is_parse() {
        ProxyErrorType::HttpProtocolError
    } else if progress == RequestProgress::Answered && !is_io(&error) {
        // The connection ended, or bytes came that belong to no response.
        ProxyErrorType::HttpResponseIncomplete
    } else {
        ProxyErrorType::ConnectionTerminated
    };
    FetchError::new(kind, progress).from_source(error)
}

/// True where the server says that it has not processed the request (RFC 9113
/// s8.7).
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    let reset = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    reset.is_some_and(|reset| reset.is_remote() && reset.reason() == Some(h2::Reason::REFUSED_STREAM))
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
