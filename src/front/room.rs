//! How much a client is given ahead: nothing more before it has taken what it did not take
//! at once or, over HTTP/1, what is much. So what waits for a slow one is no more than
//! that.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

/// More than so many bytes are written before a client of HTTP/1 is given more: less than
/// most pieces of long content have.
const MUCH: usize = 4 << 10;

/// Whether a client has room, which the task of its connection tells.
#[derive(Debug, Default)]
pub(super) struct Room {
    is_full: AtomicBool,
    /// Who waits: the connection itself over HTTP/1, streams over HTTP/2.
    waiting: Mutex<Waiting>,
}

type Waiting = SmallVec<[Waker; 1]>;

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
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Waits until there is room.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_full.load(Relaxed) {
            let mut waiting = self.waiting();
            // Who made room before that did not see who waits.
            if self.is_full.load(Relaxed) {
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn all_who_wait_for_room_are_woken_once() {
        let room = Room::default();
        room.blocked();
        let woken: [Arc<Woken>; 2] = Default::default();
        let wakers = woken.clone().map(Waker::from);
        for waker in wakers.iter().chain(&wakers) {
            assert!(room.poll(&Context::from_waker(waker)).is_pending());
        }
        room.flushed();
        room.flushed();
        assert_eq!(woken.map(|woken| woken.0.load(Relaxed)), [1, 1]);
        assert!(room.poll(&Context::from_waker(&wakers[0])).is_ready());
    }
}
