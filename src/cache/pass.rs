//! Requests that go past the cache: forwarded as they are, content and all.

use std::sync::Arc;

use super::invalidate::NormalForms;
use super::post::Post;
use super::{Cache, invalidate};
use crate::exchange::{Failure, Origin, Request, Response};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::policy::{self, CacheRules, RequestHead, Timing};

/// Why a request goes past the cache, if it does.
pub(super) fn past(req: &Request, head: &RequestHead<'_>, rules: &CacheRules) -> Option<CacheStatus> {
    if let Some(reason) = policy::bypass(head, rules) {
        let detail = Some(reason.as_str());
        return Some(CacheStatus { detail, ..CacheStatus::forwarded(reason.forward_reason()) });
    }
    let detail = if req.upgrade.is_some() {
        "upgrade"
    } else if !req.body.is_empty() {
        "content"
    } else {
        return None;
    };
    Some(CacheStatus { detail: Some(detail), ..CacheStatus::forwarded(ForwardReason::Bypass) })
}

/// Forwards `req`; the response to an unsafe one invalidates what it made
/// stale (RFC 9111 s4.4), and that to a POST may be kept.
pub(super) async fn forward(
    cache: Arc<Cache>,
    req: Box<Request>,
    origin: Arc<dyn Origin>,
    forms: Arc<dyn NormalForms>,
    (status, post): (CacheStatus, Option<Post>),
) -> Result<Box<Response>, Failure> {
    let changed = (!req.method.is_safe()).then(|| (req.method.clone(), req.target.clone()));
    let sent = cache.clock.wall();
    let mut response = match origin.fetch(req).await {
        Ok(response) => response,
        Err(error) => return Err(Failure::Fetch { error, cache: Some(status) }),
    };
    let timing = Timing { request: sent, response: cache.clock.wall() };
    let mut kept = post.filter(|post| post.is_kept(&cache, &response, timing));
    if let Some((method, target)) = changed {
        let answered = (response.status, &response.fields);
        invalidate::after(&cache, (&method, &target), &*forms, answered, kept.as_mut()).await;
    }
    if let Some(post) = kept {
        return post.keep(&cache, response, timing).await;
    }
    response.facts.cache = Some(status);
    Ok(response)
}
