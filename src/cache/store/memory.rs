//! The memory tier: moka bounds its bytes and decides what makes room, never
//! what is fresh. What makes room is what was asked for less often of late
//! (TinyLFU): a request counts once, whether it finds something or has it kept. Where it
//! finds on its core what that found before, it counts a little later, and where that is
//! asked for all the time, one in four does ([`super::recent`]).

mod room;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use futures_util::FutureExt;
use moka::Entry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::ops::compute::{CompResult, Op};

use super::generations::{Generation, Generations};
use super::purges::Tier;
use super::recent::{Recent, Wanted};
use super::{Alone, Made, Sliced, StoredBody, StoredResponse, Variants};
use crate::fields::coding::Coding;
use crate::policy::{self, CacheKey, StoredHead};
use crate::telemetry::Metrics;
use room::{count, weight};

/// Keys that a sweep passes before other tasks have their turn.
const SWEPT_AT_ONCE: usize = 64;

/// Stored responses by key, up to a number of bytes.
#[derive(Debug)]
pub(in crate::cache) struct Memory {
    entries: Cache<CacheKey, Variants, RandomState>,
    recent: Recent,
    generations: Arc<Generations>,
    most_per_key: u64,
    capacity: u64,
    /// The part of the capacity it may use now.
    allowance: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Memory {
    /// An empty tier of `capacity` bytes.
    pub(in crate::cache) fn new(
        capacity: u64,
        generations: &Arc<Generations>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let counted = Arc::clone(&metrics);
        let entries = Cache::builder()
            .max_capacity(capacity)
            .weigher(|key: &CacheKey, variants: &Variants| {
                u32::try_from(weight(key, variants)).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |key, variants: Variants, cause| {
                count(&counted, &key, &variants, -1);
                if cause == RemovalCause::Size {
                    counted.evictions.add(variants.responses().len() as u64);
                }
            })
            .build_with_hasher(RandomState::default());
        let generations = Arc::clone(generations);
        let allowance = AtomicU64::new(capacity);
        let recent = Recent::new(capacity);
        Self { entries, recent, generations, most_per_key: capacity / 2, capacity, allowance, metrics }
    }

    /// What is kept under `key`, without waiting.
    ///
    /// On the rare occasion that moka would have to wait for another thread
    /// (its maintenance is due and evicts a key that is just being replaced)
    /// this says `None`; [`Memory::look_again`] tells for sure.
    pub(in crate::cache) fn look(&self, key: &[u8]) -> Option<Variants> {
        let purges = &self.generations.purges;
        loop {
            let departures = purges.departures();
            // After that: a purge that has left has counted what it changed.
            let wanted = self.recent.want(key);
            let kept = match wanted.found() {
                Some(only) => Variants::one(only),
                None => self.ask(key, &wanted)?,
            };
            let counted = purges.variants(key, kept);
            if purges.departures() == departures {
                return Some(counted);
            }
        }
    }

    /// What moka has under `key`, without waiting.
    fn ask(&self, key: &[u8], wanted: &Wanted<'_>) -> Option<Variants> {
        // moka counts that something is looked for in vain, too. What is asked for
        // once would have three uses by the time it is kept: one of each lookup and
        // one of that, and push out what is asked for again and again.
        if !self.entries.contains_key(key) {
            return None;
        }
        let kept = self.entries.get(key).now_or_never().flatten()?;
        let untold = kept.only().map_or(0, |only| wanted.remember(only));
        for _ in 0..untold {
            let _ = self.entries.get(key).now_or_never();
        }
        Some(kept)
    }

    /// What is kept under `key`. Cancel safe.
    pub(in crate::cache) async fn look_again(&self, key: &CacheKey) -> Option<Variants> {
        if !self.entries.contains_key(key) {
            return None;
        }
        let purges = &self.generations.purges;
        loop {
            let departures = purges.departures();
            let kept = self.entries.get(key).await?;
            let counted = purges.variants(key.as_bytes(), kept);
            if purges.departures() == departures {
                return Some(counted);
            }
        }
    }

    /// Keeps `response` beside the other variants of `key`, unless the key was
    /// invalidated after `since` or there is a newer one; says whether it did.
    pub(in crate::cache) async fn keep(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        since: &Generation,
        alone: Alone,
    ) -> bool {
        self.put(key, response, since, |kept, new| kept.with(new, alone, self.most_per_key)).await
    }

    /// Puts `fresh` in the place of `stale`, unless that is gone or the key was
    /// invalidated after `since`; says whether it did.
    pub(in crate::cache) async fn freshen(
        &self,
        key: &CacheKey,
        stale: &Arc<StoredResponse>,
        fresh: &Arc<StoredResponse>,
        since: &Generation,
        alone: Alone,
    ) -> bool {
        self.put(key, fresh, since, |kept, new| {
            if kept.has(stale) { kept.without(stale).with(new, alone, self.most_per_key) } else { None }
        })
        .await
    }

    /// Keeps a response that was read from the disk, as [`Memory::keep`] does.
    pub(in crate::cache) async fn promote(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        since: &Generation,
    ) -> bool {
        self.put(key, response, since, |kept, new| kept.with(new, kept.alone(), self.most_per_key)).await
    }

    /// Keeps a part, as [`Memory::keep`] does, unless there is more of the same.
    pub(in crate::cache) async fn keep_part(
        &self,
        key: &CacheKey,
        part: &Arc<StoredResponse>,
        since: &Generation,
    ) -> bool {
        self.put(key, part, since, |kept, new| {
            let is_more = |other: &Arc<StoredResponse>| policy::is_more_of(&other.head, &new.head);
            if kept.responses().iter().any(is_more) {
                None
            } else {
                kept.with(new, kept.alone(), self.most_per_key)
            }
        })
        .await
    }

    async fn put(
        &self,
        key: &CacheKey,
        new: &Arc<StoredResponse>,
        since: &Generation,
        change: impl FnOnce(&Variants, Arc<StoredResponse>) -> Option<Variants> + Send,
    ) -> bool {
        let purges = &self.generations.purges;
        let is_valid = || self.generations.hold(key, since);
        let Some(new) = purges.response(key.as_bytes(), new) else { return false };
        let is_put =
            self.replace(key, |kept| if is_valid() { change(kept, Arc::clone(&new)) } else { None }).await;
        // A purge that came in between did not see it.
        if is_put && !is_valid() {
            self.forget(key, &new).await;
            return false;
        }
        if is_put && purges.may_cover(new.epoch) {
            self.sweep_key(key).await;
        }
        is_put
    }

    /// Keeps what was made of the content of `of` beside that content, if it is
    /// still kept under `key`.
    pub(in crate::cache) async fn add_encoded(
        &self,
        key: &CacheKey,
        of: &StoredResponse,
        coding: Coding,
        made: &Made,
    ) {
        self.replace(key, |kept| kept.with_encoded(of, coding, made)).await;
    }

    /// Does under `key` what the purges under way are to do.
    pub(in crate::cache) async fn sweep_key(&self, key: &CacheKey) {
        let mut by_whom = Vec::new();
        self.replace(key, |kept| {
            let (swept, by) = self.generations.purges.sweep(key.as_bytes(), kept)?;
            by_whom = by;
            Some(swept)
        })
        .await;
        self.metrics.purged.add(by_whom.len() as u64);
        self.generations.purges.count(&by_whom, Tier::Memory);
    }

    /// Goes through everything for the purges under way, in steps that hold up
    /// no other task of this core for long.
    pub(in crate::cache) async fn sweep(&self) {
        for (at, (key, kept)) in self.entries.iter().enumerate() {
            if self.generations.purges.sweep(key.as_bytes(), &kept).is_some() {
                self.sweep_key(&key).await;
            }
            if at % SWEPT_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        // What made room lately was not come by, and may be remembered while it is being sent.
        self.recent.change_all();
    }

    /// What is kept under keys with these beginnings, `most` of them, and whether
    /// those are all.
    pub(in crate::cache) async fn list(
        &self,
        prefixes: &[Box<[u8]>],
        most: usize,
    ) -> (Vec<(CacheKey, Variants)>, bool) {
        let mut found = Vec::new();
        for (at, (key, kept)) in self.entries.iter().enumerate() {
            if prefixes.iter().any(|prefix| key.as_bytes().starts_with(prefix)) {
                if found.len() == most {
                    return (found, false);
                }
                let kept = self.generations.purges.variants(key.as_bytes(), kept);
                found.push((CacheKey::clone(&key), kept));
            }
            if at % SWEPT_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        (found, true)
    }

    /// Has requests for `key` not wait for one another.
    pub(in crate::cache) async fn mark(&self, key: &CacheKey, alone: Alone) {
        self.replace(key, |kept| Some(kept.marked(alone))).await;
    }

    /// Takes note of a response that was just kept on the disk alone: older ones
    /// that the same requests might select go, and what is said of `alone`
    /// counts as after [`Memory::keep`].
    pub(in crate::cache) async fn make_way(
        &self,
        key: &CacheKey,
        newer: &StoredHead,
        now: SystemTime,
        alone: Alone,
    ) {
        self.replace(key, |kept| {
            let may_stay = |old: &&Arc<StoredResponse>| {
                policy::exclude_each_other(&old.head, newer) || policy::is_more_recent(&old.head, newer, now)
            };
            Some(Variants::new(kept.responses().iter().filter(may_stay).cloned(), alone))
        })
        .await;
    }

    /// Forgets one variant.
    pub(in crate::cache) async fn forget(&self, key: &CacheKey, gone: &Arc<StoredResponse>) {
        self.replace(key, |kept| Some(kept.without(gone))).await;
    }

    /// Forgets the one response that is kept in these slices.
    pub(in crate::cache) async fn forget_sliced(&self, key: &CacheKey, sliced: Sliced) {
        let is_other =
            |kept: &&Arc<StoredResponse>| !matches!(&kept.body, StoredBody::Sliced(own) if **own == sliced);
        self.replace(key, |kept| {
            Some(Variants::new(kept.responses().iter().filter(is_other).cloned(), kept.alone()))
        })
        .await;
    }

    /// Forgets all variants of `key`, whose generation has to be advanced before;
    /// says how many there were.
    pub(in crate::cache) async fn remove(&self, key: &CacheKey) -> u64 {
        let mut gone = 0;
        self.replace(key, |kept| {
            gone = kept.responses().len() as u64;
            Some(Variants::default())
        })
        .await;
        gone
    }

    /// Forgets everything, and what is being fetched now is not stored; says
    /// how many responses there were.
    pub(in crate::cache) fn clear(&self) -> u64 {
        self.generations.advance_all();
        let objects = self.entries.iter().map(|(_, kept)| kept.responses().len() as u64).sum();
        self.entries.invalidate_all();
        self.recent.change_all();
        objects
    }

    /// What is being fetched for `key` now is not stored.
    pub(in crate::cache) fn outdate(&self, key: &CacheKey) {
        self.generations.advance(key);
    }

    /// The state of the key's invalidations now.
    pub(in crate::cache) fn generation(&self, key: &CacheKey) -> Generation {
        self.generations.of(key)
    }

    /// What was found of late.
    #[cfg(test)]
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Puts what `change` makes of the variants of `key` in their place, alone
    /// with this key; says whether it made anything of them. An empty list is
    /// removed.
    async fn replace(
        &self,
        key: &CacheKey,
        change: impl FnOnce(&Variants) -> Option<Variants> + Send,
    ) -> bool {
        let under_way = self.recent.change(key.as_bytes());
        let result = self
            .entries
            .entry_by_ref(key)
            .and_compute_with(|entry| {
                let kept = entry.map(Entry::into_value).unwrap_or_default();
                std::future::ready(match change(&kept) {
                    None => Op::Nop,
                    Some(new) if new.is_empty() && kept.is_empty() => Op::Nop,
                    Some(new) if new.is_empty() => Op::Remove,
                    Some(new) => {
                        // Counted before moka can evict it again.
                        count(&self.metrics, key, &new, 1);
                        Op::Put(new)
                    }
                })
            })
            .await;
        drop(under_way);
        self.make_room().await;
        matches!(result, CompResult::Inserted(_) | CompResult::ReplacedWith(_) | CompResult::Removed(_))
    }
}
