//! What the fuzz targets see of the cache: the decoders of what lies on a disk.

pub use super::store::fuzzing::{purges, record};
