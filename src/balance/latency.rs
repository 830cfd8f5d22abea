//! How long a server takes to answer: a moving average that believes bad news
//! at once and good news slowly (peak EWMA).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long it takes for old news to lose about two thirds of their weight.
const DECAY: Duration = Duration::from_secs(5);

/// Differences below this are noise, and servers that are this fast are alike.
const FLOOR: Duration = Duration::from_millis(1);

/// A failure counts like an answer that took so many times the average: one is a
/// slip, several soon leave nothing for a server that fails fast...
const COST_OF_FAILURE: f64 = 4.0;

/// ... but no longer than this.
const MOST_FOR_FAILURE: f64 = 1.0;

/// Whoever looks at it read the time before the last answer came, by so many
/// milliseconds at most.
const BEHIND: u32 = 60_000;

/// An average and the time it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Average {
    micros: u32,
    /// Milliseconds of the pool's time; wraps after seven weeks.
    at: u32,
}

impl Average {
    /// What is left of it at `now`: a server that is not asked is forgiven.
    fn decayed(self, now: u32) -> f64 {
        f64::from(self.micros) * self.kept(now)
    }

    fn kept(self, now: u32) -> f64 {
        let passed = match now.wrapping_sub(self.at) {
            negative if negative > u32::MAX - BEHIND => 0,
            passed => passed,
        };
        (-f64::from(passed) / 1_000.0 / DECAY.as_secs_f64()).exp()
    }

    fn with(self, sample: Duration, now: u32) -> Self {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        let kept = self.kept(now);
        let average = f64::from(self.micros) * kept + f64::from(sample) * (1.0 - kept);
        Self { micros: sample.max(average as u32), at: now }
    }
}

/// The average of one server. Two answers at the same instant may count as
/// one, which does no harm.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    /// Goes on from `before`.
    pub(super) fn take_over(&self, before: &Self) {
        self.0.store(before.0.load(Relaxed), Relaxed);
    }

    /// Takes an answer into account. `now` is the pool's time.
    pub(super) fn observe(&self, sample: Duration, now: Duration) {
        let average = self.load().with(sample, millis(now));
        self.0.store(u64::from(average.at) << 32 | u64::from(average.micros), Relaxed);
    }

    /// Takes a failure into account. `now` is the pool's time.
    pub(super) fn observe_failure(&self, now: Duration) {
        let cost = (self.seconds(now) * COST_OF_FAILURE).min(MOST_FOR_FAILURE);
        self.observe(Duration::from_secs_f64(cost), now);
    }

    /// Forgets all answers: it says nothing of a server that was away since.
    pub(super) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// The average in seconds, not below the floor.
    pub(super) fn seconds(&self, now: Duration) -> f64 {
        (self.load().decayed(millis(now)) / 1e6).max(FLOOR.as_secs_f64())
    }

    /// The average as it was last computed.
    pub(super) fn last(&self) -> Duration {
        Duration::from_micros(self.load().micros.into())
    }

    fn load(&self) -> Average {
        let packed = self.0.load(Relaxed);
        Average { micros: packed as u32, at: (packed >> 32) as u32 }
    }
}

fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn bad_news_count_at_once() {
        let latency = Latency::default();
        latency.observe(MS(10), MS(1));
        latency.observe(MS(500), MS(2));
        assert!((latency.seconds(MS(2)) - 0.5).abs() < 0.001);
    }

    #[test]
    fn good_news_count_slowly() {
        let latency = Latency::default();
        latency.observe(MS(500), MS(0));
        latency.observe(MS(10), MS(100));
        assert!(latency.seconds(MS(100)) > 0.4);
        latency.observe(MS(10), MS(20_000));
        assert!(latency.seconds(MS(20_000)) < 0.03);
    }

    #[test]
    fn one_failure_is_a_slip_and_several_are_not() {
        let latency = Latency::default();
        latency.observe(MS(10), MS(0));
        let after = [0; 6].map(|_| {
            latency.observe_failure(MS(0));
            (latency.seconds(MS(0)) * 1e3).round()
        });
        assert_eq!(after, [40.0, 160.0, 640.0, 1_000.0, 1_000.0, 1_000.0]);
        latency.observe(MS(3_000), MS(0));
        latency.observe_failure(MS(0));
        assert!(latency.seconds(MS(0)) > 2.9, "nor is it good news");
    }

    #[test]
    fn what_is_forgotten_counts_no_more() {
        let latency = Latency::default();
        latency.observe(MS(500), MS(0));
        latency.forget();
        assert!((latency.seconds(MS(0)) - 0.001).abs() < 1e-9);
    }

    #[test]
    fn who_looks_at_it_from_a_little_earlier_sees_the_same() {
        let latency = Latency::default();
        latency.observe(MS(500), MS(1_000));
        assert!((latency.seconds(MS(999)) - 0.5).abs() < 0.001);
        latency.observe(MS(10), MS(999));
        assert!((latency.seconds(MS(1_000)) - 0.5).abs() < 0.001, "good news count slowly");
    }

    #[test]
    fn who_is_not_asked_is_forgiven_down_to_the_floor() {
        let latency = Latency::default();
        latency.observe(MS(500), MS(0));
        assert!(latency.seconds(MS(5_000)) < 0.2);
        assert!((latency.seconds(MS(600_000)) - 0.001).abs() < 1e-9);
    }
}
