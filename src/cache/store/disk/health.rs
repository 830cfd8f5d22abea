//! What a failing disk costs: nothing but its use. Failures are counted, told
//! once a minute, and the disk is let alone for a while after each.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::directory::is_of_left;
use crate::base::Clock;
use crate::telemetry::Metrics;

/// How long after a failure nothing of the kind is tried.
const REST: Duration = Duration::from_secs(1);

/// How often failures are told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How the disk does in one respect: reading or writing.
#[derive(Debug)]
pub(super) struct Health {
    doing: &'static str,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    rests_until: Option<Instant>,
    quiet_until: Option<Instant>,
    untold: u64,
}

impl Health {
    /// Of a disk that is well.
    pub(super) fn new(doing: &'static str, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { doing, state: Mutex::default(), clock, metrics }
    }

    /// True while the disk is let alone.
    pub(super) fn rests(&self) -> bool {
        let now = self.clock.now();
        self.state().rests_until.is_some_and(|until| now < until)
    }

    /// The disk failed, unless it was left to another process.
    pub(super) fn failed(&self, error: &io::Error) {
        if !is_of_left(error) {
            self.note(error);
        }
    }

    /// The disk did not answer in time.
    pub(super) fn timed_out(&self, waited: Duration) {
        self.note(&format_args!("no answer within {waited:?}"));
    }

    fn note(&self, reason: &dyn Display) {
        self.metrics.disk_errors.increment();
        let now = self.clock.now();
        let mut state = self.state();
        state.rests_until = Some(now + REST);
        if state.quiet_until.is_some_and(|until| now < until) {
            state.untold += 1;
            return;
        }
        state.quiet_until = Some(now + TELL_EVERY);
        let before = std::mem::take(&mut state.untold);
        drop(state);
        tracing::warn!(error = %reason, before, "{} the disk cache failed; requests go on without", self.doing);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::base::ManualClock;

    #[test]
    fn a_disk_that_failed_is_tried_again() {
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        let metrics = Arc::new(Metrics::default());
        let health = Health::new("writing", Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&metrics));
        assert!(!health.rests());
        health.failed(&io::Error::from(io::ErrorKind::StorageFull));
        assert!(health.rests());
        clock.advance(REST);
        assert!(!health.rests());
        health.timed_out(REST);
        assert!(health.rests());
        assert_eq!(metrics.disk_errors.value(), 2);
        assert_eq!(health.state().untold, 1);
        clock.advance(TELL_EVERY);
        health.timed_out(REST);
        assert_eq!(health.state().untold, 0);
    }
}
