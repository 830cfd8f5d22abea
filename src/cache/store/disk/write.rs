//! Storing and removing. A record is published only if its key was not
//! invalidated since it was asked for and nothing newer stands in its place.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;

use super::directory::NewRecord;
use super::index::on_disk;
use super::name::{KeyId, Name, RecordId};
use super::record::{self, Blocks};
use super::{Disk, REMOVE_WAIT};
use crate::cache::store::StoredBody;
use crate::cache::store::generations::Generation;
use crate::policy::{CacheKey, StoredHead};

/// What a response that waits to be written costs besides its content: its head,
/// if memory has that no more, and its place in the queue.
const WAITING: u64 = 1 << 10;

/// A content up to this length is written together with the head.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// Once the tier is full it is emptied to this part of 256.
const LOW_WATERMARK: u64 = 252;

/// So many records make more room than one that is to be written needs, at
/// most: nobody waits for the whole way to the low watermark.
const MOST_AHEAD: usize = 256;

/// Records that make room for one where something else fills the file system,
/// at most: more of them would not help.
const MOST_EVICTED: usize = 16;

/// A response on its way to the disk.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Storing {
    /// What it is kept under.
    pub(in crate::cache) key: CacheKey,
    /// Its head.
    pub(in crate::cache) head: Arc<StoredHead>,
    /// Its content, or the one that stays where only the head is new.
    pub(in crate::cache) body: StoredBody,
    /// It is not stored if its key was invalidated after this.
    pub(in crate::cache) since: Generation,
    /// It was asked for after the purges up to this one.
    pub(in crate::cache) epoch: u64,
    /// The one record whose place it takes; it is not stored if that is gone.
    pub(in crate::cache) instead: Option<RecordId>,
}

impl Disk {
    /// Has a response written behind the requests. Where too many wait it is
    /// not.
    pub(in crate::cache) fn store(self: &Arc<Self>, storing: Storing) {
        if let Some(writing) = self.queue_up(storing) {
            self.tasks.spawn(writing);
        }
    }

    /// A response that waits to be written, and whether it was; `None` where
    /// too many wait. Once it was polled, what has begun is done to the end.
    pub(super) fn queue_up(
        self: &Arc<Self>,
        storing: Storing,
    ) -> Option<impl Future<Output = bool> + Send + 'static> {
        if self.writing.rests() {
            return None;
        }
        let mut share = self.queue.share();
        let held = match &storing.body {
            StoredBody::Memory(bytes) => bytes.len() as u64,
            StoredBody::File(_) | StoredBody::Sliced(_) => 0,
        };
        if !share.grow(held + WAITING) {
            self.metrics.disk_writes_dropped.increment();
            return None;
        }
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let disk = Arc::clone(self);
        Some(async move {
            let Ok(turn) = Arc::clone(&disk.writers).acquire_owned().await else { return false };
            let write = move || {
                let written = disk.write(&storing, sequence);
                match &written {
                    Ok(true) => disk.metrics.disk_writes.increment(),
                    Ok(false) => {}
                    Err(error) => disk.writing.failed(error),
                }
                drop((turn, share));
                written.unwrap_or(false)
            };
            // A panic is the loss of one record.
            spawn_blocking(write).await.unwrap_or(false)
        })
    }

    /// Removes all records of a key, and returns when no process finds them any
    /// more, or with the error for which one might. The generation of the key has
    /// to be advanced before. Says how many there were.
    pub(in crate::cache) async fn remove(self: &Arc<Self>, key: &CacheKey) -> io::Result<u64> {
        let id = KeyId::of(key);
        let is_idle = self.is_idle(id);
        let known = self.doom(id);
        if is_idle && self.index.is_read(id.leaf()) && known.is_empty() {
            return Ok(0);
        }
        let removed = self.wait(REMOVE_WAIT, move |disk| {
            let read = disk.read_leaf(id.leaf());
            // Who publishes now has seen the key's new generation, or is waited
            // for here and seen in the index.
            drop(disk.alone_with(id));
            let records: BTreeSet<Name> = known.into_iter().chain(disk.doom(id)).collect();
            let deleted = records.iter().map(|name| disk.try_delete(*name));
            deleted.fold(Ok(()), io::Result::and).and(read).map(|()| records.len() as u64)
        });
        removed.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Has the records of a key found no more, however long the disk takes to delete them;
    /// says which these are.
    fn doom(&self, id: KeyId) -> Vec<Name> {
        let mut doomed = self.doomed();
        doomed.extend(self.index.of(id).into_iter().map(|record| record.name));
        let names: Vec<Name> = doomed.range(Name::all_of(id)).copied().collect();
        for name in &names {
            self.index.remove(*name);
        }
        names
    }

    /// Deletes what is still doomed of a range of names: what a disk that hung has left.
    pub(super) fn bury(&self, names: impl RangeBounds<Name>) -> io::Result<()> {
        let doomed: Vec<Name> = self.doomed().range(names).copied().collect();
        let mut buried = Ok(());
        for name in doomed {
            let _alone = self.alone_with(name.key);
            // Another record may have taken its place.
            let is_doomed = self.doomed().contains(&name);
            if is_doomed {
                buried = buried.and(self.unlink(name));
            }
        }
        buried
    }

    /// Removes one variant of a key.
    pub(in crate::cache) async fn forget(self: &Arc<Self>, key: &CacheKey, head: &StoredHead) {
        let name = Name { key: KeyId::of(key), variant: record::variant(head) };
        self.wait(REMOVE_WAIT, move |disk| disk.delete(name)).await;
    }

    /// False if it is not to be stored after all.
    pub(super) fn write(&self, storing: &Storing, sequence: u64) -> io::Result<bool> {
        let Storing { key, head, body, since, epoch, instead } = storing;
        let purges = &self.generations.purges;
        let Some(head) = purges.head(key.as_bytes(), head, *epoch) else { return Ok(false) };
        let (blocks, sliced) = match body {
            StoredBody::Memory(bytes) => (Blocks::of(bytes), None),
            StoredBody::File(body) => (body.record.blocks.clone(), None),
            StoredBody::Sliced(sliced) => (Blocks::of(&[]), Some(**sliced)),
        };
        let Some(encoded) = record::encode(key.as_bytes(), *epoch, &head, sliced, &blocks) else {
            return Ok(false);
        };
        self.journal.set_apart(&self.directory, *epoch)?;
        let length = encoded.bytes.len() as u64 + blocks.length();
        if !self.make_room(on_disk(length))? {
            return Ok(false);
        }
        let new = self.write_new(encoded.bytes, body).inspect_err(|error| self.give_way(error))?;
        let name = Name { key: KeyId::of(key), variant: encoded.variant };
        let too_many = {
            let _alone = self.alone_with(name.key);
            let records = self.directory.records();
            let is_outdated =
                self.index.is_outdated(name, sequence) || instead.is_some_and(|old| !self.index.has(old));
            if is_outdated || !self.generations.hold(key, since) {
                return Ok(false);
            }
            records.publish(new, name)?;
            let mut doomed = self.doomed();
            doomed.remove(&name);
            self.index.insert(name, length, sequence)
        };
        let replaced = instead.map(|old| old.name).filter(|old| *old != name);
        too_many.into_iter().chain(replaced).for_each(|name| self.delete(name));
        // A purge that came in between did not see it.
        let is_current =
            purges.head(key.as_bytes(), &head, *epoch).is_some_and(|now| Arc::ptr_eq(&now, &head));
        if !is_current {
            self.delete(name);
        }
        self.end_purges();
        Ok(is_current)
    }

    fn write_new(&self, mut head: Vec<u8>, body: &StoredBody) -> io::Result<NewRecord<'_>> {
        let mut new = self.directory.begin()?;
        match body {
            StoredBody::Memory(bytes) if bytes.len() <= WRITTEN_AT_ONCE => {
                head.extend_from_slice(bytes);
                new.file.write_all(&head)?;
            }
            StoredBody::Memory(bytes) => {
                new.file.write_all(&head)?;
                new.file.write_all(bytes)?;
            }
            StoredBody::File(body) => {
                new.file.write_all(&head)?;
                body.record.copy_to(&new.file)?;
            }
            StoredBody::Sliced(_) => new.file.write_all(&head)?,
        }
        Ok(new)
    }

    /// Makes room for `more` bytes, within the tier's size and what is free;
    /// false if there is none.
    fn make_room(&self, more: u64) -> io::Result<bool> {
        if more > self.size / 2 {
            return Ok(false);
        }
        if self.index.bytes() + more > self.size {
            let low = self.size / 256 * LOW_WATERMARK;
            let mut ahead = 0;
            while self.index.bytes() + more > self.size
                || (ahead < MOST_AHEAD && self.index.bytes() + more > low)
            {
                if !self.evict() {
                    break;
                }
                ahead += 1;
            }
            if self.index.bytes() + more > self.size {
                return Ok(false);
            }
        }
        for _ in 0..MOST_EVICTED {
            if self.directory.room()?.has(more) {
                return Ok(true);
            }
            if !self.evict() {
                break;
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Gives way where a file system was full all the same: it is by a quota, or
    /// somebody else was faster.
    fn give_way(&self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let _ = (0..MOST_EVICTED).all(|_| self.evict());
        }
    }

    /// Deletes the record that makes room; false if there is none.
    fn evict(&self) -> bool {
        let Some(name) = self.index.evict() else { return false };
        self.delete(name);
        self.metrics.disk_evictions.increment();
        true
    }
}
