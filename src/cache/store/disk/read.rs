//! Lookups: the heads of what is kept under a key, and the content of the one
//! that was chosen.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::Access;
use super::file::{FileBody, ReadError, RecordFile};
use super::name::{KeyId, Leaf, RecordId};
use super::{Disk, LOOKUP_WAIT, would_block};
use crate::cache::store::StoredBody;
use crate::policy::{CacheKey, StoredHead};

/// A content up to this length is loaded whole, and kept in memory once it was
/// used again; a longer one is read as it is sent.
const LOADED: u64 = 1 << 20;

/// A stored response, of which the head was read.
#[derive(Debug)]
pub(in crate::cache) struct Found {
    /// Its head, as it was stored.
    pub(in crate::cache) head: Arc<StoredHead>,
    /// It was asked for after the purges up to this one.
    pub(in crate::cache) epoch: u64,
    record: Arc<RecordFile>,
}

impl Found {
    /// Which record it is.
    pub(in crate::cache) fn id(&self) -> RecordId {
        self.record.id
    }

    pub(super) fn into_record(self) -> Arc<RecordFile> {
        self.record
    }
}

impl Disk {
    /// What is kept under `key`; nothing if the disk does not say in time.
    /// Cancel safe.
    pub(in crate::cache) async fn find(self: &Arc<Self>, key: &CacheKey) -> Vec<Found> {
        let id = KeyId::of(key);
        if self.reading.rests() || (self.index.is_read(id.leaf()) && self.index.of(id).is_empty()) {
            return Vec::new();
        }
        if let Ok(found) = self.find_with(key, id, Access::Cached) {
            return found;
        }
        let key = key.clone();
        let found = self.wait(LOOKUP_WAIT, move |disk| disk.find_with(&key, id, Access::Waiting)).await;
        found.and_then(Result::ok).unwrap_or_default()
    }

    /// The content of a response that was found: in memory, or to be read as
    /// it is sent, as a whole or in slices. `None` if it turns out to be damaged. Says whether the
    /// response was used before.
    pub(in crate::cache) async fn load(self: &Arc<Self>, found: &Found) -> Option<(StoredBody, bool)> {
        let record = &found.record;
        let body = if let Some(sliced) = record.sliced {
            StoredBody::Sliced(sliced)
        } else if record.blocks.length() > LOADED {
            StoredBody::File(FileBody { record: Arc::clone(record), disk: Arc::clone(self) })
        } else {
            StoredBody::Memory(self.load_whole(record).await?)
        };
        self.metrics.disk_hits.increment();
        Some((body, self.index.count_use(record.id.name)))
    }

    async fn load_whole(self: &Arc<Self>, record: &Arc<RecordFile>) -> Option<Bytes> {
        let read = match record.whole(Access::Cached) {
            Err(error) if would_block(&error) => {
                let record = Arc::clone(record);
                self.wait(LOOKUP_WAIT, move |_| record.whole(Access::Waiting)).await?
            }
            read => read,
        };
        if let Err(error) = &read {
            self.unreadable(record.id.name, error);
        }
        read.ok()
    }

    /// Fails only where the disk would have to be waited for.
    fn find_with(&self, key: &CacheKey, id: KeyId, access: Access) -> io::Result<Vec<Found>> {
        self.read_leaf(id.leaf(), access)?;
        let mut found = Vec::new();
        for id in self.index.of(id) {
            match self.open_record(id, key, access) {
                Ok((record, head)) => {
                    let (head, epoch) = (Arc::new(head), record.epoch);
                    found.push(Found { head, epoch, record: Arc::new(record) });
                }
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.unreadable(id.name, &error);
                }
            }
        }
        Ok(found)
    }

    fn open_record(
        &self,
        id: RecordId,
        key: &CacheKey,
        access: Access,
    ) -> Result<(RecordFile, StoredHead), ReadError> {
        let file = self.directory.records().open(id.name, access)?;
        RecordFile::open(file, id, key, access)
    }

    /// Makes the records of a leaf known, unless they are.
    pub(super) fn read_leaf(&self, leaf: Leaf, access: Access) -> io::Result<()> {
        if self.index.is_read(leaf) {
            return Ok(());
        }
        if access == Access::Cached {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let _ = self.read_whole_leaf(leaf);
        Ok(())
    }

    /// The same for those who have to know whether it failed. Waits for the
    /// disk.
    pub(super) fn read_whole_leaf(&self, leaf: Leaf) -> io::Result<()> {
        if self.index.is_read(leaf) {
            return Ok(());
        }
        let found = self.directory.records().list(leaf).inspect_err(|error| self.reading.failed(error))?;
        self.index.add_read(leaf, &found);
        Ok(())
    }
}
