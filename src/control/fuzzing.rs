//! What the fuzz targets see of this floor.

use super::{look, purge};
use crate::router::Router;

/// Answers every question and order whose content is `content`; says with which
/// statuses.
pub async fn answers(router: &Router, content: &[u8]) -> [u16; 4] {
    [
        purge::answer(router, content).await,
        look::explain(router, content).await,
        look::list(router, content).await,
        look::show(router, content).await,
    ]
    .map(|res| res.status().as_u16())
}
