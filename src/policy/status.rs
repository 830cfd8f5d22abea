//! What is known of status codes.

use http::StatusCode;

/// May a lifetime be made up for a response with this status that states none
/// (RFC 9110 s15.1)?
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Does this cache act on all that the status means for caching, as
/// `must-understand` asks (RFC 9111 s5.2.2.3)? True for the final ones of
/// RFC 9110 s15, but for 304, which it does not store.
pub(super) fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

/// Does it say something of the resource itself? Other errors may lie in the
/// one request, or in the server of the moment.
pub fn is_of_resource(status: StatusCode) -> bool {
    !is_error(status) || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Is it an error, for which no configured lifetime stands in but
/// `negative_ttl`?
pub(super) fn is_error(status: StatusCode) -> bool {
    status.as_u16() >= 400
}
