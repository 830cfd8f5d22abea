//! Field values of RFC 9110, 9111, 9209, 9211, 9213 and 9440: parsed and printed.
//! Pure: no clock, no socket, no state; nothing of this project is imported.

pub mod accept_encoding;
pub mod accept_language;
pub mod age;
pub mod cache_control;
pub mod cache_status;
pub mod client_cert;
pub mod coding;
pub mod compact;
pub mod cookie;
pub mod date;
pub mod delta_seconds;
pub mod entity_tag;
pub mod forwarding;
pub mod hop_by_hop;
pub mod list;
pub mod media_type;
pub mod proxy_status;
pub mod range;
pub mod retry_after;
pub mod section;
pub mod targeted;
pub mod trailers;
pub mod vary;
