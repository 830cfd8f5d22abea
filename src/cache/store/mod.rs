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
mod recent;
mod sliced;
mod tiers;
mod variants;

#[cfg(test)]
mod interleavings;
// Beside the files, not in them: those are compiled more than once.
#[cfg(test)]
#[path = "purges/tests.rs"]
mod purges_tests;
#[cfg(test)]
#[path = "recent/tests.rs"]
mod recent_tests;

use std::sync::Arc;

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
pub(super) use variants::{Alone, Variants};

/// Bytes that one stored response needs besides its head and its body:
/// counters, pointers and what the allocator adds (measured).
const RESPONSE_OVERHEAD: u64 = 160;

/// A whole response. Freshening makes a new head over the same body.
///
/// In the order in which a hit reads it, for it is seldom in the cache of the processor:
/// with the two counts of an `Arc` each cache line is filled.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct StoredResponse {
    /// It was asked for after the purges up to this one, and before the next.
    epoch: u64,
    /// The content.
    pub(super) body: StoredBody,
    /// Status and fields, parsed.
    pub(super) head: StoredHead,
    /// The content in the codings that were made of it; few responses have any.
    encoded: Option<Arc<Encoded>>,
    /// When the head came, by the monotonic clock.
    pub(super) received: Instant,
    /// The record it was read from, if it was; apart, for most were not.
    record: Option<Box<RecordId>>,
}

impl StoredResponse {
    /// What was received at this time, and asked for in the generation `since`.
    pub(super) fn new(head: StoredHead, body: StoredBody, received: Instant, since: &Generation) -> Self {
        Self { head, body, received, encoded: None, epoch: since.epoch(), record: None }
    }

    /// This part and another one together, as one response with this head.
    pub(super) fn combined_with(&self, other: &Self, head: StoredHead, body: StoredBody) -> Self {
        // What was purged of either does not come back with the other.
        let epoch = self.epoch.min(other.epoch);
        let received = self.received.max(other.received);
        Self { head, body, received, encoded: None, epoch, record: None }
    }

    /// The same content under a new head, which was received at this time.
    pub(super) fn freshened(&self, head: StoredHead, received: Instant, since: &Generation) -> Self {
        Self { encoded: self.encoded.clone(), ..Self::new(head, self.body.clone(), received, since) }
    }

    /// The same, which counts as this head says.
    fn under(&self, head: StoredHead) -> Self {
        Self { head, ..self.clone() }
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
