//! Lookups under way, shared by all who ask for the same records at the same
//! time: those are opened and loaded once, however many clients wait for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::fast::RandomState;
use tokio::sync::OnceCell;

use super::name::{KeyId, RecordId};
use super::read::Opened;

/// Locks that share the keys out among themselves.
const SHARDS: usize = 64;

/// The lookups that somebody waits for, or has the records of. There are never
/// more than requests.
#[derive(Debug)]
pub(super) struct Looks {
    shards: Box<[Mutex<Shard>]>,
}

type Shard = HashMap<KeyId, Weak<Look>, RandomState>;

/// One lookup.
#[derive(Debug)]
struct Look {
    /// What was known under the key when it began.
    records: Vec<RecordId>,
    opened: OnceCell<Vec<Opened>>,
}

/// A share in a lookup. While there is one, others can have one, too.
#[derive(Debug)]
pub(super) struct SharedLook {
    looks: Arc<Looks>,
    key: KeyId,
    /// Only dropping takes it.
    look: Option<Arc<Look>>,
}

impl Looks {
    /// None yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect() })
    }

    /// A share in the lookup of exactly these records, which is begun if nobody
    /// has one: what was stored or removed since that one began is not missed.
    pub(super) fn join(self: &Arc<Self>, key: KeyId, records: Vec<RecordId>) -> SharedLook {
        let mut shard = self.shard(key);
        let running = shard.get(&key).and_then(Weak::upgrade).filter(|look| look.records == records);
        let look = running.unwrap_or_else(|| {
            let look = Arc::new(Look { records, opened: OnceCell::new() });
            shard.insert(key, Arc::downgrade(&look));
            look
        });
        drop(shard);
        SharedLook { looks: Arc::clone(self), key, look: Some(look) }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, key: KeyId) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(key.0 % SHARDS as u128).unwrap_or_default();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedLook {
    /// What `open` makes of the records, run for one of those who wait. Cancel
    /// safe: another one takes its place.
    pub(super) async fn opened(&self, open: impl AsyncFnOnce(&[RecordId]) -> Vec<Opened>) -> &[Opened] {
        match &self.look {
            Some(look) => look.opened.get_or_init(|| open(&look.records)).await,
            None => &[],
        }
    }
}

impl Drop for SharedLook {
    fn drop(&mut self) {
        let mut shard = self.looks.shard(self.key);
        let last = self.look.take().and_then(Arc::into_inner);
        if last.is_some() && shard.get(&self.key).is_some_and(|look| look.strong_count() == 0) {
            shard.remove(&self.key);
        }
        // What it holds is let go without the lock.
        drop(shard);
        drop(last);
    }
}
