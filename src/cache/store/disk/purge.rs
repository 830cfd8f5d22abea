//! Purges on the disk: noted before they are answered; then every record is
//! gone through, on a thread of its own, and removed or made stale. They hold
//! while that goes on, and for the next process if it is cut off.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::directory::Access;
use super::file::{FileBody, ReadError, RecordFile};
use super::index::SHARDS;
use super::name::{KeyId, LEAVES, Leaf, Name, RecordId};
use super::record::Refused;
use super::{Disk, REMOVE_WAIT, Storing, scan};
use crate::cache::store::StoredBody;
use crate::cache::store::purges::{Order, Tier, Verdict};
use crate::policy::{CacheKey, StoredHead};

/// Records that are gone through before it is looked whether the tier is still
/// there.
const AT_ONCE: usize = 256;

/// How long the disk is let alone after a sweep that failed.
const TRY_AGAIN: Duration = Duration::from_secs(30);

impl Disk {
    /// Notes a purge that was entered, and has the records gone through for it
    /// behind everything else. With an error it holds for this process alone,
    /// unless that comes to the end of it.
    pub(in crate::cache) async fn purge(self: &Arc<Self>, epoch: u64, order: Order) -> io::Result<()> {
        let noted =
            self.wait(REMOVE_WAIT, move |disk| disk.journal.note(&disk.directory, epoch, &order)).await;
        begin(self);
        noted.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Does to the records of a key what the purges under way are to do, and
    /// returns when it is done for every process, or with the error for which it
    /// might not be.
    pub(in crate::cache) async fn sweep_key(self: &Arc<Self>, key: &CacheKey) -> io::Result<()> {
        let id = KeyId::of(key);
        let swept = self.wait(REMOVE_WAIT, move |disk| {
            let read = disk.read_leaf(id.leaf());
            // Who publishes now has seen the purge, or is waited for here.
            drop(disk.alone_with(id));
            disk.sweep_records(disk.index.of(id)).and(read).and(disk.bury(Name::all_of(id)))
        });
        swept.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Leaves all purges out of the journal once none is under way any more.
    pub(super) fn end_purges(&self) {
        if self.journal.has_purges() && !self.generations.purges.may_cover(0) {
            self.leave_out_purges();
        }
    }

    /// Leaves out of the journal what is under way no more. A purge for which all was gone
    /// through stays as long as a record may be written that it covers: that one is deleted
    /// by this process, or by the next if this is killed before.
    fn leave_out_purges(&self) {
        // What is noted for longer than it has to be does no harm.
        let left = || self.generations.purges.under_way();
        if let Err(error) = self.journal.leave_out(&self.directory, left) {
            self.writing.failed(&error);
        }
    }

    /// Goes through these records to the end, and returns the first error.
    fn sweep_records(self: &Arc<Self>, records: Vec<RecordId>) -> io::Result<()> {
        let (mut by_whom, mut swept) = (Vec::new(), Ok(()));
        for id in records {
            match self.sweep_record(id) {
                Ok(by) => by_whom.extend(by),
                Err(error) => swept = swept.and(Err(error)),
            }
        }
        self.metrics.purged.add(by_whom.len() as u64);
        self.generations.purges.count(&by_whom, Tier::Disk);
        swept
    }

    /// The epoch of the purge for which a record was removed or made stale.
    fn sweep_record(self: &Arc<Self>, id: RecordId) -> io::Result<Option<u64>> {
        let (record, head, key) = match self.open_head(id) {
            Ok(opened) => opened,
            Err(error) => {
                let is_gone = self.unreadable(id, &error);
                return match error {
                    ReadError::Io(error) if !is_gone => Err(error),
                    _ => Ok(None),
                };
            }
        };
        match self.generations.purges.judge(key.as_bytes(), &head, record.epoch) {
            Verdict::Kept => Ok(None),
            Verdict::Gone { by } => Ok(self.delete_record(id)?.then_some(by)),
            Verdict::Stale { from, by } => {
                let Some(stale) = head.stale_from(from) else { return Ok(None) };
                let is_stale = self.put_head(id, key, stale, record);
                // To be without it is always right.
                Ok((is_stale || self.delete_record(id)?).then_some(by))
            }
        }
    }

    fn open_head(&self, id: RecordId) -> Result<(RecordFile, StoredHead, CacheKey), ReadError> {
        let file = self.directory.records().open(id.name, Access::Waiting)?;
        let (record, head, key) = RecordFile::open_any(file, id, 0, Access::Waiting)?;
        let key = CacheKey::new(&key);
        if KeyId::of(&key) != id.name.key {
            return Err(Refused::Foreign.into());
        }
        Ok((record, head, key))
    }

    /// Puts a record with this head in the place of another one, over the same
    /// content; false if it cannot be, or that one is gone.
    fn put_head(self: &Arc<Self>, id: RecordId, key: CacheKey, head: StoredHead, record: RecordFile) -> bool {
        let (since, epoch) = (self.generations.of(&key), record.epoch);
        let body = match record.sliced {
            Some(sliced) => StoredBody::Sliced(Box::new(sliced)),
            None => StoredBody::File(FileBody { record: Arc::new(record), disk: Arc::clone(self) }),
        };
        let storing = Storing { since, epoch, key, head: Arc::new(head), body, instead: Some(id) };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.write(&storing, sequence).unwrap_or_else(|error| {
            self.writing.failed(&error);
            false
        })
    }
}

/// Has all records gone through on a thread of its own, unless one does.
pub(super) fn begin(disk: &Arc<Disk>) {
    if !disk.sweeps.swap(true, Ordering::AcqRel) {
        let left = Arc::downgrade(disk);
        if !scan::start("disk-purge", move || sweep(&left)) {
            disk.sweeps.store(false, Ordering::Release);
        }
    }
}

/// Sweeps until no purge waits for it, or the tier is gone.
fn sweep(left: &Weak<Disk>) {
    loop {
        match sweep_once(left) {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                if let Some(disk) = left.upgrade() {
                    disk.reading.failed(&error);
                }
                std::thread::sleep(TRY_AGAIN);
            }
        }
        let Some(disk) = left.upgrade() else { return };
        disk.sweeps.store(false, Ordering::Release);
        // Another purge may have come in between.
        let is_done = disk.generations.purges.unswept(Tier::Disk).is_empty();
        if is_done || disk.sweeps.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

/// Goes through all records once, for all purges that wait for it now; `None`
/// if the tier is gone.
fn sweep_once(left: &Weak<Disk>) -> Option<io::Result<()>> {
    let waiting = left.upgrade()?.generations.purges.unswept(Tier::Disk);
    if waiting.is_empty() {
        return Some(Ok(()));
    }
    for leaf in 0..LEAVES {
        if let Err(error) = left.upgrade()?.read_leaf(Leaf(leaf)) {
            return Some(Err(error));
        }
    }
    let mut swept = Ok(());
    for shard in 0..SHARDS {
        let mut after = None;
        loop {
            let disk = left.upgrade()?;
            let records = disk.index.after(shard, after, AT_ONCE);
            let Some(last) = records.last() else { break };
            after = Some(last.name);
            swept = swept.and(disk.sweep_records(records));
        }
    }
    let disk = left.upgrade()?;
    swept = swept.and(disk.bury(..));
    if swept.is_ok() {
        let purges = &disk.generations.purges;
        waiting.iter().for_each(|(epoch, _)| purges.swept(*epoch, Tier::Disk));
        disk.leave_out_purges();
    }
    Some(swept)
}
