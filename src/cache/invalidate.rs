//! What a response to an unsafe method makes stale is forgotten
//! (RFC 9111 s4.4), and what is being fetched of it is not stored.

use http::{HeaderMap, Method, StatusCode};

use super::Cache;
use super::asked::{key_beside, key_parts};
use crate::exchange::Target;
use crate::policy::{self, CacheRules};

/// Invalidates what a response to a request for `target` says has changed.
pub(super) async fn after(
    cache: &Cache,
    method: &Method,
    target: &Target,
    rules: &CacheRules,
    status: StatusCode,
    fields: &HeaderMap,
) {
    let changed = policy::invalidated_by(method, key_parts(target), status, fields);
    for path_and_query in changed {
        let key = key_beside(target, &path_and_query, rules);
        if cache.store.invalidate(&key).await {
            cache.metrics.invalidations.increment();
        }
        cache.fills.close(&key);
    }
}
