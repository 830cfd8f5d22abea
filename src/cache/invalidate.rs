//! What a response to an unsafe method makes stale is forgotten
//! (RFC 9111 s4.4), and what is being fetched of it is not stored.

use std::fmt;

use http::{HeaderMap, Method, StatusCode};

use super::Cache;
use super::asked::{key_beside, key_parts};
use super::post::Post;
use crate::exchange::Target;
use crate::policy;

/// Knows how targets are kept: routes decide that, and the one that takes a
/// write need not be the one that takes a GET of the same target.
pub trait NormalForms: fmt::Debug + Send + Sync + 'static {
    /// The path and query under which the response to a GET of this path and
    /// query is kept, if it is another one.
    fn of_get(&self, path_and_query: &str) -> Option<String>;
}

/// Every target is kept as it is written.
#[derive(Debug)]
pub(super) struct AsWritten;

impl NormalForms for AsWritten {
    fn of_get(&self, _: &str) -> Option<String> {
        None
    }
}

/// Invalidates what the response to a request for `target` says has changed.
/// The response itself, if it is to be `kept`, is not made void by that.
pub(super) async fn after(
    cache: &Cache,
    (method, target): (&Method, &Target),
    forms: &dyn NormalForms,
    (status, fields): (StatusCode, &HeaderMap),
    mut kept: Option<&mut Post>,
) {
    let changed = policy::invalidated_by(method, key_parts(target), status, fields);
    for path_and_query in changed {
        let kept_as = forms.of_get(&path_and_query).unwrap_or(path_and_query);
        let key = key_beside(target, &kept_as);
        let removed = match kept.as_deref_mut().filter(|post| post.key == key) {
            Some(post) => post.invalidate(cache).await,
            None => cache.store.invalidate(&key).await,
        };
        if removed.any() {
            cache.metrics.invalidations.increment();
        }
        cache.fills.close(&key);
    }
}
