//! The file that has the purges under way, and which epochs are not begun
//! again. A purge is in it before it is answered, and until no record is left
//! that it covers.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use crate::cache::store::purges::Order;
use crate::cache::store::purges::form::{self, Damaged, MAGIC, Noted};

/// What the file is called.
const NAME: &str = "purges";

/// A longer file is none of ours.
const LONGEST: u64 = 256 << 20;

/// So many epochs are set apart at once.
const SET_APART: u64 = 1 << 10;

/// Why the file of an earlier process cannot be gone on with: which of the
/// records are purged nobody knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("there is none")]
    Absent,
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the file has. It is opened when something is written: who takes it away
/// has purges fail, not be forgotten.
#[derive(Debug)]
pub(super) struct Journal {
    /// Its length.
    written: Mutex<u64>,
    /// Up to this epoch records may be written.
    last_epoch: AtomicU64,
    has_purges: AtomicBool,
}

impl Journal {
    /// Goes on with the file of an earlier process; also what that one noted.
    pub(super) fn open(directory: &Directory) -> Result<(Self, Noted), JournalError> {
        let file = directory.open_file(NAME)?.ok_or(JournalError::Absent)?;
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        let noted = form::read(&bytes)?;
        let journal = Self {
            written: Mutex::new(noted.length as u64),
            last_epoch: AtomicU64::new(noted.last_epoch),
            has_purges: AtomicBool::new(!noted.purges.is_empty()),
        };
        Ok((journal, noted))
    }

    /// Begins a new one, in place of any other.
    pub(super) fn create(directory: &Directory) -> io::Result<Self> {
        let bytes = [&MAGIC[..], &form::epoch(0)].concat();
        directory.replace_file(NAME, &bytes)?;
        Ok(Self {
            written: Mutex::new(bytes.len() as u64),
            last_epoch: AtomicU64::new(0),
            has_purges: AtomicBool::new(false),
        })
    }

    /// True if it has a purge.
    pub(super) fn has_purges(&self) -> bool {
        self.has_purges.load(Ordering::Acquire)
    }

    /// Notes a purge, for good. Waits for the disk.
    pub(super) fn note(&self, directory: &Directory, epoch: u64, order: &Order) -> io::Result<()> {
        let mut written = self.written();
        self.has_purges.store(true, Ordering::Release);
        append(directory, &mut written, &form::purge(epoch, order))?;
        drop(written);
        self.last_epoch.fetch_max(epoch, Ordering::AcqRel);
        Ok(())
    }

    /// Sees to it that `epoch` is not begun again by another process: before a
    /// record is written that was asked for in it.
    pub(super) fn set_apart(&self, directory: &Directory, epoch: u64) -> io::Result<()> {
        if epoch <= self.last_epoch.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut written = self.written();
        if epoch > self.last_epoch.load(Ordering::Acquire) {
            let last = epoch.saturating_add(SET_APART);
            append(directory, &mut written, &form::epoch(last))?;
            self.last_epoch.fetch_max(last, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Leaves out all purges but those of `left`, which is asked for them while
    /// no other one is noted.
    pub(super) fn leave_out(
        &self,
        directory: &Directory,
        left: impl FnOnce() -> Vec<(u64, Order)>,
    ) -> io::Result<()> {
        let mut written = self.written();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(form::epoch(self.last_epoch.load(Ordering::Acquire)));
        let left = left();
        left.iter().for_each(|(epoch, order)| bytes.extend(form::purge(*epoch, order)));
        directory.replace_file(NAME, &bytes)?;
        *written = bytes.len() as u64;
        self.has_purges.store(!left.is_empty(), Ordering::Release);
        Ok(())
    }

    fn written(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(directory: &Directory, length: &mut u64, entry: &[u8]) -> io::Result<()> {
    directory.write_to_file(NAME, |file| {
        // What an earlier failure left of its entry.
        file.set_len(*length)?;
        file.write_all_at(entry, *length)?;
        file.sync_data()
    })?;
    *length += entry.len() as u64;
    Ok(())
}
