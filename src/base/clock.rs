//! The only place that reads a clock. Everybody else is told the time, so that
//! tests can tell it too.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Tells the time of day and the monotonic time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day, which can jump: for dates in fields, ages and logs.
    fn wall(&self) -> SystemTime;

    /// Monotonic time: for deadlines and durations.
    fn now(&self) -> Instant;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that moves only when it is told to, both of its times together unless
/// it is to jump.
#[derive(Debug)]
pub struct ManualClock {
    wall: Mutex<SystemTime>,
    now: Instant,
    passed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that stands at `wall`.
    pub fn at(wall: SystemTime) -> Self {
        Self { wall: Mutex::new(wall), now: SystemClock.now(), passed: Mutex::new(Duration::ZERO) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Puts the time of day to `wall`, as an operator or NTP does.
    pub fn put(&self, wall: SystemTime) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) = wall - self.passed();
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) + self.passed()
    }

    fn now(&self) -> Instant {
        self.now + self.passed()
    }
}
