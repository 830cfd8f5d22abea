//! What the fuzz targets see of this floor.

use http::request::Parts;

use super::normalize::normalize;
use crate::config::model::Limits;
use crate::exchange::{Scheme, Target};

/// The normal form of a request's target, unless the request is refused.
pub fn target(mut head: Parts, scheme: Scheme, limits: &Limits) -> Option<Target> {
    normalize(&mut head, scheme, limits).ok().map(|normal| normal.target)
}
