//! What is on the disk, for people who look into the cache: heads only, and
//! nothing is counted as used.

use std::sync::Arc;

use super::directory::Access;
use super::index::SHARDS;
use super::name::KeyId;
use super::{Disk, REMOVE_WAIT};
use crate::policy::{CacheKey, StoredHead};

/// Bytes of a record that are read first: most heads.
const HEAD_READ: u64 = 4 << 10;

/// Records that are looked at under one lock.
const AT_ONCE: usize = 256;

/// A list ends after as many records, whether they are wanted or not.
const MOST_LOOKED_AT: usize = 10_000;

/// A record without its content.
#[derive(Debug)]
pub(in crate::cache) struct Listed {
    /// The key it is kept under.
    pub(in crate::cache) key: CacheKey,
    /// Its head, as it was stored.
    pub(in crate::cache) head: Arc<StoredHead>,
    /// It was asked for after the purges up to this one.
    pub(in crate::cache) epoch: u64,
    /// Bytes of its content.
    pub(in crate::cache) length: u64,
    /// True if the content is in slices.
    pub(in crate::cache) is_sliced: bool,
}

impl Disk {
    /// What is kept under `key`. Waits for the disk, five seconds at most.
    pub(in crate::cache) async fn list_key(self: &Arc<Self>, key: &CacheKey) -> Vec<Listed> {
        let (id, key) = (KeyId::of(key), key.clone());
        let listed = self.wait(REMOVE_WAIT, move |disk| {
            let _ = disk.read_leaf(id.leaf());
            let records = disk.index.of(id).into_iter();
            records.filter_map(|id| disk.listed(id)).filter(|listed| listed.key == key).collect()
        });
        listed.await.unwrap_or_default()
    }

    /// Records, `most` of them, whose key begins with one of these; and whether
    /// every record was looked at. Waits for the disk.
    pub(in crate::cache) async fn list(
        self: &Arc<Self>,
        prefixes: Vec<Box<[u8]>>,
        most: usize,
    ) -> (Vec<Listed>, bool) {
        let listing = self.wait(REMOVE_WAIT, move |disk| {
            let (mut found, mut left) = (Vec::new(), MOST_LOOKED_AT);
            for shard in 0..SHARDS {
                let mut after = None;
                loop {
                    let records = disk.index.after(shard, after, AT_ONCE.min(left));
                    let Some(last) = records.last() else { break };
                    after = Some(last.name);
                    left -= records.len();
                    let is_wanted = |listed: &Listed| {
                        prefixes.iter().any(|prefix| listed.key.as_bytes().starts_with(prefix))
                    };
                    found.extend(records.into_iter().filter_map(|id| disk.listed(id)).filter(is_wanted));
                    if left == 0 || found.len() > most {
                        found.truncate(most);
                        return (found, false);
                    }
                }
            }
            (found, true)
        });
        listing.await.unwrap_or_default()
    }

    fn listed(&self, id: super::RecordId) -> Option<Listed> {
        let file = self.directory.records().open(id.name, Access::Waiting).ok()?;
        let opened = super::file::RecordFile::open_any(file, id, HEAD_READ, Access::Waiting);
        let (record, head, key) = opened.ok()?;
        let key = CacheKey::new(&key);
        let is_a_slice = key.to_url().is_none();
        (KeyId::of(&key) == id.name.key && !is_a_slice).then(|| Listed {
            key,
            head: Arc::new(head),
            epoch: record.epoch,
            length: record.sliced.map_or(record.blocks.length(), |sliced| sliced.length),
            is_sliced: record.sliced.is_some(),
        })
    }
}
