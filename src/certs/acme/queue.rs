//! Who orders next: a few at a time, and of those who wait the sites first that
//! clients ask for. Of other sites and of hosts that clients named one each goes in
//! turn, so that neither many sites nor many hosts have the others wait for long.

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
    /// Who had the last turn that was nobody's before.
    was_on_demand: bool,
}

#[derive(Debug)]
struct Waiting {
    is_asked_for: Arc<AtomicBool>,
    is_on_demand: bool,
    begin: oneshot::Sender<Turn>,
}

/// The right to order. When it is dropped, on its way to who waits for it, too,
/// the next one has it.
#[derive(Debug)]
pub(super) struct Turn(Arc<Queue>);

impl Queue {
    /// Waits for a turn; whoever turns out to be asked for goes before others. Cancel
    /// safe.
    pub(super) async fn turn(
        self: &Arc<Self>,
        is_asked_for: &Arc<AtomicBool>,
        is_on_demand: bool,
    ) -> Option<Turn> {
        let begun = {
            let mut state = self.state();
            if state.running < AT_A_TIME {
                state.running += 1;
                return Some(Turn(Arc::clone(self)));
            }
            let (begin, begun) = oneshot::channel();
            state.waiting.push(Waiting { is_asked_for: Arc::clone(is_asked_for), is_on_demand, begin });
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
        let first = |is_next: &dyn Fn(&Waiting) -> bool| state.waiting.iter().position(is_next);
        if let Some(asked_for) = first(&|waiting| waiting.is_asked_for.load(Relaxed)) {
            return Some(state.waiting.remove(asked_for).begin);
        }
        let next = first(&|waiting| waiting.is_on_demand != state.was_on_demand).unwrap_or(0);
        let next = state.waiting.remove(next);
        state.was_on_demand = next.is_on_demand;
        Some(next.begin)
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
            running.push(queue.turn(&plain, false).now_or_never().unwrap());
        }
        let mut first = Box::pin(queue.turn(&plain, false));
        let mut second = Box::pin(queue.turn(&urgent, false));
        let mut third = Box::pin(queue.turn(&plain, false));
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
    async fn sites_and_hosts_take_turns() {
        let queue = Arc::<Queue>::default();
        let (plain, urgent) = (asked(false), asked(true));
        let mut running = Vec::new();
        for _ in 0..AT_A_TIME {
            running.push(queue.turn(&plain, false).now_or_never().unwrap().unwrap());
        }
        let who =
            [("host 1", true), ("host 2", true), ("site 1", false), ("site 2", false), ("urgent", false)];
        let mut waiting: Vec<_> = who
            .map(|(who, is_on_demand)| {
                let is_asked_for = if who == "urgent" { &urgent } else { &plain };
                (who, Box::pin(queue.turn(is_asked_for, is_on_demand)))
            })
            .into();
        assert!(waiting.iter_mut().all(|(_, turn)| turn.as_mut().now_or_never().is_none()));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            running.remove(0);
            waiting.retain_mut(|(who, turn)| match turn.as_mut().now_or_never() {
                Some(turn) => {
                    order.push(*who);
                    running.push(turn.unwrap());
                    false
                }
                None => true,
            });
        }
        assert_eq!(order, ["urgent", "host 1", "site 1", "host 2", "site 2"]);
    }

    #[tokio::test]
    async fn no_turn_is_lost() {
        let queue = Arc::<Queue>::default();
        let plain = asked(false);
        let turns = (0..100).map(async |_| {
            let turn = queue.turn(&plain, false).await;
            tokio::task::yield_now().await;
            assert!(queue.state().running <= AT_A_TIME);
            drop(turn);
        });
        futures_util::future::join_all(turns).await;
        assert_eq!(queue.state().running, 0);
    }
}
