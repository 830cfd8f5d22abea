//! The way of a HEAD that the store does not answer: it is sent as it is, and
//! what it brings may freshen or invalidate what a GET had stored
//! (RFC 9111 s4.3.5).

use std::sync::Arc;

use http::Method;

use super::fetch::Miss;
use super::store::Alone;
use crate::exchange::{Failure, Response};
use crate::policy::{self, HeadUpdate, Storability, StoredHead, Timing};

impl Miss {
    pub(super) async fn head(&self) -> Result<Box<Response>, Failure> {
        let since = self.cache.store.generation(&self.plan.key);
        let sent = self.cache.clock.wall();
        let mut response = match Arc::clone(&self.asked.origin).fetch(self.asked.request()).await {
            Ok(response) => response,
            Err(error) => return self.stale(None).ok_or_else(|| self.failure(&Arc::new(error))),
        };
        if let Some(stale) = self.stale(Some(response.status)) {
            return Ok(stale);
        }
        let timing = Timing { request: sent, response: self.cache.clock.wall() };
        let mut cache = self.forwarded();
        if let Some(stored) = &self.plan.validate {
            let (store, key) = (&self.cache.store, &self.plan.key);
            match policy::head_freshens(
                &stored.head,
                stored.body.length(),
                (response.status, &response.fields),
            ) {
                HeadUpdate::Freshen => {
                    let head = policy::freshened(&stored.head, &response.fields, timing, &self.asked.rules);
                    match self.storability(&head, timing) {
                        Storability::Store => {
                            let received = self.cache.clock.now();
                            let fresh = Arc::new(stored.freshened(head, received, &since));
                            cache.stored = store.freshen(key, stored, &fresh, &since, Alone::default()).await;
                        }
                        Storability::DoNotStore(reason) if reason.is_of_request() => {}
                        Storability::DoNotStore(_) => store.forget(key, stored).await,
                    }
                }
                HeadUpdate::Invalidate => store.forget(key, stored).await,
                HeadUpdate::Nothing => {}
            }
        }
        response.facts.cache = Some(cache);
        Ok(response)
    }

    /// May `head` be stored, as the head of a response to a GET with the same
    /// fields?
    fn storability(&self, head: &StoredHead, timing: Timing) -> Storability {
        let as_get = self.asked.head().by(&Method::GET);
        policy::storability(&as_get, head.status, &head.fields(), timing, &self.asked.rules)
    }
}
