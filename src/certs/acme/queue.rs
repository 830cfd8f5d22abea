//! Who orders next: a few at a time, and of those who wait the sites first that
//! clients ask for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Orders that run at a time; others wait.
const AT_A_TIME: usize = 4;

/// Those who wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    is_asked_for: Arc<AtomicBool>,
    begin: oneshot::Sender<Turn>,
}

/// The right to order. When it is dropped, on its way to who waits for it, too,
/// the next one has it.
#[derive(Debug)]
pub(super) struct Turn(Arc<Queue>);

impl Queue {
    /// Waits for a turn; whoever turns out to be asked for goes before others.
    /// Cancel safe.
    pub(super) async fn turn(self: &Arc<Self>, is_asked_for: &Arc<AtomicBool>) -> Option<Turn> {
        let begun = {
            let mut state = self.state();
            if state.running < AT_A_TIME {
                state.running += 1;
                return Some(Turn(Arc::clone(self)));
            }
            let (begin, begun) = oneshot::channel();
            state.waiting.push(Waiting { is_asked_for: Arc::clone(is_asked_for), begin });
            begun
        };
        begun.await.ok()
    }

    /// Who has the turn that ended; `None` if nobody waits.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.begin.is_closed());
        if state.waiting.is_empty() {
            state.running -= 1;
            return None;
        }
        let asked_for = state.waiting.iter().position(|waiting| waiting.is_asked_for.load(Relaxed));
        Some(state.waiting.remove(asked_for.unwrap_or(0)).begin)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(begin) = self.0.next() {
            // If nobody takes it any more it is dropped, and so passed on.
            let _taken = begin.send(Turn(Arc::clone(&self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn asked(is_asked_for: bool) -> Arc<AtomicBool> {
        Arc::new(AtomicBool::new(is_asked_for))
    }

    #[tokio::test]
    async fn who_is_asked_for_goes_first_and_who_is_gone_is_passed_over() {
        let queue = Arc::<Queue>::default();
        let (plain, urgent) = (asked(false), asked(false));
        let mut running = Vec::new();
        for _ in 0..AT_A_TIME {
            running.push(queue.turn(&plain).now_or_never().unwrap());
        }
        let mut first = Box::pin(queue.turn(&plain));
        let mut second = Box::pin(queue.turn(&urgent));
        let mut third = Box::pin(queue.turn(&plain));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        urgent.store(true, Relaxed);
        running.pop();
        assert!(first.as_mut().now_or_never().is_none());
        // It was given the turn, and is gone before it takes it.
        drop(second);
        running.push(first.now_or_never().unwrap());
        running.clear();
        drop(third);
        let state = queue.state();
        assert_eq!((state.running, state.waiting.len()), (0, 0));
    }

    #[tokio::test]
    async fn no_turn_is_lost() {
        let queue = Arc::<Queue>::default();
        let plain = asked(false);
        let turns = (0..100).map(async |_| {
            let turn = queue.turn(&plain).await;
            tokio::task::yield_now().await;
            assert!(queue.state().running <= AT_A_TIME);
            drop(turn);
        });
        futures_util::future::join_all(turns).await;
        assert_eq!(queue.state().running, 0);
    }
}
