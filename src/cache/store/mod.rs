//! What is kept: whole responses, by key, in variants. It holds no rule of
//! HTTP; which response may be kept or used is asked of `policy`.

mod memory;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::policy::{self, StoredHead};

pub(super) use memory::{Generation, Memory};

/// Bytes that one stored response needs besides its fields and its body.
const RESPONSE_OVERHEAD: u64 = 128;

/// The most variants kept under one key; the oldest makes room.
const MOST_VARIANTS: usize = 32;

/// A whole response. Freshening makes a new head over the same body.
#[derive(Clone, Debug)]
pub(super) struct StoredResponse {
    /// Status and fields, parsed.
    pub(super) head: Arc<StoredHead>,
    /// The content, in a buffer of exactly its size.
    pub(super) body: Bytes,
}

impl StoredResponse {
    fn weight(&self) -> u64 {
        RESPONSE_OVERHEAD + (self.head.weight() + self.body.len()) as u64
    }
}

/// Everything that is known under one key. Never changed, only replaced.
#[derive(Debug, Default)]
pub(super) struct Variants {
    responses: Vec<Arc<StoredResponse>>,
    alone_until: Option<Instant>,
}

impl Variants {
    /// The stored responses, the newest last.
    pub(super) fn responses(&self) -> &[Arc<StoredResponse>] {
        &self.responses
    }

    /// True if requests may wait for one another: false for a while after a
    /// response that could not be shared.
    pub(super) fn collapses(&self, now: Instant) -> bool {
        self.alone_until.is_none_or(|until| until <= now)
    }

    /// The same with `new` in place of its own older version. What would weigh
    /// more than `most` in all is left out, the oldest first.
    fn with(&self, new: Arc<StoredResponse>, alone_until: Option<Instant>, most: u64) -> Self {
        let others = self.responses.iter().filter(|old| !policy::same_variant(&old.head, &new.head));
        let mut room = most.saturating_sub(new.weight());
        let mut responses: Vec<_> = others
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
        Self { responses, alone_until }
    }

    fn without(&self, gone: &Arc<StoredResponse>) -> Self {
        let responses = self.responses.iter().filter(|kept| !Arc::ptr_eq(kept, gone)).cloned().collect();
        Self { responses, alone_until: self.alone_until }
    }

    fn marked(&self, alone_until: Instant) -> Self {
        Self { responses: self.responses.clone(), alone_until: Some(alone_until) }
    }

    fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.alone_until.is_none()
    }

    fn weight(&self) -> u64 {
        self.responses.iter().map(|response| response.weight()).sum()
    }
}
