//! How many connections to one origin server are open at a time, in use or idle.
//! Never one more than allowed: who opens another one waits until the last byte
//! of an old one is gone, or until one that is open will do. Which one has to go,
//! and which one will do, is decided in `opening`.

use std::pin::pin;
use std::sync::Arc;
// Who waits is counted before it looks, and what is left is left before it is looked
// for who waits: one of both sees the other.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::select;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// One open connection, or the right to open one; dropped once it is closed or
/// became a tunnel.
pub(super) type OpenConnection = OwnedSemaphorePermit;

/// The connections to one origin server, counted.
#[derive(Debug)]
pub(super) struct OpenConnections {
    free: Arc<Semaphore>,
    #[cfg(test)]
    most: usize,
    demand: Arc<Demand>,
}

/// Those who wait for a connection.
#[derive(Debug, Default)]
pub(super) struct Demand {
    waiting: AtomicUsize,
    left: Notify,
}

impl Demand {
    /// True if somebody waits.
    pub(super) fn is_any(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// A connection is left, which one of those who wait may use or close.
    pub(super) fn connection_left(&self) {
        if self.is_any() {
            self.left.notify_one();
        }
    }

    /// Room for a request is left on a connection, which may not suit all who wait.
    pub(super) fn stream_left(&self) {
        if self.is_any() {
            self.left.notify_waiters();
        }
    }
}

impl OpenConnections {
    /// None yet, and `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            #[cfg(test)]
            most,
            demand: Arc::default(),
        }
    }

    /// Who is to be told what is left.
    pub(super) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// The right to open one, if there is room now.
    pub(super) fn try_open(&self) -> Option<OpenConnection> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// The right to open one, once there is room, first come first served; or what
    /// `look` finds instead, at once or when something is left. Waits without a
    /// deadline. Cancel safe.
    pub(super) async fn open<T>(
        &self,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<Result<OpenConnection, T>> {
        let _waiting = Waiting::new(&self.demand.waiting);
        let mut opening = pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            let mut left = pin!(self.demand.left.notified());
            // Before it looks: what is left meanwhile is either found, or told of.
            left.as_mut().enable();
            if let Some(found) = look() {
                return Some(Err(found));
            }
            select! {
                biased;
                open = &mut opening => return open.ok().map(Ok),
                () = left => {}
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.most - self.free.available_permits()
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    fn nothing() -> Option<()> {
        None
    }

    #[tokio::test]
    async fn another_one_is_opened_once_one_is_closed() {
        let open = OpenConnections::new(1);
        let mut first = open.try_open();
        assert!(first.is_some() && open.try_open().is_none());
        let mut waiting = Box::pin(open.open(nothing));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first.take());
        let second = waiting.now_or_never().unwrap();
        assert!(matches!(second, Some(Ok(_))) && open.count() == 1);
    }

    #[tokio::test]
    async fn who_waits_looks_again_when_something_is_left() {
        let open = OpenConnections::new(1);
        let _first = open.try_open();
        let demand = Arc::clone(open.demand());
        for leave in [Demand::connection_left, Demand::stream_left] {
            let (left, mut looked) = (Cell::new(false), 0);
            let mut waiting = Box::pin(open.open(|| {
                looked += 1;
                left.get().then_some(looked)
            }));
            assert!(waiting.as_mut().now_or_never().is_none());
            left.set(true);
            assert!(waiting.as_mut().now_or_never().is_none(), "nobody told");
            leave(&demand);
            assert!(matches!(waiting.now_or_never(), Some(Some(Err(2)))));
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_wakes_nobody_later() {
        let open = OpenConnections::new(1);
        let _first = open.try_open();
        let mut given_up = Box::pin(open.open(nothing));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        open.demand().connection_left();
        let mut looked = 0;
        let mut waiting = Box::pin(open.open(|| {
            looked += 1;
            nothing()
        }));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert_eq!(looked, 1);
    }
}
