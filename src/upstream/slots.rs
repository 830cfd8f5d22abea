//! How many requests one origin server is sent at a time, and the bounded
//! queue of those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::model::Queue;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::{Limit, Metrics};

/// What a client is told to wait that found the queue full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What would become of one more request to a server; better ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// It would be sent at once.
    Free,
    /// It would wait for its turn.
    Queue,
    /// It would be refused.
    None,
}

/// The right to send one request.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of one origin server and the queue for them.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
    queue: Queue,
    metrics: Arc<Metrics>,
}

impl Slots {
    /// `most` slots, all free.
    pub(super) fn new(most: usize, queue: Queue, metrics: Arc<Metrics>) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        Self { free, most, waiting: AtomicUsize::new(0), queue, metrics }
    }

    /// A slot, at once or as the queue comes to it, first come first served.
    /// Cancel safe.
    pub(super) async fn take(&self) -> Result<Slot, FetchError> {
        if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(slot);
        }
        self.metrics.limit(Limit::OriginConnections);
        let _place = self.place().ok_or_else(|| self.refusal())?;
        match timeout(self.queue.timeout, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(self.refusal()),
        }
    }

    /// Requests that hold a slot or wait for one.
    pub(super) fn in_use(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits()) + self.waiting.load(Relaxed)
    }

    /// What would become of one more.
    pub(super) fn room(&self) -> Room {
        if self.free.available_permits() > 0 {
            Room::Free
        } else if self.waiting.load(Relaxed) < self.queue.max {
            Room::Queue
        } else {
            Room::None
        }
    }

    /// How long a request waits at most.
    pub(super) fn patience(&self) -> Duration {
        self.queue.timeout
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        (self.waiting.fetch_add(1, Relaxed) < self.queue.max).then_some(place)
    }

    /// Says that there is no room.
    pub(super) fn refusal(&self) -> FetchError {
        self.metrics.limit(Limit::OriginQueue);
        FetchError {
            retry_after: Some(RETRY_AFTER),
            ..FetchError::new(ProxyErrorType::ConnectionLimitReached, RequestProgress::NotSent)
        }
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn slots(most: usize, max: usize, timeout: Duration) -> Slots {
        Slots::new(most, Queue { max, timeout }, Arc::default())
    }

    #[tokio::test]
    async fn who_waits_gets_the_slot_that_becomes_free() {
        let slots = slots(1, 1, Duration::from_secs(60));
        let held = slots.take().await.unwrap();
        let mut waiting = Box::pin(slots.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(slots.in_use(), 2);
        drop(held);
        let _slot = waiting.await.unwrap();
        assert_eq!(slots.in_use(), 1);
    }

    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let slots = slots(1, 3, Duration::from_secs(60));
        let held = slots.take().await.unwrap();
        let mut waiting = [Box::pin(slots.take()), Box::pin(slots.take())];
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let [first, second] = waiting;
        drop(held);
        let mut newcomer = Box::pin(slots.take());
        assert!(newcomer.as_mut().now_or_never().is_none(), "nobody overtakes the queue");
        drop(first.await.unwrap());
        drop(second.now_or_never().unwrap().unwrap());
        let _slot = newcomer.now_or_never().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let slots = slots(1, 1, Duration::from_secs(60));
        let _held = slots.take().await.unwrap();
        let mut waiting = Box::pin(slots.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        let refused = slots.take().await.unwrap_err();
        assert_eq!(refused.kind, ProxyErrorType::ConnectionLimitReached);
        assert_eq!(refused.retry_after, Some(RETRY_AFTER));
        drop(waiting);
        assert_eq!(slots.in_use(), 1, "who leaves the queue makes room");
    }

    #[tokio::test]
    async fn what_would_become_of_one_more_is_known() {
        let slots = slots(1, 1, Duration::from_secs(60));
        assert_eq!(slots.room(), Room::Free);
        let held = slots.take().await.unwrap();
        assert_eq!(slots.room(), Room::Queue);
        let mut waiting = Box::pin(slots.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(slots.room(), Room::None);
        drop((held, waiting));
        assert_eq!(slots.room(), Room::Free);
    }

    #[tokio::test]
    async fn the_queue_has_a_deadline() {
        let slots = slots(1, 1, Duration::ZERO);
        let _held = slots.take().await.unwrap();
        let refused = slots.take().await.unwrap_err();
        assert_eq!(refused.kind, ProxyErrorType::ConnectionLimitReached);
    }
}
