//! What the fuzz targets see of this floor: the responses of HTTP/1.1.

pub use super::http1::fuzzing::responses;
