//! The disk tier: stored responses that outlive the process, one file each,
//! and never more bytes than it was given. It holds no rule of HTTP.
//!
//! A hit in memory never asks it. A lookup asks the index first, then reads
//! what is in the page cache at once, and the rest on threads that may wait.
//! Writes are done behind the requests, and dropped where too many wait. No
//! file is ever changed: it is replaced or deleted, and who reads it goes on.
//! Nothing is synced: what a crash leaves is whole or refused by its checksums.
//! A disk that fails costs its use, never an answer.

mod body;
mod directory;
mod file;
#[cfg(fuzzing)]
pub(in crate::cache::store) mod fuzzing;
mod health;
mod index;
mod journal;
mod list;
mod looks;
mod name;
mod purge;
mod read;
mod record;
mod room;
mod scan;
mod slices;
mod snapshot;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::generations::Generations;
use super::purges::Tier;
use super::purges::form::Noted;
use crate::base::{Clock, Tasks};
use crate::cache::budget::Budget;
use crate::config::model::DiskConfig;
use crate::telemetry::Metrics;

use directory::{Directory, DirectoryError};
use file::ReadError;
use health::Health;
use index::Index;
use journal::{Journal, JournalError};
use looks::Looks;
use name::{KeyId, Name};

pub(in crate::cache) use body::FileReader;
pub(in crate::cache) use file::FileBody;
pub(in crate::cache) use list::Listed;
pub(in crate::cache) use name::RecordId;
pub(in crate::cache) use read::Found;
pub(in crate::cache::store) use scan::start as start_thread;
pub(in crate::cache) use write::Storing;

/// Threads that may read at a time: a disk that hangs holds up no more.
const READERS: usize = 16;
/// Threads that may write at a time.
const WRITERS: usize = 2;
/// Locks for the names of records, each held while one is published or removed.
const NAME_LOCKS: usize = 64;

/// How long a lookup waits for the disk before an origin server is asked.
const LOOKUP_WAIT: Duration = Duration::from_secs(1);
/// How long a client waits for the next block of a content.
const READ_WAIT: Duration = Duration::from_secs(10);
/// How long a fill waits for a slice to be written before it goes on without.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// How long an invalidation waits for files to be deleted; they are found no
/// more from its beginning on.
const REMOVE_WAIT: Duration = Duration::from_secs(10);
/// How long another process that takes over waits for what is written, and then for the
/// index.
const LEAVE_WAIT: Duration = Duration::from_secs(3);
/// How long a stop waits for the index to be written.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// A disk tier.
#[derive(Debug)]
pub(in crate::cache) struct Disk {
    directory: Directory,
    journal: Journal,
    /// True while a thread goes through the records for purges.
    sweeps: AtomicBool,
    index: Index,
    generations: Arc<Generations>,
    names: [Mutex<()>; NAME_LOCKS],
    /// Records that are to be deleted, and found no more meanwhile.
    doomed: Mutex<BTreeSet<Name>>,
    looks: Arc<Looks>,
    size: u64,
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    queue: Arc<Budget>,
    sequence: AtomicU64,
    reading: Health,
    writing: Health,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

/// How full a disk tier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskUsage {
    /// Bytes that its records take.
    pub bytes: u64,
    /// Records that it holds.
    pub objects: u64,
    /// Bytes they may take.
    pub capacity: u64,
}

/// What a disk tier stands on.
#[derive(Debug)]
pub(in crate::cache) struct Ground<'a> {
    /// The invalidations, shared with the memory tier.
    pub(in crate::cache) generations: &'a Arc<Generations>,
    /// Bytes that may wait to be written.
    pub(in crate::cache) queue: u64,
    /// For the rests after failures.
    pub(in crate::cache) clock: &'a Arc<dyn Clock>,
    /// What a drain waits for: what waits to be written.
    pub(in crate::cache) tasks: &'a Tasks,
    /// Where everything is counted.
    pub(in crate::cache) metrics: &'a Arc<Metrics>,
}

impl Disk {
    /// Opens a tier and begins to find out what is in it; `None` if it cannot
    /// be used, which is told.
    pub(in crate::cache) fn open(config: &DiskConfig, ground: &Ground<'_>) -> Option<Arc<Self>> {
        match Self::take_over(config, ground) {
            Ok(disk) => {
                scan::begin(&disk);
                if !disk.generations.purges.unswept(Tier::Disk).is_empty() {
                    purge::begin(&disk);
                }
                Some(disk)
            }
            Err(error) => {
                ground.metrics.disk_errors.increment();
                let path = config.path.display();
                tracing::error!(%path, %error, "the disk cache cannot be used; the cache is in memory only");
                None
            }
        }
    }

    /// Takes over what an earlier process left, as far as that wrote it down.
    fn take_over(config: &DiskConfig, ground: &Ground<'_>) -> Result<Arc<Self>, DirectoryError> {
        let directory = Directory::open(&config.path)?;
        // Before any record is removed or stored: it is of this moment only.
        let snapshot = snapshot::take(&directory);
        let (journal, noted) = open_journal(&directory)?;
        let disk = Arc::new(Self::over(directory, journal, config.size, ground));
        if let Some(noted) = noted {
            disk.generations.purges.restore(noted.last_epoch, noted.purges);
            let Some(listed) = snapshot else { return Ok(disk) };
            disk.index.restore(listed);
            let DiskUsage { objects, bytes, .. } = disk.usage();
            tracing::info!(objects, bytes, "the index of the disk cache was taken over");
        }
        Ok(disk)
    }

    fn over(directory: Directory, journal: Journal, size: u64, ground: &Ground<'_>) -> Self {
        let health = |doing| Health::new(doing, Arc::clone(ground.clock), Arc::clone(ground.metrics));
        Self {
            directory,
            journal,
            sweeps: AtomicBool::new(false),
            index: Index::new(Arc::clone(ground.metrics)),
            generations: Arc::clone(ground.generations),
            names: std::array::from_fn(|_| Mutex::default()),
            doomed: Mutex::default(),
            looks: Looks::new(),
            size,
            readers: Arc::new(Semaphore::new(READERS)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            queue: Budget::new(ground.queue),
            sequence: AtomicU64::new(1),
            reading: health("reading"),
            writing: health("writing to"),
            tasks: ground.tasks.clone(),
            metrics: Arc::clone(ground.metrics),
        }
    }

    /// Writes down what is in it, for a process that is started later. Nothing
    /// is to be stored any more. Waits a few seconds at most.
    pub(in crate::cache) async fn close(self: &Arc<Self>) {
        self.wait(CLOSE_WAIT, |disk| {
            disk.end_purges();
            snapshot::leave(disk);
        })
        .await;
    }

    /// The same, and leaves the directory to that process; what is done here later fails.
    /// What waits to be written is waited for, a few seconds at most. False, and nothing
    /// has changed, if the disk takes longer.
    pub(in crate::cache) async fn leave(self: &Arc<Self>) -> bool {
        let most = u32::try_from(WRITERS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(LEAVE_WAIT, self.writers.acquire_many(most)).await;
        let is_wanted = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_wanted);
        let left = self.wait(LEAVE_WAIT, move |disk| {
            // What is used again is left no index of this moment.
            if asked.load(Ordering::Acquire) {
                snapshot::leave(disk);
            }
            let is_left = asked.swap(false, Ordering::AcqRel);
            if is_left {
                disk.directory.leave();
                disk.index.clear();
            }
            is_left
        });
        // Who comes late does not leave what is used again.
        left.await.unwrap_or_else(|| !is_wanted.swap(false, Ordering::AcqRel))
    }

    /// True once all of its directory was read.
    #[cfg(test)]
    pub(in crate::cache) fn is_read(&self) -> bool {
        (0..name::LEAVES).all(|leaf| self.index.is_read(name::Leaf(leaf)))
    }

    /// Keeps every thread from it.
    #[cfg(test)]
    pub(in crate::cache) async fn hang(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(READERS).unwrap();
        Arc::clone(&self.readers).acquire_many_owned(all).await.unwrap()
    }

    /// How full it is, as far as its directory was read.
    pub(in crate::cache) fn usage(&self) -> DiskUsage {
        DiskUsage {
            bytes: self.index.bytes(),
            objects: u64::try_from(self.metrics.disk_objects.value()).unwrap_or(0),
            capacity: self.size,
        }
    }

    /// Forgets everything, for good: also a process that is started after this
    /// one was killed finds nothing of it, unless this says that it may. Says how
    /// many records there were.
    ///
    /// The generations of all keys have to be advanced before. Deleting the
    /// files goes on behind.
    pub(in crate::cache) fn clear(self: &Arc<Self>) -> io::Result<u64> {
        let (aside, cleared) = self.directory.set_aside(|| {
            self.doomed().clear();
            self.index.clear()
        });
        let aside = aside.inspect_err(|error| self.writing.failed(error));
        scan::sweep(self);
        aside.map(|()| cleared)
    }

    /// Runs `work` on a thread that may wait for the disk; `None` if it has not
    /// done so in time, or panicked. What has begun is done to the end.
    async fn wait<T: Send + 'static>(
        self: &Arc<Self>,
        within: Duration,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        self.in_time(within, self.on_thread(work)).await.flatten()
    }

    /// The same without a deadline.
    async fn on_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let (disk, readers) = (Arc::clone(self), Arc::clone(&self.readers));
        let turn = readers.acquire_owned().await.ok()?;
        let work = move || {
            let done = work(&disk);
            drop(turn);
            done
        };
        spawn_blocking(work).await.ok()
    }

    /// What comes of `reading`; `None` if it has not come in time.
    async fn in_time<T>(&self, within: Duration, reading: impl Future<Output = T>) -> Option<T> {
        let done = tokio::time::timeout(within, reading).await;
        if done.is_err() {
            self.reading.timed_out(within);
        }
        done.ok()
    }

    /// Notes that a record cannot be read. What is damaged has to go; true if the
    /// record is there no more.
    fn unreadable(&self, id: RecordId, error: &ReadError) -> bool {
        match error {
            ReadError::Damaged(reason) => {
                self.metrics.disk_damaged.increment();
                tracing::debug!(name = %id.name, %reason, "a damaged record of the disk cache is deleted");
            }
            ReadError::Io(error) if error.kind() == ErrorKind::NotFound => {}
            ReadError::Io(error) => {
                self.reading.failed(error);
                // Of a lack of descriptors or of memory the record is innocent.
                if error.raw_os_error() != Some(Errno::IO.raw_os_error()) {
                    return false;
                }
            }
        }
        self.delete_record(id).is_ok()
    }

    /// Deletes one record. That it fails is told.
    fn delete(&self, name: Name) {
        let _ = self.try_delete(name);
    }

    /// The same, for those who have to know: the record is found no more in any
    /// case, but perhaps by a process that is started later.
    fn try_delete(&self, name: Name) -> io::Result<()> {
        let _alone = self.alone_with(name.key);
        self.index.remove(name);
        self.unlink(name)
    }

    /// Deletes the file of a record that is not in the index.
    fn unlink(&self, name: Name) -> io::Result<()> {
        self.directory.records().remove(name).inspect_err(|error| self.writing.failed(error))?;
        self.doomed().remove(&name);
        Ok(())
    }

    fn doomed(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes exactly this record; false if another one has taken its place.
    fn delete_record(&self, id: RecordId) -> io::Result<bool> {
        let _alone = self.alone_with(id.name.key);
        if !self.index.has(id) {
            return Ok(false);
        }
        self.index.remove(id.name);
        self.unlink(id.name).map(|()| true)
    }

    /// While it is held nobody else publishes or deletes a record of the key.
    fn alone_with(&self, key: KeyId) -> MutexGuard<'_, ()> {
        self.name_lock(key).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if nobody publishes or deletes a record of the key now.
    fn is_idle(&self, key: KeyId) -> bool {
        !matches!(self.name_lock(key).try_lock(), Err(TryLockError::WouldBlock))
    }

    fn name_lock(&self, key: KeyId) -> &Mutex<()> {
        &self.names[usize::try_from(key.0 % NAME_LOCKS as u128).unwrap_or_default()]
    }
}

/// The purges that an earlier process left under way. If they are not known,
/// no record can be trusted, and none is kept.
fn open_journal(directory: &Directory) -> Result<(Journal, Option<Noted>), DirectoryError> {
    let error = match Journal::open(directory) {
        Ok((journal, noted)) => return Ok((journal, Some(noted))),
        Err(error) => error,
    };
    if !matches!(error, JournalError::Absent) {
        tracing::error!(%error, "which purges were under way is not known; the disk cache begins empty");
    }
    directory.set_aside(|| ()).0?;
    Ok((Journal::create(directory)?, None))
}

fn would_block(error: &ReadError) -> bool {
    matches!(error, ReadError::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
