//! How long a server has said nothing, by one timer for all that is waited for on a
//! connection. Most waits are short: the timer is let run, and set again once it is over,
//! to what is left of the wait of that moment. A thread that takes a connection over from
//! another one begins with a timer of its own, for the other's runtime may end before.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::idle::number_of_thread;
use super::upload::Upload;
use crate::base::{Clock, SystemClock};

/// The silence of one server on one connection, or by one stream of it.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When it began; `None` while nothing is waited for.
    since: Option<Instant>,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    thread: usize,
    sleep: Pin<Box<Sleep>>,
}

impl Silence {
    /// Something came, or nothing is waited for yet.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Ready once it has lasted for `limit`. It begins now, if it did not before.
    pub(super) fn poll_over(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(|| SystemClock.now()) + limit;
        let thread = number_of_thread();
        self.timer.take_if(|timer| timer.thread != thread);
        let new = || Timer { thread, sleep: Box::pin(sleep_until(end)) };
        let sleep = &mut self.timer.get_or_insert_with(new).sleep;
        if sleep.deadline() > end {
            sleep.as_mut().reset(end);
        }
        // However much the task has done: one that did much is else told that time stands.
        while pin!(unconstrained(sleep.as_mut())).poll(context).is_ready() {
            if sleep.deadline() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// The same for a server that is sent what `upload` watches: time in which the client's
    /// content is waited for does not count, nor does what was before some came.
    pub(super) fn poll_over_beside(
        &mut self,
        upload: Option<&Upload>,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            ready!(self.poll_over(limit, context));
            let waited = upload.map_or(Some(limit), Upload::waited_for_server).unwrap_or_default();
            if waited >= limit {
                return Poll::Ready(());
            }
            self.has_lasted(waited);
        }
    }

    /// It has lasted so long by now, and goes on.
    fn has_lasted(&mut self, time: Duration) {
        let now = SystemClock.now();
        self.since = Some(now.checked_sub(time).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn is_over(silence: &mut Silence, limit: Duration) -> bool {
        poll_fn(|context| silence.poll_over(limit, context)).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_all_of_its_time() {
        let mut silence = Silence::default();
        for limit in [10, 10, 3, 60, 10] {
            silence.end();
            assert!(!is_over(&mut silence, limit * SECOND));
            advance((limit - 1) * SECOND).await;
            assert!(!is_over(&mut silence, limit * SECOND), "{limit}");
        }
        advance(SECOND).await;
        assert!(is_over(&mut silence, 10 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_in_time_though_the_timer_runs_from_before() {
        let mut silence = Silence::default();
        assert!(!is_over(&mut silence, 10 * SECOND));
        advance(7 * SECOND).await;
        silence.end();
        let (begun, waited) = (SystemClock.now(), poll_fn(|context| silence.poll_over(10 * SECOND, context)));
        waited.await;
        assert_eq!((SystemClock.now() - begun).as_secs(), 10);
    }

    #[test]
    fn a_runtime_that_has_ended_is_not_asked_for_the_time() {
        let mut silence = Silence::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut on_another_thread = |limit: Duration| {
            let wait = || runtime().block_on(async { is_over(&mut silence, limit) });
            std::thread::scope(|scope| scope.spawn(wait).join().unwrap())
        };
        assert!(!on_another_thread(60 * SECOND));
        assert!(!on_another_thread(60 * SECOND));
        assert!(on_another_thread(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_wait_can_be_behind() {
        let mut silence = Silence::default();
        advance(60 * SECOND).await;
        silence.has_lasted(6 * SECOND);
        assert!(!is_over(&mut silence, 10 * SECOND));
        advance(4 * SECOND).await;
        assert!(is_over(&mut silence, 10 * SECOND));
    }
}
