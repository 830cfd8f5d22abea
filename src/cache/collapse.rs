//! Which fills are running, by key, and who leads or follows them. No lock is
//! held while anybody waits.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, Weak};

use foldhash::fast::RandomState;
use http::{HeaderMap, StatusCode};

use super::slices::Audience;
use super::store::{Generation, Sliced, StoredBody};
use super::stream::Stream;
use super::sync::{Mutex, MutexGuard, watch};
use crate::exchange::FetchError;
use crate::policy::{Alike, CacheKey, StoredHead};

/// Locks that share the keys out among themselves.
const SHARDS: usize = 64;

/// The most fills for one key that can be followed at a time: they differ in
/// what Vary names, and no more variants are kept.
const MOST_FILLS: usize = 32;

/// A response that several requests may be answered with.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// Status and fields.
    pub(super) head: Arc<StoredHead>,
    /// The content.
    pub(super) content: OpenedContent,
    /// What an origin server answered with: a 304 where it confirmed what was
    /// stored.
    pub(super) fwd_status: StatusCode,
    /// When it was asked for; held, so that a purge in between is known to all
    /// who are answered with it.
    pub(super) since: Generation,
}

/// The content of a response for several requests.
#[derive(Clone, Debug)]
pub(super) enum OpenedContent {
    /// All of it is there.
    Whole(StoredBody),
    /// It is coming.
    Running(Arc<Stream>),
    /// It is coming slice by slice; who reads it is counted.
    Slices(Sliced, Weak<Audience>),
}

/// What came of a fill, as its followers see it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A response that may answer them too.
    Opened(Opened),
    /// A response for the leader alone.
    Unshared {
        /// Its status.
        status: StatusCode,
        /// True if that lies in the leader's request: to another one the
        /// response may be for all.
        personal: bool,
    },
    /// No response.
    Failed(Arc<FetchError>),
    /// The leader needed none after all.
    GivenUp,
}

/// A request to an origin server that others can wait for.
#[derive(Debug)]
pub(super) struct FillWatch {
    outcome: watch::Sender<Option<Outcome>>,
    /// Who can expect to be answered by it too.
    alike: Alike,
}

impl FillWatch {
    /// Waits for the head of the response. Cancel safe.
    pub(super) async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.subscribe();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // INVARIANT: `self` holds the sender, and the wait is for `Some`.
            Ok(None) | Err(_) => Outcome::GivenUp,
        }
    }
}

/// A request that looks for a fill.
#[derive(Debug)]
pub(super) struct Seeker<'a> {
    pub(super) fields: &'a HeaderMap,
    /// Who can follow it if it leads one.
    pub(super) alike: Alike,
    /// Fills that could not answer it.
    pub(super) refused: &'a [Arc<FillWatch>],
    /// False if the response to it is for nobody else.
    pub(super) may_lead: bool,
}

/// What a request is to the fills of its key.
#[derive(Debug)]
pub(super) enum Role {
    /// It begins a new one.
    Leader(FillGuard),
    /// It waits for this one.
    Follower(Arc<FillWatch>),
    /// Neither.
    Alone,
}

/// The fills that run now and can be followed.
#[derive(Debug)]
pub(super) struct Fills {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

type Shard = HashMap<CacheKey, Vec<Arc<FillWatch>>, RandomState>;

impl Fills {
    /// None yet.
    pub(super) fn new() -> Arc<Self> {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::with_hasher(hasher.clone()))).collect();
        Arc::new(Self { shards, hasher })
    }

    /// Follows a fill of `key` that may answer `seeker`; else leads a new one, if it may.
    pub(super) fn join(self: &Arc<Self>, key: &CacheKey, seeker: Seeker<'_>) -> Role {
        let mut shard = self.shard(key);
        let running = shard.get(key).map_or(&[][..], Vec::as_slice);
        let is_new = |fill: &Arc<FillWatch>| !seeker.refused.iter().any(|other| Arc::ptr_eq(fill, other));
        if let Some(fill) = running.iter().find(|fill| is_new(fill) && fill.alike.has(seeker.fields)) {
            return Role::Follower(Arc::clone(fill));
        }
        if !seeker.may_lead || running.len() >= MOST_FILLS {
            return Role::Alone;
        }
        let fill = Arc::new(FillWatch { outcome: watch::Sender::new(None), alike: seeker.alike });
        shard.entry(key.clone()).or_default().push(Arc::clone(&fill));
        drop(shard);
        Role::Leader(FillGuard { fills: Arc::clone(self), key: key.clone(), fill })
    }

    /// Lets nobody join the fills of `key` any more.
    pub(super) fn close(&self, key: &CacheKey) {
        self.shard(key).remove(key);
    }

    /// Lets nobody join the fills any more that `is_void` says so of, by their
    /// key and, once it came, what is shared.
    pub(super) fn close_where(&self, is_void: impl Fn(&CacheKey, Option<&Opened>) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|key, running| {
                running.retain(|fill| match &*fill.outcome.borrow() {
                    Some(Outcome::Opened(opened)) => !is_void(key, Some(opened)),
                    _ => !is_void(key, None),
                });
                !running.is_empty()
            });
        }
    }

    /// Lets nobody join any fill that runs now.
    pub(super) fn close_all(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// True if none runs.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }

    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash do")]
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leading of a fill. When it is dropped the fill can no longer be joined,
/// and who still waits for its head is let go.
#[derive(Debug)]
pub(super) struct FillGuard {
    fills: Arc<Fills>,
    key: CacheKey,
    fill: Arc<FillWatch>,
}

impl FillGuard {
    /// Tells the followers; only the first time counts.
    pub(super) fn tell(&self, outcome: Outcome) {
        self.fill.outcome.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(outcome);
            first
        });
    }

    /// What its followers know it by.
    pub(super) fn watch(&self) -> Arc<FillWatch> {
        Arc::clone(&self.fill)
    }

    /// True if a follower waits for the head of the response.
    pub(super) fn is_awaited(&self) -> bool {
        self.fill.outcome.receiver_count() > 0
    }

    /// Lets nobody join any more.
    pub(super) fn close(&self) {
        let mut shard = self.fills.shard(&self.key);
        if let Some(running) = shard.get_mut(&self.key) {
            running.retain(|fill| !Arc::ptr_eq(fill, &self.fill));
            if running.is_empty() {
                shard.remove(&self.key);
            }
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        self.close();
        self.tell(Outcome::GivenUp);
    }
}
