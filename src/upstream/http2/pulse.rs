//! What can be told of an HTTP/2 connection without asking the server: since when
//! nobody uses it, and since when the server has owed a word to those who do.
//! Whether that is too long is decided by whoever looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::Clock;
use crate::upstream::stream::Traffic;

/// It is in use, or nothing is owed.
const NEVER: u64 = u64::MAX;

/// The two times, in milliseconds from `opened`.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    opened: Instant,
    idle_since: AtomicU64,
    /// When the first request was sent that the server has said nothing since.
    asked_at: AtomicU64,
    traffic: Arc<Traffic>,
}

impl Pulse {
    /// That of a connection on which nothing was asked yet; `traffic` notes what
    /// comes over it.
    pub(super) fn new(clock: Arc<dyn Clock>, traffic: Arc<Traffic>) -> Self {
        let opened = clock.now();
        Self { clock, opened, idle_since: AtomicU64::new(0), asked_at: AtomicU64::new(NEVER), traffic }
    }

    /// A request is sent.
    pub(super) fn asked(&self) {
        self.idle_since.store(NEVER, Relaxed);
        let has_spoken = self.traffic.take_received();
        if has_spoken || self.asked_at.load(Relaxed) == NEVER {
            self.asked_at.store(self.now(), Relaxed);
        }
    }

    /// No request is left.
    pub(super) fn is_left(&self) {
        self.idle_since.store(self.now(), Relaxed);
        self.asked_at.store(NEVER, Relaxed);
    }

    /// For how long no request has been on it; `None` while there is one.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.since(&self.idle_since)
    }

    /// For how long the server has said nothing though it was asked.
    pub(super) fn silent_for(&self) -> Duration {
        let owed = if self.traffic.has_received() { None } else { self.since(&self.asked_at) };
        owed.unwrap_or_default()
    }

    fn since(&self, time: &AtomicU64) -> Option<Duration> {
        let time = time.load(Relaxed);
        (time != NEVER).then(|| Duration::from_millis(self.now().saturating_sub(time)))
    }

    fn now(&self) -> u64 {
        let passed = self.clock.now().saturating_duration_since(self.opened);
        u64::try_from(passed.as_millis()).unwrap_or(NEVER - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::base::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn pulse() -> (Arc<ManualClock>, Arc<Traffic>, Pulse) {
        let (clock, traffic) = (Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH)), Arc::default());
        let pulse = Pulse::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&traffic));
        (clock, traffic, pulse)
    }

    #[test]
    fn it_is_idle_from_its_last_request_on() {
        let (clock, _, pulse) = pulse();
        clock.advance(SECOND);
        assert_eq!(pulse.idle_for(), Some(SECOND), "as long as there was none");
        pulse.asked();
        clock.advance(SECOND);
        assert_eq!(pulse.idle_for(), None);
        pulse.is_left();
        clock.advance(2 * SECOND);
        assert_eq!((pulse.idle_for(), pulse.silent_for()), (Some(2 * SECOND), Duration::ZERO));
    }

    #[test]
    fn the_server_owes_a_word_to_the_first_that_asked_since_it_spoke() {
        let (clock, traffic, pulse) = pulse();
        pulse.asked();
        clock.advance(SECOND);
        pulse.asked();
        clock.advance(SECOND);
        assert_eq!(pulse.silent_for(), 2 * SECOND);
        traffic.note_received();
        clock.advance(SECOND);
        assert_eq!(pulse.silent_for(), Duration::ZERO, "it may think as long as it likes");
        pulse.asked();
        clock.advance(SECOND);
        assert_eq!(pulse.silent_for(), SECOND);
    }
}
