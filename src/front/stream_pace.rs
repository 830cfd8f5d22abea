//! Keeps the response of an HTTP/2 stream moving: one whose client opens no
//! window for it is reset, as it would else hold what it was given for as long
//! as the connection lives.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::tunnel::Sending;
use crate::base::Clock;
use crate::config::model::Limits;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;

/// What a stream is given at once, in bytes: whether the client takes it is seen
/// in steps of this size.
pub(super) const PIECE: usize = 8 * 1024;

/// The stream does not wait for its client.
const MOVES: u8 = 0;

/// It was given a piece just now, at a time that nobody needs unless it waits.
const GIVEN: u8 = 1;

/// It waits for its client to take that.
const WAITS: u8 = 2;

tokio::task_local! {
    /// The pace of the stream whose future is being polled.
    static CURRENT: Arc<StreamPace>;
}

/// Whether a stream waits for its client.
#[derive(Debug, Default)]
pub(super) struct StreamPace {
    state: AtomicU8,
    /// Set once the stream is a tunnel, which has deadlines of its own.
    tunnel: OnceLock<Sending>,
}

impl StreamPace {
    /// That of the stream whose future is being polled; none in HTTP/1.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// A piece was given to the stream.
    pub(super) fn gave(&self) {
        self.state.store(GIVEN, Relaxed);
    }

    /// The stream asks for more.
    pub(super) fn took(&self) {
        self.state.store(MOVES, Relaxed);
    }

    /// The sending side of the tunnel that the stream becomes.
    pub(super) fn tunnel(&self) -> Sending {
        self.tunnel.get_or_init(Sending::default).clone()
    }
}

/// How long a client may take for a piece: `write_timeout`, or as long as the
/// least rate allows where that is longer.
pub(super) fn longest_wait(limits: &Limits) -> Duration {
    let at_least_rate = match limits.min_rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs(PIECE as u64 / rate),
    };
    limits.write_timeout.max(at_least_rate)
}

pin_project_lite::pin_project! {
    /// The future of a stream, which ends when its client lets it wait too long.
    pub(super) struct KeptMoving<F> {
        #[pin]
        stream: F,
        pace: Arc<StreamPace>,
        clock: Arc<dyn Clock>,
        // When the piece was given that it waits to be taken.
        given: Option<Instant>,
        longest: Duration,
        timer: Option<Pin<Box<Sleep>>>,
        metrics: Arc<Metrics>,
    }
}

impl<F: Future<Output = ()>> KeptMoving<F> {
    pub(super) fn new(stream: F, clock: Arc<dyn Clock>, longest: Duration, metrics: Arc<Metrics>) -> Self {
        Self { stream, pace: Arc::default(), clock, given: None, longest, timer: None, metrics }
    }
}

impl<F: Future<Output = ()>> Future for KeptMoving<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if CURRENT.sync_scope(Arc::clone(this.pace), || this.stream.poll(context)).is_ready() {
            return Poll::Ready(());
        }
        match this.pace.state.load(Relaxed) {
            MOVES => *this.given = None,
            GIVEN => {
                this.pace.state.store(WAITS, Relaxed);
                *this.given = Some(this.clock.now());
            }
            _ => {}
        }
        // A timer that was set for an earlier piece is set anew when it fires.
        while let Some(given) = *this.given {
            let until = given + *this.longest;
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            ready!(timer.as_mut().poll(context));
            if this.clock.now() >= until {
                this.metrics.limit(Limit::WriteTimeout);
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemClock;
    use crate::front::pace::test_limits;
    use std::future::poll_fn;

    /// What `steps` does with the pace of its stream, and after how many seconds
    /// the stream ends.
    async fn ended_after<F: Future<Output = ()>>(steps: impl FnOnce(Arc<StreamPace>) -> F) -> u64 {
        let began = SystemClock.now();
        let mut current = None;
        let mut steps = Some(steps);
        let mut running = None;
        let stream = poll_fn(|context| {
            let pace = current.get_or_insert_with(|| StreamPace::current().unwrap());
            let running = running
                .get_or_insert_with(|| Box::pin(steps.take().map(|steps| steps(Arc::clone(pace))).unwrap()));
            running.as_mut().poll(context)
        });
        KeptMoving::new(stream, Arc::new(SystemClock), Duration::from_secs(10), Arc::default()).await;
        (SystemClock.now() - began).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_piece_is_not_taken_ends() {
        let stalled = ended_after(async |pace: Arc<StreamPace>| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            pace.gave();
            std::future::pending::<()>().await;
        });
        assert_eq!(stalled.await, 13);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_for_its_source_does_not() {
        let slow_source = ended_after(async |pace: Arc<StreamPace>| {
            for _ in 0..3 {
                pace.gave();
                tokio::time::sleep(Duration::from_secs(9)).await;
                pace.took();
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        });
        assert_eq!(slow_source.await, 207);
    }

    #[test]
    fn a_slow_client_has_the_time_of_the_least_rate() {
        let mut limits = test_limits();
        assert_eq!(longest_wait(&limits).as_secs(), 20);
        limits.min_rate = 100;
        assert_eq!(longest_wait(&limits).as_secs(), 81);
        limits.min_rate = 0;
        assert_eq!(longest_wait(&limits), limits.write_timeout);
    }
}
