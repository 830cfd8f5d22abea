//! How long a stream waits for its client to take a piece of a response: one whose
//! client opens no window for it is reset, as it would else hold what it was given for
//! as long as the connection lives. While others are sent it may have to wait for its turn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::model::Limits;
use crate::front::observe::PIECE;
use crate::front::pace::Pace;

/// A stream waits so many times as long for its turn while the client takes what is sent
/// to it on others.
const TURNS: u32 = 6;

/// The patience with one client, at one piece after the other.
pub(super) struct Patience {
    /// That of the connection.
    pace: Arc<Pace>,
    longest: Duration,
    /// What the client has to take of all while it is waited for so long, in bytes.
    least: u64,
    /// How the client is waited for, if it is.
    wait: Option<Wait>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A wait for one piece to be taken.
struct Wait {
    until: Instant,
    /// What the client had taken of all when this turn began.
    taken: u64,
    turns: u32,
}

impl Patience {
    /// A client may take `write_timeout` for a piece, or as long as the least rate
    /// allows where that is longer.
    pub(super) fn new(pace: Arc<Pace>, limits: &Limits) -> Self {
        let at_least_rate = match limits.min_rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(PIECE as u64 / rate),
        };
        let longest = limits.write_timeout.max(at_least_rate);
        let least = limits.min_rate.saturating_mul(longest.as_secs()).max(1);
        Self { pace, longest, least, wait: None, timer: None }
    }

    /// The client is waited for: ready once that has lasted too long.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let wait = self.wait.get_or_insert_with(|| Wait {
            until: self.pace.clock_now() + self.longest,
            taken: self.pace.taken(),
            turns: 1,
        });
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(wait.until)));
        loop {
            ready!(timer.as_mut().poll(context));
            let now = self.pace.clock_now();
            if now >= wait.until {
                let taken = self.pace.taken();
                if wait.turns == TURNS || taken - wait.taken < self.least {
                    return Poll::Ready(());
                }
                *wait = Wait { until: now + self.longest, taken, turns: wait.turns + 1 };
            }
            // It may have been set for an earlier piece.
            timer.as_mut().reset(wait.until);
        }
    }

    /// The client has taken what it was waited for.
    pub(super) fn renew(&mut self) {
        self.wait = None;
    }
}

impl Clone for Patience {
    /// That with another stream.
    fn clone(&self) -> Self {
        let pace = Arc::clone(&self.pace);
        Self { pace, longest: self.longest, least: self.least, wait: None, timer: None }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::base::{Clock, SystemClock};
    use crate::front::ConnectionProtocol;
    use crate::front::pace::test_limits;

    fn patience(limits: &Limits) -> Patience {
        let pace = Pace::new(Arc::new(SystemClock), ConnectionProtocol::Http2, limits, Box::new(()));
        Patience::new(Arc::new(pace), limits)
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_is_waited_for_as_long() {
        let mut limits = test_limits();
        limits.write_timeout = Duration::from_secs(10);
        limits.min_rate = 0;
        let mut patience = patience(&limits);
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

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_its_turn_while_others_are_taken() {
        let limits = test_limits();
        for (rate, seconds) in [(0, 20), (limits.min_rate / 2, 20), (limits.min_rate * 2, 120)] {
            let mut patience = patience(&limits);
            let pace = Arc::clone(&patience.pace);
            let began = SystemClock.now();
            let others = async {
                loop {
                    pace.wrote(usize::try_from(rate).unwrap());
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::select! {
                () = poll_fn(|context| patience.poll_end(context)) => {}
                () = others => {}
            }
            assert_eq!((SystemClock.now() - began).as_secs(), seconds, "{rate}");
        }
    }

    #[test]
    fn a_slow_client_has_the_time_of_the_least_rate() {
        let mut limits = test_limits();
        let longest = |limits: &Limits| patience(limits).longest;
        assert_eq!(longest(&limits).as_secs(), 20);
        limits.min_rate = 100;
        assert_eq!(longest(&limits).as_secs(), 81);
        limits.min_rate = 0;
        assert_eq!(longest(&limits), limits.write_timeout);
    }
}
