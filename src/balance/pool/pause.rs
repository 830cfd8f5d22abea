//! Servers that ask to be left alone for a while, by 503 with `Retry-After`. They
//! are, as if they were ejected for that long; their word is bounded, for they
//! are not believed to know how long they are missed.

use std::sync::PoisonError;
use std::time::Duration;

use http::StatusCode;

use super::Pool;
use crate::balance::member::Member;
use crate::exchange::Response;
use crate::fields::retry_after;

impl Pool {
    /// Leaves `member` out as long as it asks for in `response`, if it can be spared.
    pub(super) fn heed_pause(&self, member: &Member, response: &Response, now: Duration) {
        let longest = self.config.eject.as_ref().map_or(Duration::ZERO, |rules| rules.retry_after);
        if response.status != StatusCode::SERVICE_UNAVAILABLE || longest.is_zero() {
            return;
        }
        let Some(asked) = retry_after::of(&response.fields, self.clock.wall()) else { return };
        // As with ejections: two at a time could each be the last that may go.
        let _turn = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.can_spare(member, now) && member.pause(asked.min(longest), now) {
            let (pool, server) = (&self.config.name, &member.label);
            tracing::info!(%pool, %server, time = ?asked.min(longest), "origin server asked for a pause");
        }
    }
}
