//! What a request gets of the disk tier, when memory has nothing for it.

use http::Method;

use super::fetch::{Miss, refresh};
use super::lookup::{self, Lookup};
use super::store::OnDisk;
use crate::exchange::{Failure, Response};
use crate::fields::cache_status::ForwardReason;

impl Miss {
    /// The response, if the disk has one that may answer; what has to be
    /// fetched or validated is the new plan.
    pub(super) async fn look_on_disk(&mut self) -> Option<Result<Box<Response>, Failure>> {
        if self.plan.validate.is_some() {
            return None;
        }
        let found = match self.cache.store.look_on_disk(&self.asked.head(), &self.plan.key).await {
            OnDisk::Found(found) => found,
            OnDisk::Others if self.plan.reason == ForwardReason::UriMiss => {
                self.plan.reason = ForwardReason::VaryMiss;
                return None;
            }
            OnDisk::Others | OnDisk::Nothing => return None,
        };
        self.cache.store.promote(&self.plan.key, &found).await;
        let now = self.cache.clock.wall();
        match lookup::judge_one(&self.asked, &self.plan, found.stored, now) {
            Lookup::Serve { stored, ttl } => self.hit(&stored, ttl, now).await,
            Lookup::ServeStale { stored, ttl, refresh: plan } => {
                if let Some(plan) = plan.filter(|_| self.asked.method == Method::GET) {
                    refresh(&self.cache, &self.asked, &plan);
                }
                self.hit(&stored, ttl, now).await
            }
            Lookup::Fetch(plan) => {
                self.follow_plan(plan);
                None
            }
        }
    }

    /// True if what is to be validated was read from the disk.
    pub(super) fn validates_record(&self) -> bool {
        self.plan.validate.as_ref().is_some_and(|stored| stored.is_from_disk())
    }
}
