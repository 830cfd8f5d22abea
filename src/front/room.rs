//! How much an HTTP/1 client is given ahead: nothing more before it has taken what is
//! much, or what it did not take at once. So what waits for a slow one is no more than
//! that.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// More than so many bytes are written before a client is given more: less than most pieces of
/// long content have.
const MUCH: usize = 4 << 10;

/// Whether a client has room, which the task of its connection asks and tells.
#[derive(Debug, Default)]
pub(super) struct Room {
    is_full: AtomicBool,
    waiting: AtomicWaker,
}

impl Room {
    /// The client was given so many bytes, which are not written yet.
    pub(super) fn gave(&self, bytes: usize) {
        if bytes > MUCH {
            self.is_full.store(true, Relaxed);
        }
    }

    /// It does not take at once what is written.
    pub(super) fn blocked(&self) {
        self.is_full.store(true, Relaxed);
    }

    /// All that it was given has left.
    pub(super) fn flushed(&self) {
        if self.is_full.load(Relaxed) {
            self.is_full.store(false, Relaxed);
            self.waiting.wake();
        }
    }

    /// Waits until there is room.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_full.load(Relaxed) {
            // What changes it is the task that waits, or it would have to look again.
            self.waiting.register(context.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
