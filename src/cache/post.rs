//! The response to a POST, kept where it answers a GET of the same target
//! (RFC 9110 s9.3.3). It is never the answer to another POST.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::Cache;
use super::asked::{Asked, key_beside, key_parts};
use super::fetch::Miss;
use super::fill::Fill;
use super::invalidate::NormalForms;
use super::lookup::Plan;
use super::store::{Generation, Removed};
use crate::exchange::{Body, Failure, Origin, Request, Response};
use crate::fields::cache_status::ForwardReason;
use crate::policy::{self, Alike, CacheKey, CacheRules, Timing};

/// A POST under way, whose response may be kept.
#[derive(Debug)]
pub(super) struct Post {
    /// Where the response belongs.
    pub(super) key: CacheKey,
    /// The GET that the response would answer.
    asked: Arc<Asked>,
    /// What else invalidates the key after this makes the response void.
    since: Generation,
}

impl Post {
    /// Of a POST whose target is in the form under which a GET of it is kept.
    pub(super) fn of(
        cache: &Cache,
        req: &mut Request,
        rules: &Arc<CacheRules>,
        origin: &Arc<dyn Origin>,
        forms: &dyn NormalForms,
    ) -> Option<Self> {
        let written = req.target.path_and_query.as_str();
        if req.method != Method::POST || !rules.enabled || forms.of_get(written).is_some() {
            return None;
        }
        origin.cleanse(&mut req.fields, req.trusted);
        let mut fields = HeaderMap::clone(&req.fields);
        policy::strip_conditional(&mut fields);
        let get = Box::new(Request {
            method: Method::GET,
            target: req.target.clone(),
            fields: Arc::new(fields),
            body: Body::Empty,
            upgrade: None,
            interim: None,
            connection: Arc::clone(&req.connection),
            ..*req
        });
        let key = key_beside(&req.target, written);
        Some(Self { since: cache.store.generation(&key), key, asked: Asked::new(get, rules, origin) })
    }

    /// True if the response is kept, as far as can be told before its target is
    /// invalidated: nothing came in between that would have made it void.
    pub(super) fn is_kept(&self, cache: &Cache, response: &Response, timing: Timing) -> bool {
        let target = key_parts(&self.asked.target);
        policy::answers_get(target, (response.status, &response.fields), timing, &self.asked.rules)
            && cache.store.holds(&self.key, &self.since)
    }

    /// Invalidates its key, as the response says, and not the response.
    pub(super) async fn invalidate(&mut self, cache: &Cache) -> Removed {
        let (removed, since) = cache.store.invalidate_for(&self.key, &self.since).await;
        self.since = since;
        removed
    }

    /// Keeps the response, unless it has become void, and answers with it.
    pub(super) async fn keep(
        self,
        cache: &Arc<Cache>,
        response: Box<Response>,
        timing: Timing,
    ) -> Result<Box<Response>, Failure> {
        let plan = Plan {
            key: self.key,
            reason: ForwardReason::Method,
            detail: None,
            validate: None,
            if_error: None,
            collapse: false,
            alike: Alike::default(),
        };
        let fill = Fill::new(cache, &self.asked, &plan, None).begun_in(self.since);
        let received = fill.accept(response, timing).await;
        Miss::new(Arc::clone(cache), self.asked, plan).conclude(Ok(received)).await
    }
}
