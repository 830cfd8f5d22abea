//! Invalidations, counted by key: what was asked for before one is stored
//! after it in no tier.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;

use crate::policy::CacheKey;

/// How many counters stand for the invalidations of all keys. Two keys that
/// share one cost each other the storing of a fill, no more.
const COUNTERS: usize = 1 << 14;

/// The invalidations so far.
#[derive(Debug)]
pub(in crate::cache) struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// The state of a key's invalidations at some moment: what was asked for
/// before an invalidation is not stored after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Generation(u64);

impl Generations {
    /// None yet.
    pub(in crate::cache) fn new() -> Self {
        let counters = std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect();
        Self { counters, hasher: RandomState::default() }
    }

    /// The state of the key's invalidations now.
    pub(in crate::cache) fn of(&self, key: &CacheKey) -> Generation {
        Generation(self.counter(key).load(Ordering::Acquire))
    }

    /// Counts an invalidation of `key`.
    pub(in crate::cache) fn advance(&self, key: &CacheKey) {
        self.counter(key).fetch_add(1, Ordering::AcqRel);
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
