//! Lookups: the heads of what is kept under a key, and the content of the one
//! that was chosen.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::Access;
use super::file::{FileBody, ReadError, RecordFile};
use super::looks::SharedLook;
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
    /// Held, so that others share the record as long as it is being used.
    _look: Arc<SharedLook>,
}

/// A record whose head was read, for all who share in a lookup.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    head: Arc<StoredHead>,
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
        if self.reading.rests() || (self.index.is_known(id.leaf()) && self.index.of(id).is_empty()) {
            return Vec::new();
        }
        self.in_time(LOOKUP_WAIT, self.look(key, id)).await.unwrap_or_default()
    }

    async fn look(self: &Arc<Self>, key: &CacheKey, id: KeyId) -> Vec<Found> {
        if !self.index.is_known(id.leaf()) {
            self.on_thread(move |disk| disk.know_leaf(id.leaf())).await;
        }
        let records = self.index.of(id);
        if records.is_empty() {
            return Vec::new();
        }
        let look = Arc::new(self.looks.join(id, records));
        let opened = look.opened(async |records| self.open_all(records, key).await).await.to_vec();
        let found = |Opened { head, record }: Opened| Found {
            head,
            epoch: record.epoch,
            record,
            _look: Arc::clone(&look),
        };
        opened.into_iter().map(found).collect()
    }

    async fn open_all(self: &Arc<Self>, records: &[RecordId], key: &CacheKey) -> Vec<Opened> {
        if let Ok(opened) = self.open_with(records, key, Access::Cached) {
            return opened;
        }
        let (records, key) = (records.to_vec(), key.clone());
        let opened = self.on_thread(move |disk| disk.open_with(&records, &key, Access::Waiting)).await;
        opened.and_then(Result::ok).unwrap_or_default()
    }

    /// The content of a response that was found: in memory, or to be read as
    /// it is sent, as a whole or in slices. `None` if it turns out to be damaged. Says whether the
    /// response was used before.
    pub(in crate::cache) async fn load(self: &Arc<Self>, found: &Found) -> Option<(StoredBody, bool)> {
        let record = &found.record;
        let body = if let Some(sliced) = record.sliced {
            StoredBody::Sliced(Box::new(sliced))
        } else if record.blocks.length() > LOADED {
            StoredBody::File(FileBody { record: Arc::clone(record), disk: Arc::clone(self) })
        } else {
            StoredBody::Memory(self.load_whole(record).await?)
        };
        self.metrics.disk_hits.increment();
        Some((body, self.index.count_use(record.id.name)))
    }

    /// Reads a content for all who share the record.
    async fn load_whole(self: &Arc<Self>, record: &Arc<RecordFile>) -> Option<Bytes> {
        let reading = record.loaded.get_or_try_init(async || match record.whole(Access::Cached) {
            Err(error) if would_block(&error) => {
                let record = Arc::clone(record);
                self.on_thread(move |_| record.whole(Access::Waiting)).await.ok_or(None)?.map_err(Some)
            }
            read => read.map_err(Some),
        });
        match self.in_time(LOOKUP_WAIT, reading).await? {
            Ok(content) => Some(content.clone()),
            Err(error) => {
                if let Some(error) = error {
                    self.unreadable(record.id, &error);
                }
                None
            }
        }
    }

    /// Fails only where the disk would have to be waited for.
    fn open_with(&self, records: &[RecordId], key: &CacheKey, access: Access) -> io::Result<Vec<Opened>> {
        let mut opened = Vec::with_capacity(records.len());
        for id in records {
            match self.open_record(*id, key, access) {
                Ok((record, head)) => {
                    opened.push(Opened { head: Arc::new(head), record: Arc::new(record) });
                }
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.unreadable(*id, &error);
                }
            }
        }
        Ok(opened)
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

    /// Makes the records of a leaf known, unless they are. Waits for the disk.
    pub(super) fn know_leaf(&self, leaf: Leaf) {
        if !self.index.is_known(leaf) {
            let _ = self.read_leaf(leaf);
        }
    }

    /// Sees to it that no record of a leaf is unknown: for those who have to
    /// miss none. Waits for the disk.
    pub(super) fn read_leaf(&self, leaf: Leaf) -> io::Result<()> {
        if self.index.is_read(leaf) {
            return Ok(());
        }
        // Held until they are known: no purge of everything comes between.
        let records = self.directory.records();
        let found = records.list(leaf, |name| self.index.knows(name));
        let mut found = found.inspect_err(|error| self.reading.failed(error))?;
        let doomed = self.doomed();
        found.retain(|(name, _)| !doomed.contains(name));
        self.index.add_read(leaf, &found);
        Ok(())
    }
}
