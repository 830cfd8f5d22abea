//! Requests that go past the cache: forwarded as they are, content and all.

use std::sync::Arc;

use super::asked::head;
use super::invalidate::NormalForms;
use super::{Cache, invalidate};
use crate::exchange::{Failure, Origin, Request, Response};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::policy::{self, CacheRules};

/// Why a request goes past the cache, if it does.
pub(super) fn past(req: &Request, rules: &CacheRules) -> Option<CacheStatus> {
    if let Some(reason) = policy::bypass(&head(req), rules) {
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
/// stale (RFC 9111 s4.4).
pub(super) async fn forward(
    cache: Arc<Cache>,
    req: Request,
    origin: Arc<dyn Origin>,
    forms: Arc<dyn NormalForms>,
    status: CacheStatus,
) -> Result<Response, Failure> {
    let changed = (!req.method.is_safe()).then(|| (req.method.clone(), req.target.clone()));
    let mut response = match origin.fetch(req).await {
        Ok(response) => response,
        Err(error) => return Err(Failure::Fetch { error, cache: Some(status) }),
    };
    if let Some((method, target)) = changed {
        invalidate::after(&cache, &method, &target, &*forms, response.status, &response.fields).await;
    }
    response.facts.cache = Some(status);
    Ok(response)
}
