//! Invalidations, counted by key: what was asked for before one is stored
//! after it in no tier. Of purges, which name more than a key, the epoch tells.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use http::HeaderName;

use super::purges::{Purges, Term};
use crate::policy::CacheKey;

/// How many counters stand for the invalidations of all keys. Two keys that
/// share one cost each other the storing of a fill, no more.
const COUNTERS: usize = 1 << 14;

/// The invalidations so far.
#[derive(Debug)]
pub(in crate::cache) struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
    /// The purges under way.
    pub(in crate::cache) purges: Purges,
}

/// The state of a key's invalidations at some moment, held by what began then:
/// what was asked for before an invalidation is not stored after it.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Generation {
    invalidations: u64,
    term: Arc<Term>,
}

impl Generation {
    /// What began then was asked for after the purges up to this one.
    pub(in crate::cache) fn epoch(&self) -> u64 {
        self.term.epoch()
    }
}

impl Generations {
    /// None yet. Purges read tags from `tags_field`.
    pub(in crate::cache) fn new(tags_field: HeaderName) -> Self {
        let counters = std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect();
        Self { counters, hasher: RandomState::default(), purges: Purges::new(tags_field) }
    }

    /// The state of the key's invalidations now.
    pub(in crate::cache) fn of(&self, key: &CacheKey) -> Generation {
        // The epoch first: a purge that comes in between covers what follows.
        let term = self.purges.term();
        Generation { invalidations: self.counter(key).load(Ordering::Acquire), term }
    }

    /// True if the key was not invalidated since.
    pub(in crate::cache) fn hold(&self, key: &CacheKey, since: &Generation) -> bool {
        self.counter(key).load(Ordering::Acquire) == since.invalidations
    }

    /// Counts an invalidation of `key`.
    pub(in crate::cache) fn advance(&self, key: &CacheKey) {
        self.counter(key).fetch_add(1, Ordering::AcqRel);
    }

    /// Counts an invalidation of `key` that is not one of what began in the
    /// generation `since`: that goes on in the one this returns. `None` if the
    /// key was invalidated before.
    pub(in crate::cache) fn follow(&self, key: &CacheKey, since: &Generation) -> Option<Generation> {
        let (before, after) = (since.invalidations, since.invalidations.wrapping_add(1));
        let advanced = self.counter(key).compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire);
        advanced.ok().map(|_| Generation { invalidations: after, term: Arc::clone(&since.term) })
    }

    /// Counts an invalidation of every key.
    pub(in crate::cache) fn advance_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn counter(&self, key: &CacheKey) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash do")]
        let index = self.hasher.hash_one(key) as usize % self.counters.len();
        &self.counters[index]
    }
}
