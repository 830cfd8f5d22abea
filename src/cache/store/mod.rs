//! What is kept: whole responses, by key, in variants. It holds no rule of
//! HTTP; which response may be kept or used is asked of `policy`.

mod body;
mod disk;
mod disk_tier;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod generations;
mod memory;
mod purges;
mod sliced;
mod tiers;

#[cfg(test)]
mod interleavings;
// Beside the file, not in it: that is compiled more than once.
#[cfg(test)]
#[path = "purges/tests.rs"]
mod purges_tests;

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;

use super::encode::{Encoded, Made};
use super::sync;
use crate::fields::coding::Coding;
use crate::policy::{self, StoredHead};

pub use disk::DiskUsage;

use disk::RecordId;

pub(super) use body::StoredBody;
pub(super) use disk::{FileBody, FileReader, Listed};
pub(super) use generations::Generation;
pub(super) use memory::Memory;
pub(super) use purges::{Entered, Order, Progress, Purges, Selector, Tier};
pub(super) use sliced::{SLICE, Sliced};
pub(super) use tiers::{OnDisk, Removed, Tiers};

/// Bytes that one stored response needs besides its head and its body:
/// counters, pointers and what the allocator adds (measured).
const RESPONSE_OVERHEAD: u64 = 176;

/// The most variants kept under one key; the oldest makes room.
const MOST_VARIANTS: usize = 32;

/// A whole response. Freshening makes a new head over the same body.
#[derive(Clone, Debug)]
pub(super) struct StoredResponse {
    /// Status and fields, parsed.
    pub(super) head: Arc<StoredHead>,
    /// The content.
    pub(super) body: StoredBody,
    /// When the head came, by the monotonic clock.
    pub(super) received: Instant,
    /// The content in the codings that were made of it; few responses have any.
    encoded: Option<Arc<Encoded>>,
    /// It was asked for after the purges up to this one, and before the next.
    epoch: u64,
    /// The record it was read from, if it was; apart, for most were not.
    record: Option<Box<RecordId>>,
}

impl StoredResponse {
    /// What was received at this time, and asked for in the generation `since`.
    pub(super) fn new(
        head: Arc<StoredHead>,
        body: StoredBody,
        received: Instant,
        since: &Generation,
    ) -> Self {
        Self { head, body, received, encoded: None, epoch: since.epoch(), record: None }
    }

    /// This part and another one together, as one response with this head.
    pub(super) fn combined_with(&self, other: &Self, head: Arc<StoredHead>, body: StoredBody) -> Self {
        // What was purged of either does not come back with the other.
        let epoch = self.epoch.min(other.epoch);
        let received = self.received.max(other.received);
        Self { head, body, received, encoded: None, epoch, record: None }
    }

    /// The same content under a new head, which was received at this time.
    pub(super) fn freshened(&self, head: Arc<StoredHead>, received: Instant, since: &Generation) -> Self {
        Self { encoded: self.encoded.clone(), ..Self::new(head, self.body.clone(), received, since) }
    }

    /// True if both have the same content in the same place.
    pub(super) fn has_body_of(&self, other: &Self) -> bool {
        self.body.is(&other.body)
    }

    /// What was made of its content in this coding.
    pub(super) fn encoded(&self, coding: Coding) -> Option<&Made> {
        self.encoded.as_ref()?.get(coding)
    }

    /// The same with what was made of its content.
    pub(super) fn with_encoded(&self, coding: Coding, made: Made) -> Self {
        let encoded = self.encoded.as_deref().cloned().unwrap_or_default().with(coding, made);
        Self { encoded: Some(Arc::new(encoded)), ..self.clone() }
    }

    /// True for the same, even if a purge made one of them stale.
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.received == other.received
                && self.epoch == other.epoch
                && self.body.is(&other.body)
                && policy::same_variant(&self.head, &other.head))
    }

    /// True if it was read from the disk.
    pub(super) fn is_from_disk(&self) -> bool {
        self.record.is_some()
    }

    fn weight(&self) -> u64 {
        let encoded = self.encoded.as_ref().map_or(0, |encoded| encoded.weight());
        RESPONSE_OVERHEAD + self.head.weight() as u64 + self.body.weight() + encoded
    }
}

/// The responses of one key: most keys have one, which is found at once.
type Responses = SmallVec<[Arc<StoredResponse>; 1]>;

/// Everything that is known under one key. Never changed, only replaced.
#[derive(Debug, Default)]
pub(super) struct Variants {
    responses: Responses,
    alone: Alone,
}

/// Until when requests for a key do not wait for one another, after a response
/// that could not be shared (hit-for-miss).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alone {
    /// That goes for every request.
    pub(super) all: Option<Instant>,
    /// That goes for requests to which a response may be personal.
    pub(super) personal: Option<Instant>,
}

impl Variants {
    /// The stored responses, the newest last.
    pub(super) fn responses(&self) -> &[Arc<StoredResponse>] {
        &self.responses
    }

    /// True if such requests may wait for one another.
    pub(super) fn collapses(&self, personal: bool, now: Instant) -> bool {
        let until = if personal { self.alone.all.max(self.alone.personal) } else { self.alone.all };
        until.is_none_or(|until| until <= now)
    }

    /// Only this one.
    pub(super) fn one(response: Arc<StoredResponse>) -> Self {
        Self { responses: smallvec![response], alone: Alone::default() }
    }

    /// The same with `new` in place of its own older version; `None` if there
    /// is a newer one. What would weigh more than `most` in all is left out,
    /// the oldest first.
    fn with(&self, new: Arc<StoredResponse>, alone: Alone, most: u64) -> Option<Self> {
        let is_own = |old: &Arc<StoredResponse>| policy::same_variant(&old.head, &new.head);
        if self.responses.iter().any(|old| is_own(old) && old.received > new.received) {
            return None;
        }
        let others = self.responses.iter().filter(|old| !is_own(old));
        let mut room = most.saturating_sub(new.weight());
        let mut responses: Responses = others
            .rev()
            .take(MOST_VARIANTS - 1)
            .take_while(|old| {
                let fits = old.weight() <= room;
                room = room.saturating_sub(old.weight());
                fits
            })
            .cloned()
            .collect();
        responses.reverse();
        responses.push(new);
        Some(Self { responses, alone })
    }

    fn without(&self, gone: &StoredResponse) -> Self {
        let responses = self.responses.iter().filter(|kept| !kept.is(gone)).cloned().collect();
        Self { responses, alone: self.alone }
    }

    /// The same with what was made of the content of `of`, where that content
    /// is; `None` if it is not there.
    fn with_encoded(&self, of: &StoredResponse, coding: Coding, made: &Made) -> Option<Self> {
        let has_it = |kept: &Arc<StoredResponse>| kept.body.is(&of.body);
        self.responses.iter().any(has_it).then(|| {
            let with = |kept: &Arc<StoredResponse>| Arc::new(kept.with_encoded(coding, made.clone()));
            let responses = self.responses.iter();
            let responses = responses.map(|kept| if has_it(kept) { with(kept) } else { Arc::clone(kept) });
            Self { responses: responses.collect(), alone: self.alone }
        })
    }

    fn marked(&self, alone: Alone) -> Self {
        let alone =
            Alone { all: self.alone.all.max(alone.all), personal: self.alone.personal.max(alone.personal) };
        Self { responses: self.responses.clone(), alone }
    }

    fn has(&self, response: &StoredResponse) -> bool {
        self.responses.iter().any(|kept| kept.is(response))
    }

    fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.alone == Alone::default()
    }

    fn weight(&self) -> u64 {
        self.responses.iter().map(|response| response.weight()).sum()
    }
}
