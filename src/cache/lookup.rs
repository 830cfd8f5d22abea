//! What the store knows for a request, and what that is worth. It sends
//! nothing and stores nothing.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::asked::{Asked, key_parts};
use super::store::{Memory, StoredResponse, Variants};
use crate::exchange::Request;
use crate::fields::cache_status::ForwardReason;
use crate::policy::{self, Alike, CacheKey, CacheRules, RequestHead, Reuse, write_key};

/// Longer key buffers are given back instead of kept for the next request.
const KEPT_KEY_BUFFER: usize = 4 << 10;

/// What the store says to a request.
#[derive(Debug)]
pub(super) enum Lookup {
    /// A response that answers it.
    Serve { stored: Arc<StoredResponse>, ttl: i64 },
    /// A stale response that may answer it all the same; where `refresh` is
    /// there, it is to be validated meanwhile.
    ServeStale { stored: Arc<StoredResponse>, ttl: i64, refresh: Option<Plan> },
    /// An origin server has to be asked.
    Fetch(Plan),
}

/// How an origin server is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where the response belongs.
    pub(super) key: CacheKey,
    /// Why it is asked.
    pub(super) reason: ForwardReason,
    /// The name of a further reason.
    pub(super) detail: Option<&'static str>,
    /// The stored response to validate.
    pub(super) validate: Option<Arc<StoredResponse>>,
    /// What may answer if the origin servers cannot.
    pub(super) if_error: Option<Arc<StoredResponse>>,
    /// True if the request may wait for another one's response.
    pub(super) collapse: bool,
    /// Those whose response may be for it too.
    pub(super) alike: Alike,
}

thread_local! {
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Looks a request up that has just come, without waiting.
pub(super) fn look(memory: &Memory, req: &Request, head: &RequestHead<'_>, rules: &CacheRules) -> Lookup {
    KEY.with_borrow_mut(|key| {
        key.clear();
        key.shrink_to(KEPT_KEY_BUFFER);
        write_key(key_parts(&req.target), key);
        let variants = memory.look(key);
        judge(head, variants.as_ref(), rules, req.received_wall, req.received, || CacheKey::new(key))
    })
}

/// Looks it up once more after it has waited. Cancel safe.
pub(super) async fn look_again(
    memory: &Memory,
    asked: &Asked,
    key: &CacheKey,
    now: SystemTime,
    instant: Instant,
) -> Lookup {
    let variants = memory.look_again(key).await;
    judge(&asked.head(), variants.as_ref(), &asked.rules, now, instant, || key.clone())
}

/// The plan for what is not there of a response that is: it is asked for part by
/// part.
pub(super) fn plan_of_parts(asked: &Asked) -> Plan {
    let mut key = Vec::new();
    write_key(key_parts(&asked.target), &mut key);
    Plan {
        key: CacheKey::new(&key),
        reason: ForwardReason::Partial,
        detail: None,
        validate: None,
        if_error: None,
        collapse: true,
        alike: Alike::default(),
    }
}

/// What a response that was found on the disk is worth to a request for which
/// memory had the plan `before`.
pub(super) fn judge_one(asked: &Asked, before: &Plan, found: Arc<StoredResponse>, now: SystemTime) -> Lookup {
    let variants = Variants::one(found);
    let collapse = before.collapse;
    let judged =
        judge(&asked.head(), Some(&variants), &asked.rules, now, asked.received, || before.key.clone());
    match judged {
        Lookup::Fetch(plan) => Lookup::Fetch(Plan { collapse, ..plan }),
        serve => serve,
    }
}

fn judge(
    req: &RequestHead<'_>,
    variants: Option<&Variants>,
    rules: &CacheRules,
    now: SystemTime,
    instant: Instant,
    key: impl FnOnce() -> CacheKey,
) -> Lookup {
    let kept = variants.map_or(&[][..], Variants::responses);
    let plan = |reason| Plan {
        key: key(),
        reason,
        detail: None,
        validate: None,
        if_error: None,
        collapse: variants
            .is_none_or(|variants| variants.collapses(policy::is_personal(req, rules), instant)),
        alike: Alike::of(req, kept.iter().map(|stored| &stored.head), rules),
    };
    let Some(stored) = policy::select(req, kept, now, |stored| &stored.head) else {
        let reason = if kept.is_empty() {
            ForwardReason::UriMiss
        } else if kept.iter().any(|stored| policy::has_part(req, &stored.head)) {
            ForwardReason::Partial
        } else {
            ForwardReason::VaryMiss
        };
        return Lookup::Fetch(plan(reason));
    };
    let stored = Arc::clone(stored);
    // A part is fetched anew as it was asked for.
    let validated = || stored.head.part().is_none().then(|| Arc::clone(&stored));
    match policy::reuse(req, &stored.head, now, rules) {
        Reuse::Serve { ttl } => Lookup::Serve { stored, ttl },
        Reuse::ServeStale { ttl, revalidate } => {
            let refresh = revalidate.then(|| Plan { validate: validated(), ..plan(ForwardReason::Stale) });
            Lookup::ServeStale { stored, ttl, refresh }
        }
        Reuse::Validate { if_error, reason, detail } => Lookup::Fetch(Plan {
            detail,
            if_error: if_error.then(|| Arc::clone(&stored)),
            validate: validated(),
            ..plan(reason)
        }),
        Reuse::Forward(reason) => Lookup::Fetch(plan(reason)),
    }
}
