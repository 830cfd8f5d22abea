//! The way of a HEAD that the store does not answer: it is sent as it is, and
//! what it brings may freshen or invalidate what a GET had stored
//! (RFC 9111 s4.3.5).

use std::sync::Arc;

use super::fetch::Miss;
use super::store::StoredResponse;
use crate::exchange::{Failure, Response};
use crate::fields::cache_status::CacheStatus;
use crate::policy::{self, HeadUpdate, Timing};

impl Miss {
    pub(super) async fn head(self) -> Result<Response, Failure> {
        let since = self.cache.memory.generation(&self.plan.key);
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
            let (memory, key) = (&self.cache.memory, &self.plan.key);
            match policy::head_freshens(&stored.head, (response.status, &response.fields)) {
                HeadUpdate::Freshen => {
                    let head = policy::freshened(&stored.head, &response.fields, timing, &self.asked.rules);
                    let fresh = StoredResponse { head: Arc::new(head), body: stored.body.clone() };
                    let stored = memory.keep(key, Arc::new(fresh), since, None).await;
                    cache = CacheStatus { stored, ..cache };
                }
                HeadUpdate::Invalidate => memory.forget(key, stored).await,
                HeadUpdate::Nothing => {}
            }
        }
        response.facts.cache = Some(cache);
        Ok(response)
    }
}
