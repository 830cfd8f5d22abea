//! How long a stream waits for its client to take a piece of a response: one whose
//! client opens no window for it is reset, as it would else hold what it was given for
//! as long as the connection lives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::base::Clock;
use crate::config::model::Limits;
use crate::front::observe::PIECE;

/// The patience with one client, at one piece after the other.
pub(super) struct Patience {
    clock: Arc<dyn Clock>,
    longest: Duration,
    /// Since when the client is waited for, if it is.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// A client may take `write_timeout` for a piece, or as long as the least rate
    /// allows where that is longer.
    pub(super) fn new(clock: Arc<dyn Clock>, limits: &Limits) -> Self {
        let at_least_rate = match limits.min_rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(PIECE as u64 / rate),
        };
        Self { clock, longest: limits.write_timeout.max(at_least_rate), since: None, timer: None }
    }

    /// The client is waited for: ready once that has lasted too long.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = *self.since.get_or_insert_with(|| self.clock.now()) + self.longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(context));
            if self.clock.now() >= until {
                return Poll::Ready(());
            }
            // It was set for an earlier piece.
            timer.as_mut().reset(until);
        }
    }

    /// The client has taken what it was waited for.
    pub(super) fn renew(&mut self) {
        self.since = None;
    }
}

impl Clone for Patience {
    /// That with another stream.
    fn clone(&self) -> Self {
        Self { clock: Arc::clone(&self.clock), longest: self.longest, since: None, timer: None }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::base::SystemClock;
    use crate::front::pace::test_limits;

    #[tokio::test(start_paused = true)]
    async fn each_piece_is_waited_for_as_long() {
        let mut limits = test_limits();
        limits.write_timeout = Duration::from_secs(10);
        limits.min_rate = 0;
        let mut patience = Patience::new(Arc::new(SystemClock), &limits);
        for _ in 0..3 {
            let wait = poll_fn(|context| patience.poll_end(context));
            assert!(tokio::time::timeout(Duration::from_secs(9), wait).await.is_err());
            patience.renew();
            // The source is slow, and nobody waits for the client meanwhile.
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let began = SystemClock.now();
        poll_fn(|context| patience.poll_end(context)).await;
        assert_eq!((SystemClock.now() - began).as_secs(), 10);
    }

    #[test]
    fn a_slow_client_has_the_time_of_the_least_rate() {
        let mut limits = test_limits();
        let longest = |limits: &Limits| Patience::new(Arc::new(SystemClock), limits).longest;
        assert_eq!(longest(&limits).as_secs(), 20);
        limits.min_rate = 100;
        assert_eq!(longest(&limits).as_secs(), 81);
        limits.min_rate = 0;
        assert_eq!(longest(&limits), limits.write_timeout);
    }
}
