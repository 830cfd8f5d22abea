//! What the fuzz targets see of this floor.

use http::request::Parts;

use super::framing::Framing;
use super::normalize::normalize;
use crate::config::model::Limits;
use crate::exchange::{Scheme, Target};

/// The longest line of a head.
const LONGEST_LINE: usize = 1024;

/// The normal form of a request's target, unless the request is refused.
pub fn target(mut head: Parts, scheme: Scheme, limits: &Limits) -> Option<Target> {
    normalize(&mut head, scheme, limits).ok().map(|normal| normal.target)
}

/// Follows `bytes` as the requests of a connection, and holds what is said of each to
/// what the caller relies on: it does not depend on how the bytes come. A request is
/// served as soon as its head is there, as hyper does.
pub fn requests(bytes: &[u8], part: usize) {
    let whole = followed(bytes, bytes.len().max(1));
    assert_eq!(followed(bytes, part.max(1)), whole, "in parts of {part} bytes");
}

/// How many requests were served, and whether anything was wrong in the end.
fn followed(bytes: &[u8], part: usize) -> (usize, bool) {
    let mut framing = Framing::new(LONGEST_LINE);
    let mut is_wrong = false;
    for part in bytes.chunks(part) {
        is_wrong |= framing.read(part).is_err();
    }
    let mut served = 0;
    // There are no more requests than bytes.
    while served <= bytes.len() && framing.serve().is_ok() {
        served += 1;
    }
    (served, is_wrong || framing.is_amid_request())
}
