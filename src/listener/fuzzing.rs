//! What the fuzz targets see of this floor.

use super::proxy_protocol::{Parsed, parse};

/// Parses `bytes` as a PROXY header, and holds what comes out to what the caller
/// relies on: a header ends within the bytes and is told from its own bytes
/// alone, and every beginning of it is the beginning of a header.
pub fn proxy_header(bytes: &[u8]) {
    let parsed = parse(bytes);
    if let Ok(Parsed::Header { length, .. }) = parsed {
        assert!(0 < length && length <= bytes.len());
        assert_eq!(parse(&bytes[..length]), parsed);
        assert!((0..length).all(|end| parse(&bytes[..end]) == Ok(Parsed::Incomplete)));
    }
    if parsed == Ok(Parsed::Incomplete) {
        assert!(bytes.len() < 16 + 4096);
    }
}
