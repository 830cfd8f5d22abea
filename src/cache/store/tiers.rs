//! The two tiers as one store. Memory answers without waiting; the disk is
//! asked when memory has nothing, and told of everything that is stored or
//! removed, before the removal counts as done.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, DiskUsage, Found, Ground, Storing};
use super::generations::Generations;
use super::{Alone, FileBody, Generation, Memory, SLICE, Sliced, StoredBody, StoredResponse};
use crate::base::{Clock, Tasks};
use crate::config::model::CacheConfig;
use crate::policy::{self, CacheKey, RequestHead, StoredHead};
use crate::telemetry::Metrics;

/// What waits to be written to the disk may hold this part of the memory tier's
/// size besides it.
const QUEUE_PART: u64 = 4;

/// So many slices can wait at least.
const SLICES_QUEUED: u64 = 4;

/// Stored responses, in memory and on the disk.
#[derive(Debug)]
pub(in crate::cache) struct Tiers {
    /// The memory tier.
    pub(in crate::cache) memory: Memory,
    disk: Option<Arc<Disk>>,
    clock: Arc<dyn Clock>,
}

/// A response that was found on the disk.
#[derive(Debug)]
pub(in crate::cache) struct OnDisk {
    /// The response.
    pub(in crate::cache) stored: Arc<StoredResponse>,
    /// True if it was used from the disk before.
    again: bool,
    since: Generation,
}

impl Tiers {
    /// What was left on the disk, and nothing in memory.
    pub(in crate::cache) fn open(
        config: &CacheConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let generations = Arc::new(Generations::new());
        let memory = Memory::new(config.memory, &generations, Arc::clone(metrics));
        let queue = (config.memory / QUEUE_PART).max(SLICES_QUEUED * SLICE);
        let ground = Ground { generations: &generations, queue, clock: &clock, tasks, metrics };
        let disk = config.disk.as_ref().and_then(|disk| Disk::open(disk, &ground));
        Self { memory, disk, clock }
    }

    /// True if there is a disk tier.
    pub(in crate::cache) fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// How full the disk tier is, if there is one.
    pub(in crate::cache) fn disk_usage(&self) -> Option<DiskUsage> {
        self.disk.as_ref().map(|disk| disk.usage())
    }

    /// What the disk has for `req`; waits a second at most. Cancel safe.
    pub(in crate::cache) async fn look_on_disk(
        &self,
        req: &RequestHead<'_>,
        key: &CacheKey,
    ) -> Option<OnDisk> {
        let disk = self.disk.as_ref()?;
        let since = self.memory.generation(key);
        let found = disk.find(key).await;
        let chosen = policy::select(req, &found, |found: &Found| &*found.head)?;
        let (body, again) = disk.load(chosen).await?;
        let head = Arc::clone(&chosen.head);
        // In the order of what was received by this process.
        let age = self.clock.wall().duration_since(head.received()).unwrap_or_default();
        let now = self.clock.now();
        let received = now.checked_sub(age).unwrap_or(now);
        let stored = Arc::new(StoredResponse { head, body, received, record: Some(chosen.id()) });
        Some(OnDisk { stored, again, since })
    }

    /// Keeps in memory what was used from the disk before, if it is there now,
    /// and the head of what is in slices.
    pub(in crate::cache) async fn promote(&self, key: &CacheKey, found: &OnDisk) {
        let is_wanted = match found.stored.body {
            StoredBody::Memory(_) => found.again,
            StoredBody::File(_) => false,
            // Only its head takes memory.
            StoredBody::Sliced(_) => true,
        };
        if is_wanted {
            self.memory.promote(key, &found.stored, found.since).await;
        }
    }

    /// Keeps `response` beside the other variants of `key`, as
    /// [`Memory::keep`] does; the disk follows.
    pub(in crate::cache) async fn keep(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        since: Generation,
        alone: Alone,
    ) -> bool {
        let kept = self.memory.keep(key, response, since, alone).await;
        if kept {
            self.write(key, response, since, None);
        }
        kept
    }

    /// Puts `fresh` in the place of `stale`, as [`Memory::freshen`] does, or
    /// where that was read from the disk in its place there.
    pub(in crate::cache) async fn freshen(
        &self,
        key: &CacheKey,
        stale: &Arc<StoredResponse>,
        fresh: &Arc<StoredResponse>,
        since: Generation,
        alone: Alone,
    ) -> bool {
        if self.memory.freshen(key, stale, fresh, since, alone).await {
            self.write(key, fresh, since, None);
            return true;
        }
        if stale.record.is_some() && self.memory.generation(key) == since {
            self.write(key, fresh, since, stale.record);
            return true;
        }
        false
    }

    /// Has requests for `key` not wait for one another.
    pub(in crate::cache) async fn mark(&self, key: &CacheKey, alone: Alone) {
        self.memory.mark(key, alone).await;
    }

    /// Forgets one variant, and with a disk what is being fetched for its key
    /// now is not stored: it might wait to be written.
    pub(in crate::cache) async fn forget(&self, key: &CacheKey, gone: &Arc<StoredResponse>) {
        self.memory.forget(key, gone).await;
        if let Some(disk) = &self.disk {
            self.memory.outdate(key);
            disk.forget(key, &gone.head).await;
        }
    }

    /// Forgets the one response of `key` that is kept in these slices, whatever
    /// became of its head: no slice of it is found any more.
    pub(in crate::cache) async fn forget_sliced(&self, key: &CacheKey, head: &StoredHead, sliced: Sliced) {
        self.memory.forget_sliced(key, sliced).await;
        if let Some(disk) = &self.disk {
            self.memory.outdate(key);
            disk.forget(key, head).await;
        }
    }

    /// True if slices can be kept now.
    pub(in crate::cache) fn takes_slices(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.takes_slices())
    }

    /// True if a slice is known to be there.
    pub(in crate::cache) fn knows_slice(&self, key: &CacheKey) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.knows_slice(key))
    }

    /// The slice that is kept under `key`, if it has this length. Cancel safe.
    pub(in crate::cache) async fn slice(&self, key: &CacheKey, length: u64) -> Option<FileBody> {
        self.disk.as_ref()?.slice(key, length).await
    }

    /// Keeps a slice, unless its key was invalidated after `since`; says
    /// whether it is found from now on.
    pub(in crate::cache) async fn keep_slice(&self, key: &CacheKey, bytes: Bytes, since: Generation) -> bool {
        match &self.disk {
            Some(disk) => disk.keep_slice(key, bytes, since).await,
            None => false,
        }
    }

    /// Forgets all variants of `key`, and what is being fetched for it now is
    /// not stored; says whether there was one.
    pub(in crate::cache) async fn invalidate(&self, key: &CacheKey) -> bool {
        let in_memory = self.memory.invalidate(key).await;
        match &self.disk {
            Some(disk) => disk.remove(key).await || in_memory,
            None => in_memory,
        }
    }

    /// Forgets everything, for good, and what is being fetched now is not
    /// stored; says how many responses there were in the fuller tier.
    pub(in crate::cache) fn clear(&self) -> u64 {
        let in_memory = self.memory.clear();
        self.disk.as_ref().map_or(0, Disk::clear).max(in_memory)
    }

    /// The state of the key's invalidations now.
    pub(in crate::cache) fn generation(&self, key: &CacheKey) -> Generation {
        self.memory.generation(key)
    }

    fn write(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        since: Generation,
        instead: Option<super::RecordId>,
    ) {
        if let Some(disk) = &self.disk {
            let (head, body): (Arc<StoredHead>, _) = (Arc::clone(&response.head), response.body.clone());
            disk.store(Storing { key: key.clone(), head, body, since, instead });
        }
    }
}
