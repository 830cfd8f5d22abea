//! Chance for jitter, sampling and request ids. Never for keys or secrets,
//! which come from aws-lc-rs.

/// A number below `limit`; 0 where `limit` is 0.
pub fn random_below(limit: usize) -> usize {
    if limit == 0 { 0 } else { fastrand::usize(..limit) }
}

/// A number of the unit interval, 1 excluded.
pub fn random_unit() -> f64 {
    fastrand::f64()
}

/// 128 bits that two requests do not share.
pub fn random_id() -> u128 {
    fastrand::u128(..)
}
