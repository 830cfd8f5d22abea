//! Purges: what an operator wants gone, or stale, is so for every request that
//! comes after the answer, in both tiers, whatever is being fetched at that
//! moment, and after a crash. What is named is in `scope`; how it holds while
//! it is carried out is the business of the store.

mod scope;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::spawn_blocking;

use super::Cache;
use super::store::{Order, Progress, Removed, Tier};
use crate::policy::CacheKey;

pub use scope::{InvalidPurge, MOST_NAMED, Purge, purge_targets};

use scope::What;

/// How long an answer waits for the end of a purge, which holds before.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What a purge did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Stored responses that were removed or made stale.
    pub purged: PurgedCounts,
    /// False if that goes on: the counts are those so far. The purge holds all
    /// the same.
    pub complete: bool,
    /// False if a process that is started later might find some of it again.
    pub durable: bool,
    /// Why it is not durable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took so far, in milliseconds.
    pub took_ms: u64,
}

/// How many stored responses a purge removed or made stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurgedCounts {
    /// In memory.
    pub memory: u64,
    /// On the disk.
    pub disk: u64,
}

/// Why nothing was purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// More is under way than can be kept in mind.
    #[error("too many purges under way")]
    TooMany,
    /// It would not hold for the process that takes over.
    #[error("another process is taking over: ask again in a moment")]
    Left,
    /// It ended before its end.
    #[error("the purge was lost")]
    Lost(#[source] tokio::task::JoinError),
}

/// What was done, and whether it is durable.
struct Done {
    counts: PurgedCounts,
    complete: bool,
    durable: io::Result<()>,
}

/// What is named, fit for a log: a query may have a secret.
fn without_query(named: &str) -> String {
    named.split_once('?').map_or_else(|| named.to_owned(), |(path, _)| format!("{path}?..."))
}

impl Cache {
    /// Purges, and answers when that holds for every request from then on, after
    /// ten seconds at most even if not everything is removed by then. Dropping
    /// the answer does not stop the purge.
    pub async fn purge(self: &Arc<Self>, purge: Purge) -> Result<Purged, PurgeError> {
        let begun = self.clock.now();
        let (kind, soft, named) = (purge.kind(), purge.soft, without_query(&purge.to_string()));
        let cache = Arc::clone(self);
        let done = self.tasks.spawn(async move { cache.carry_out(purge).await }).await;
        let Done { counts, complete, durable } = done.map_err(PurgeError::Lost)??;
        self.metrics.purge(kind);
        let took = self.clock.now().saturating_duration_since(begun);
        let reason = durable.err().map(|error| format!("the disk cache failed: {error}"));
        let purged = Purged {
            purged: counts,
            complete,
            durable: reason.is_none(),
            reason,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let (memory, disk, durable) = (counts.memory, counts.disk, purged.durable);
        tracing::info!(kind = kind.as_str(), named, soft, memory, disk, complete, durable, "purged");
        Ok(purged)
    }

    async fn carry_out(self: Arc<Self>, purge: Purge) -> Result<Done, PurgeError> {
        let is_left = self.is_left.read().await;
        if *is_left {
            return Err(PurgeError::Left);
        }
        match (purge.what, purge.soft) {
            (What::Everything, false) => self.purge_everything().await,
            (What::Keys(keys), false) => Ok(self.purge_keys(&keys).await),
            (what, soft) => {
                let stale_from = soft.then(|| self.clock.wall());
                self.purge_by_epoch(&what, Order { selectors: what.selectors(), stale_from }).await
            }
        }
    }

    /// It holds from the moment at which it is entered, as every other one; then
    /// nothing has to be gone through.
    async fn purge_everything(self: &Arc<Self>) -> Result<Done, PurgeError> {
        let order = Order { selectors: What::Everything.selectors(), stale_from: None };
        let entered = self.store.enter(order).ok_or(PurgeError::TooMany)?;
        let (epoch, cache) = (entered.epoch, Arc::clone(self));
        let removed = spawn_blocking(move || {
            let removed = cache.clear();
            for tier in [Tier::Memory, Tier::Disk] {
                cache.store.purges().swept(epoch, tier);
            }
            removed
        });
        let removed = removed.await.map_err(PurgeError::Lost)?;
        // So that what is told of the tier is true at once.
        self.store.memory.settle().await;
        let mut done = self.done(vec![removed]);
        // What another purge met that was just going through the tiers.
        let mut progress = *entered.progress.borrow();
        done.counts.memory += progress.of(Tier::Memory).responses;
        done.counts.disk += progress.of(Tier::Disk).responses;
        Ok(done)
    }

    async fn purge_keys(&self, keys: &[CacheKey]) -> Done {
        let mut removed = Vec::with_capacity(keys.len());
        for key in keys {
            removed.push(self.store.invalidate(key).await);
            self.fills.close(key);
        }
        self.done(removed)
    }

    /// What is named is covered from the moment at which the purge is entered;
    /// then the tiers are gone through.
    async fn purge_by_epoch(self: &Arc<Self>, what: &What, order: Order) -> Result<Done, PurgeError> {
        let mut entered = self.store.enter(order.clone()).ok_or(PurgeError::TooMany)?;
        let epoch = entered.epoch;
        let purges = self.store.purges();
        self.fills.close_where(|key, opened| match opened {
            Some(opened) => purges.covers(key, Some(&opened.head), opened.since.epoch()),
            None => purges.covers(key, None, epoch - 1),
        });
        let durable = if let What::Keys(keys) = what {
            self.store.sweep_keys(epoch, keys).await
        } else {
            let cache = Arc::clone(self);
            self.tasks.spawn(async move { cache.store.sweep_memory(epoch).await });
            self.store.note(epoch, order).await
        };
        let complete = entered.progress.wait_for(Progress::is_complete);
        // A purge that has left is complete.
        let _ = tokio::time::timeout(ANSWER_WAIT, complete).await;
        let mut progress = *entered.progress.borrow();
        let counts = PurgedCounts {
            memory: progress.of(Tier::Memory).responses,
            disk: progress.of(Tier::Disk).responses,
        };
        Ok(Done { counts, complete: progress.is_complete(), durable })
    }

    fn done(&self, removed: Vec<Removed>) -> Done {
        let mut done = Done { counts: PurgedCounts::default(), complete: true, durable: Ok(()) };
        for Removed { memory, disk } in removed {
            done.counts.memory += memory;
            match disk {
                Ok(records) => done.counts.disk += records,
                Err(error) => done.durable = Err(error),
            }
        }
        self.metrics.purged.add(done.counts.memory + done.counts.disk);
        done
    }
}
