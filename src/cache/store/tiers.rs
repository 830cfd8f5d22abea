//! The two tiers as one store. Memory answers without waiting; the disk is
//! asked when memory has nothing, and told of everything that is stored or
//! removed, before the removal counts as done.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{DiskUsage, Found, Storing};
use super::disk_tier::DiskTier;
use super::generations::Generations;
use super::{
    Alone, Entered, FileBody, Generation, Listed, Memory, Order, Purges, Sliced, StoredBody, StoredResponse,
    Tier,
};
use crate::base::{Clock, Tasks};
use crate::config::model::CacheConfig;
use crate::policy::{self, CacheKey, RequestHead, StoredHead};
use crate::telemetry::Metrics;

/// Stored responses, in memory and on the disk.
#[derive(Debug)]
pub(in crate::cache) struct Tiers {
    /// The memory tier.
    pub(in crate::cache) memory: Memory,
    generations: Arc<Generations>,
    disk: Arc<DiskTier>,
    /// Held while the memory tier is gone through.
    sweeping: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
}

/// What the disk has for a request.
#[derive(Debug)]
pub(in crate::cache) enum OnDisk {
    /// A response that may answer it.
    Found(Read),
    /// Only responses to other requests for the same target.
    Others,
    /// Nothing.
    Nothing,
}

/// A response that was read from the disk.
#[derive(Debug)]
pub(in crate::cache) struct Read {
    /// The response.
    pub(in crate::cache) stored: Arc<StoredResponse>,
    /// True if it was used from the disk before.
    again: bool,
    /// True if the disk has nothing more recent for any request that selects it.
    is_newest: bool,
    since: Generation,
}

/// What was removed from the tiers.
#[derive(Debug)]
pub(in crate::cache) struct Removed {
    /// Stored responses that memory had.
    pub(in crate::cache) memory: u64,
    /// Those that the disk had; an error if some may be found there once more
    /// by a process that is started later.
    pub(in crate::cache) disk: io::Result<u64>,
}

impl Removed {
    /// True if there was one, or may have been.
    pub(in crate::cache) fn any(&self) -> bool {
        self.memory > 0 || self.disk.as_ref().is_ok_and(|records| *records > 0)
    }
}

impl Tiers {
    /// What was left on the disk, and nothing in memory.
    pub(in crate::cache) fn open(
        config: &CacheConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let generations = Arc::new(Generations::new(config.tags_field.clone()));
        let memory = Memory::new(config.memory, &generations, Arc::clone(metrics));
        let disk = DiskTier::open(config, &generations, &clock, tasks, metrics);
        Self { memory, generations, disk, sweeping: tokio::sync::Mutex::default(), clock }
    }

    /// Takes the disk tier, if there is one and no other process has it. Blocks on the
    /// disk.
    pub(in crate::cache) fn take_disk(&self) {
        self.disk.take();
    }

    /// Leaves the disk tier to another process, and goes on without. False, and it stays,
    /// if it does not do in time what it has to.
    pub(in crate::cache) async fn leave_disk(&self) -> bool {
        self.disk.leave().await
    }

    /// True if there is a disk tier.
    pub(in crate::cache) fn has_disk(&self) -> bool {
        self.disk.get().is_some()
    }

    /// Writes down what the disk has, for a process that is started later. Waits
    /// a few seconds at most.
    pub(in crate::cache) async fn close(&self) {
        if let Some(disk) = self.disk.get() {
            disk.close().await;
        }
    }

    /// True once all that was on the disk at the start is known.
    #[cfg(test)]
    pub(in crate::cache) fn is_disk_read(&self) -> bool {
        self.disk.get().is_none_or(|disk| disk.is_read())
    }

    /// Has the disk do nothing that has to be waited for, as long as it is held.
    #[cfg(test)]
    pub(in crate::cache) async fn hang_disk(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Some(self.disk.get()?.hang().await)
    }

    /// How full the disk tier is, if there is one.
    pub(in crate::cache) fn disk_usage(&self) -> Option<DiskUsage> {
        self.disk.get().map(|disk| disk.usage())
    }

    /// What the disk has for `req`; waits a second at most. Cancel safe.
    pub(in crate::cache) async fn look_on_disk(&self, req: &RequestHead<'_>, key: &CacheKey) -> OnDisk {
        let Some(disk) = self.disk.get() else { return OnDisk::Nothing };
        let since = self.memory.generation(key);
        let mut found = disk.find(key).await;
        found.retain_mut(|found| {
            let head = self.generations.purges.head(key.as_bytes(), &found.head, found.epoch);
            head.map(|head| found.head = head).is_some()
        });
        let wall = self.clock.wall();
        let Some(chosen) = policy::select(req, &found, wall, |found: &Found| &*found.head) else {
            return if found.is_empty() { OnDisk::Nothing } else { OnDisk::Others };
        };
        let Some((body, again)) = disk.load(chosen).await else { return OnDisk::Nothing };
        let head = StoredHead::clone(&chosen.head);
        let is_newest = !found.iter().any(|other| {
            policy::is_more_recent(&other.head, &head, wall)
                && !policy::exclude_each_other(&other.head, &head)
        });
        // In the order of what was received by this process.
        let age = wall.duration_since(head.received()).unwrap_or_default();
        let now = self.clock.now();
        let received = now.checked_sub(age).unwrap_or(now);
        let stored = Arc::new(StoredResponse {
            head,
            body,
            received,
            encoded: None,
            epoch: chosen.epoch,
            record: Some(Box::new(chosen.id())),
        });
        OnDisk::Found(Read { stored, again, is_newest, since })
    }

    /// Heads that the disk keeps under `key`, as they count now.
    pub(in crate::cache) async fn list_key(&self, key: &CacheKey) -> Vec<Listed> {
        let Some(disk) = self.disk.get() else { return Vec::new() };
        disk.list_key(key).await.into_iter().filter_map(|listed| self.as_listed(listed)).collect()
    }

    /// Heads that the disk keeps under keys with these beginnings, and whether
    /// those are all.
    pub(in crate::cache) async fn list(&self, prefixes: Vec<Box<[u8]>>, most: usize) -> (Vec<Listed>, bool) {
        let Some(disk) = self.disk.get() else { return (Vec::new(), true) };
        let (listed, are_all) = disk.list(prefixes, most).await;
        (listed.into_iter().filter_map(|listed| self.as_listed(listed)).collect(), are_all)
    }

    fn as_listed(&self, listed: Listed) -> Option<Listed> {
        let head = self.generations.purges.head(listed.key.as_bytes(), &listed.head, listed.epoch)?;
        Some(Listed { head, ..listed })
    }

    /// Keeps in memory what was used from the disk before, if it is there now,
    /// and the head of what is in slices.
    pub(in crate::cache) async fn promote(&self, key: &CacheKey, found: &Read) {
        // Else memory would answer with it, for the more recent one is not there.
        if !found.is_newest {
            return;
        }
        let is_wanted = match found.stored.body {
            StoredBody::Memory(_) => found.again,
            StoredBody::File(_) => false,
            // Only its head takes memory.
            StoredBody::Sliced(_) => true,
        };
        if is_wanted {
            self.memory.promote(key, &found.stored, &found.since).await;
        }
    }

    /// Keeps `response` beside the other variants of `key`, as
    /// [`Memory::keep`] does; the disk follows.
    pub(in crate::cache) async fn keep(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        since: &Generation,
        alone: Alone,
    ) -> bool {
        let kept = match response.head.part() {
            // Of the whole it says nothing.
            Some(_) => self.memory.keep_part(key, response, since).await,
            None => self.memory.keep(key, response, since, alone).await,
        };
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
        since: &Generation,
        alone: Alone,
    ) -> bool {
        // What was purged does not come back because an origin server confirms it.
        if self.as_it_counts(key, stale).is_none() {
            return false;
        }
        if self.memory.freshen(key, stale, fresh, since, alone).await {
            if let Some(since) = self.replace_record(key, stale, fresh, since).await {
                self.write(key, fresh, &since, None);
            }
            return true;
        }
        if stale.record.is_some() && self.generations.hold(key, since) {
            self.memory.make_way(key, &fresh.head, self.clock.wall(), alone).await;
            self.write(key, fresh, since, stale.record.as_deref().copied());
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
        if let Some(disk) = self.disk.get() {
            self.memory.outdate(key);
            disk.forget(key, &gone.head).await;
        }
    }

    /// Forgets the one response of `key` that is kept in these slices, whatever
    /// became of its head: no slice of it is found any more.
    pub(in crate::cache) async fn forget_sliced(&self, key: &CacheKey, head: &StoredHead, sliced: Sliced) {
        self.memory.forget_sliced(key, sliced).await;
        if let Some(disk) = self.disk.get() {
            self.memory.outdate(key);
            disk.forget(key, head).await;
        }
    }

    /// True if slices can be kept now.
    pub(in crate::cache) fn takes_slices(&self) -> bool {
        self.disk.get().is_some_and(|disk| disk.takes_slices())
    }

    /// True if a slice is known to be there.
    pub(in crate::cache) fn knows_slice(&self, key: &CacheKey) -> bool {
        self.disk.get().is_some_and(|disk| disk.knows_slice(key))
    }

    /// The slice that is kept under `key`, if it has this length. Cancel safe.
    pub(in crate::cache) async fn slice(&self, key: &CacheKey, length: u64) -> Option<FileBody> {
        self.disk.get()?.slice(key, length).await
    }

    /// Keeps a slice, unless its key was invalidated after `since`; says
    /// whether it is found from now on.
    pub(in crate::cache) async fn keep_slice(
        &self,
        key: &CacheKey,
        bytes: Bytes,
        since: &Generation,
    ) -> bool {
        match self.disk.get() {
            Some(disk) => disk.keep_slice(key, bytes, since).await,
            None => false,
        }
    }

    /// Forgets all variants of `key`, and what is being fetched for it now is
    /// not stored; says how many there were in each tier.
    pub(in crate::cache) async fn invalidate(&self, key: &CacheKey) -> Removed {
        self.remove(key, || self.generations.advance(key)).await
    }

    /// The same on behalf of what began in the generation `since` and is to be
    /// stored thereafter: it goes on in the one that is returned, unless `key`
    /// was invalidated by something else.
    pub(in crate::cache) async fn invalidate_for(
        &self,
        key: &CacheKey,
        since: &Generation,
    ) -> (Removed, Generation) {
        let mut next = since.clone();
        let follow = || match self.generations.follow(key, &next) {
            Some(followed) => next = followed,
            None => self.generations.advance(key),
        };
        let removed = self.remove(key, follow).await;
        (removed, next)
    }

    async fn remove(&self, key: &CacheKey, mut advance: impl FnMut() + Send) -> Removed {
        advance();
        let memory = self.memory.remove(key).await;
        let Some(disk) = self.disk.get() else { return Removed { memory, disk: Ok(0) } };
        let disk = disk.remove(key).await;
        // What was read from it meanwhile may be in memory again, and valid.
        advance();
        Removed { memory: memory + self.memory.remove(key).await, disk }
    }

    /// Forgets everything, for good, and what is being fetched now is not
    /// stored; says how many responses there were in each tier. Waits for the
    /// disk.
    pub(in crate::cache) fn clear(&self) -> Removed {
        let memory = self.memory.clear();
        Removed { memory, disk: self.disk.get().map_or(Ok(0), |disk| disk.clear()) }
    }

    /// The state of the key's invalidations now.
    pub(in crate::cache) fn generation(&self, key: &CacheKey) -> Generation {
        self.memory.generation(key)
    }

    /// True if neither an invalidation of the key nor a purge came since.
    pub(in crate::cache) fn holds(&self, key: &CacheKey, since: &Generation) -> bool {
        self.generations.hold(key, since) && !self.purges().may_cover(since.epoch())
    }

    /// The purges under way.
    pub(in crate::cache) fn purges(&self) -> &Purges {
        &self.generations.purges
    }

    /// Enters a purge: from now on it holds. `None` where too much is under way.
    pub(in crate::cache) fn enter(&self, order: Order) -> Option<Entered> {
        let empty: &[Tier] = if self.has_disk() { &[] } else { &[Tier::Disk] };
        self.purges().enter(order, empty)
    }

    /// Goes through the memory tier for the purge of `epoch`, and for all others
    /// that wait for it.
    pub(in crate::cache) async fn sweep_memory(&self, epoch: u64) {
        let _alone = self.sweeping.lock().await;
        let unswept = self.purges().unswept(Tier::Memory);
        if unswept.iter().any(|(other, _)| *other == epoch) {
            self.memory.sweep().await;
            unswept.iter().for_each(|(epoch, _)| self.purges().swept(*epoch, Tier::Memory));
        }
    }

    /// Goes through what both tiers keep under these keys for the purge of
    /// `epoch`, which names no others.
    pub(in crate::cache) async fn sweep_keys(&self, epoch: u64, keys: &[CacheKey]) -> io::Result<()> {
        let mut swept = Ok(());
        for key in keys {
            self.memory.sweep_key(key).await;
            if let Some(disk) = self.disk.get() {
                swept = swept.and(disk.sweep_key(key).await);
            }
        }
        self.purges().swept(epoch, Tier::Memory);
        self.purges().swept(epoch, Tier::Disk);
        swept
    }

    /// Notes a purge on the disk, if there is one, so that it holds for a process
    /// that is started after this one was killed; then has the disk gone through
    /// behind everything else.
    pub(in crate::cache) async fn note(&self, epoch: u64, order: Order) -> io::Result<()> {
        match self.disk.get() {
            None => Ok(()),
            Some(disk) => disk.purge(epoch, order).await,
        }
    }

    /// True if purges cover a response that was asked for in `epoch`.
    pub(in crate::cache) fn is_purged(&self, key: &CacheKey, head: &StoredHead, epoch: u64) -> bool {
        self.generations.purges.covers(key, Some(head), epoch)
    }

    /// A response that was looked up before, as it counts now; `None` if it was
    /// purged meanwhile.
    pub(in crate::cache) fn as_it_counts(
        &self,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        self.generations.purges.response(key.as_bytes(), stored)
    }

    /// Where other requests select `fresh` than `stale`, its record does not
    /// take the place of the old one: that one has to go. Says since when
    /// `fresh` is valid; `None` if it is no more.
    async fn replace_record(
        &self,
        key: &CacheKey,
        stale: &StoredResponse,
        fresh: &StoredResponse,
        since: &Generation,
    ) -> Option<Generation> {
        match self.disk.get() {
            Some(disk) if !policy::same_variant(&stale.head, &fresh.head) => {
                // The old one may still wait to be written.
                let since = self.generations.follow(key, since)?;
                disk.forget(key, &stale.head).await;
                Some(since)
            }
            _ => Some(since.clone()),
        }
    }

    fn write(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        since: &Generation,
        instead: Option<super::RecordId>,
    ) {
        if let Some(disk) = self.disk.get().filter(|_| response.head.part().is_none()) {
            let (head, body) = (Arc::new(response.head.clone()), response.body.clone());
            let (since, epoch) = (since.clone(), response.epoch);
            disk.store(Storing { key: key.clone(), head, body, since, epoch, instead });
        }
    }
}
