//! How many connections to one origin server are open at a time, in use or idle.
//! Never one more than allowed: who opens another one waits until the last byte
//! of an old one is gone. Which one has to go is decided in `opening`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One open connection, or the right to open one; dropped once it is closed or
/// became a tunnel.
pub(super) type OpenConnection = OwnedSemaphorePermit;

/// The connections to one origin server, counted.
#[derive(Debug)]
pub(super) struct OpenConnections {
    free: Arc<Semaphore>,
    #[cfg(test)]
    most: usize,
    wanted: AtomicUsize,
}

impl OpenConnections {
    /// None yet, and `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            #[cfg(test)]
            most,
            wanted: AtomicUsize::new(0),
        }
    }

    /// The right to open one, if there is room now.
    pub(super) fn try_open(&self) -> Option<OpenConnection> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// The right to open one, once there is room, first come first served;
    /// `close_idle` closes one that is not in use. Waits without a deadline. Cancel
    /// safe.
    pub(super) async fn open(&self, close_idle: impl FnOnce()) -> Option<OpenConnection> {
        let wanted = Wanted::new(&self.wanted);
        // Not before it is wanted: a connection that becomes idle meanwhile is either
        // found here, or whoever puts it away finds that.
        close_idle();
        let open = Arc::clone(&self.free).acquire_owned().await.ok();
        drop(wanted);
        open
    }

    /// True if somebody waits for one to be closed.
    pub(super) fn is_one_wanted(&self) -> bool {
        self.wanted.load(Relaxed) > 0
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.most - self.free.available_permits()
    }
}

struct Wanted<'a>(&'a AtomicUsize);

impl<'a> Wanted<'a> {
    fn new(wanted: &'a AtomicUsize) -> Self {
        wanted.fetch_add(1, Relaxed);
        Self(wanted)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn another_one_is_opened_once_one_is_closed() {
        let open = OpenConnections::new(1);
        let mut first = open.try_open();
        assert!(first.is_some() && open.try_open().is_none());
        let mut waiting = Box::pin(open.open(|| assert!(open.is_one_wanted())));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first.take());
        let second = waiting.now_or_never().unwrap();
        assert!(second.is_some() && !open.is_one_wanted() && open.count() == 1);
    }

    #[tokio::test]
    async fn who_gives_up_wants_none() {
        let open = OpenConnections::new(1);
        let _first = open.try_open();
        let mut waiting = Box::pin(open.open(|| {}));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert!(!open.is_one_wanted());
    }
}
