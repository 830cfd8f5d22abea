//! How much the memory tier holds and may hold, and how room is made where moka does not
//! make it, or not in time.

use std::sync::atomic::Ordering::Relaxed;

use super::{Memory, SWEPT_AT_ONCE};
use crate::cache::store::Variants;
use crate::policy::CacheKey;
use crate::telemetry::Metrics;

/// Bytes that a key needs besides itself and what is kept under it: moka's entry, with
/// the one variant in it (measured: 329).
const KEY_OVERHEAD: u64 = 336;

/// By this part of what it may hold it may be exceeded before room is made here.
/// moka works off what is put in with some delay; and where a key's weight
/// changes while another thread touches it, moka's own sum loses the difference
/// for good, always to the smaller side.
const TOLERATED: u64 = 8;

impl Memory {
    /// How many bytes it may hold.
    pub(in crate::cache) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many bytes it holds.
    pub(in crate::cache) fn bytes(&self) -> u64 {
        u64::try_from(self.metrics.cache_bytes.value()).unwrap_or(0)
    }

    /// How many responses it holds.
    pub(in crate::cache) fn objects(&self) -> u64 {
        u64::try_from(self.metrics.cache_objects.value()).unwrap_or(0)
    }

    /// How many bytes it may hold from now on, as long as that is less than its
    /// capacity; what is too much leaves by [`Memory::give_way`].
    pub(in crate::cache) fn allow(&self, bytes: u64) {
        self.allowance.store(bytes.min(self.capacity), Relaxed);
    }

    /// Gives up what it may not hold. Cancel safe.
    pub(in crate::cache) async fn give_way(&self) {
        if self.bytes() > self.allowance() {
            self.shrink().await;
        }
    }

    /// How many bytes it may hold now.
    fn allowance(&self) -> u64 {
        self.allowance.load(Relaxed)
    }

    /// Has moka do what it would do later.
    pub(in crate::cache) async fn settle(&self) {
        self.entries.run_pending_tasks().await;
    }

    /// How many bytes there are, added up anew.
    #[cfg(test)]
    pub(in crate::cache) fn added_up(&self) -> u64 {
        self.entries.iter().map(|(key, variants)| weight(&key, &variants)).sum()
    }

    /// Makes room where moka is late with that.
    pub(super) async fn make_room(&self) {
        let allowance = self.allowance();
        if self.bytes() > allowance + allowance / TOLERATED {
            self.shrink().await;
        }
    }

    /// Makes room where moka sees no need to, without regard to what is asked for.
    async fn shrink(&self) {
        self.entries.run_pending_tasks().await;
        for (at, (key, kept)) in self.entries.iter().enumerate() {
            if self.bytes() <= self.allowance() {
                break;
            }
            self.metrics.evictions.add(kept.responses().len() as u64);
            self.entries.invalidate(&*key).await;
            if at % SWEPT_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Bytes that a key takes with what is kept under it.
pub(super) fn weight(key: &CacheKey, variants: &Variants) -> u64 {
    let key_bytes: &[u8] = std::borrow::Borrow::borrow(key);
    KEY_OVERHEAD + key_bytes.len() as u64 + variants.weight()
}

/// Counts what came (`sign` 1) or went (-1).
pub(super) fn count(metrics: &Metrics, key: &CacheKey, variants: &Variants, sign: i64) {
    let bytes = i64::try_from(weight(key, variants)).unwrap_or(i64::MAX);
    metrics.cache_bytes.add(sign * bytes);
    metrics.cache_objects.add(sign * i64::try_from(variants.responses().len()).unwrap_or(i64::MAX));
}
