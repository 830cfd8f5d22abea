//! When a certificate is renewed, and when a failed order is tried again: pure
//! functions of its lifetime and of chance.

use std::time::{Duration, SystemTime};

use super::certificate::Validity;
use crate::base::Backoff;

/// How long a failed order waits for the next try.
pub(super) const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(60), most: Duration::from_secs(24 * 3600) };

/// No wait that a server asks for is longer.
pub(super) const MOST_ASKED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Lifetimes up to this one count as short.
const SHORT_LIFETIME: Duration = Duration::from_secs(10 * 24 * 3600);

/// The part of the lifetime over which renewals spread.
const SPREAD: f64 = 0.05;

/// How soon an ACME server is asked again for its suggestion at the most often,
/// and how late at the latest (RFC 9773 s4.3.2).
const SOONEST_QUESTION: Duration = Duration::from_secs(60);
const LATEST_QUESTION: Duration = Duration::from_secs(24 * 3600);

/// When it is asked again after it gave no answer.
pub(super) const AFTER_NO_SUGGESTION: Duration = Duration::from_secs(3600);

/// The time within which an ACME server suggests to renew (RFC 9773 s4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// From here
    pub(super) start: SystemTime,
    /// to here.
    pub(super) end: SystemTime,
}

impl Window {
    /// A moment in it, by `chance` of the unit interval; it may be over.
    pub(super) fn pick(&self, chance: f64) -> SystemTime {
        let length = self.end.duration_since(self.start).unwrap_or_default();
        self.start + length.mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// How long to wait with the next question where the server wants this.
pub(super) fn until_question(asked: Duration) -> Duration {
    asked.clamp(SOONEST_QUESTION, LATEST_QUESTION)
}

/// When to renew: at two thirds of the lifetime, at half of a short one, and up
/// to a twentieth of it earlier by `chance`, of the unit interval.
pub(super) fn due(validity: &Validity, chance: f64) -> SystemTime {
    let lifetime = validity.lifetime();
    let part = if lifetime < SHORT_LIFETIME { 1.0 / 2.0 } else { 2.0 / 3.0 };
    validity.not_before + lifetime.mul_f64(part - SPREAD * chance.clamp(0.0, 1.0))
}

/// No suggestion is waited for longer: a tenth of the lifetime is left for tries that
/// fail.
pub(super) fn latest(validity: &Validity) -> SystemTime {
    validity.not_after - validity.lifetime() / 10
}

/// How long to wait after `failures` failures in a row, where the certificate in use
/// lasts for `left`, and the server asked for `asked` (RFC 8555 s6.6).
pub(super) fn wait(
    backoff: &Backoff,
    failures: u32,
    (left, asked): (Option<Duration>, Option<Duration>),
    chance: f64,
) -> Duration {
    let wait = backoff.wait(failures, chance);
    let wait = left.map_or(wait, |left| wait.min(backoff.first.max(left / 8)));
    wait.max(asked.unwrap_or_default().min(MOST_ASKED_FOR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn validity(start: u64, lifetime: u64) -> Validity {
        let not_before = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
        Validity { not_before, not_after: not_before + Duration::from_secs(lifetime) }
    }

    fn day_of_renewal(lifetime_days: u64) -> f64 {
        let validity = validity(0, lifetime_days * DAY);
        let due = due(&validity, 0.0).duration_since(validity.not_before).unwrap();
        due.as_secs_f64() / DAY as f64
    }

    #[test]
    fn long_ones_at_two_thirds_short_ones_at_half() {
        assert!((day_of_renewal(90) - 60.0).abs() < 0.01);
        assert!((day_of_renewal(45) - 30.0).abs() < 0.01);
        assert!((day_of_renewal(6) - 3.0).abs() < 0.01);
    }

    /// Of 160 hours, all but so many of which are over.
    #[test]
    fn what_ends_soon_is_tried_for_more_often() {
        for (left, minutes) in [(Some(80), 600), (Some(8), 60), (Some(1), 7), (Some(0), 1), (None, 24 * 60)] {
            let left = left.map(|hours| Duration::from_secs(3600 * hours));
            let wait_for = |asked| wait(&AFTER_FAILURE, 100, (left, asked), 0.0).as_secs();
            assert_eq!(wait_for(None) / 60, minutes, "{left:?}");
            assert_eq!(wait_for(Some(Duration::from_secs(2 * DAY))), 2 * DAY);
        }
    }

    proptest! {
        #[test]
        fn renewal_falls_within_the_lifetime(
            start in 0..4_000_000_000_u64, lifetime in 60..20 * 366 * DAY, chance in 0.0..1.0_f64,
        ) {
            let validity = validity(start, lifetime);
            let due = due(&validity, chance);
            prop_assert!(due > validity.not_before && due < validity.not_after);
            let used = due.duration_since(validity.not_before).unwrap().as_secs_f64() / lifetime as f64;
            prop_assert!((0.44..=0.667).contains(&used), "{used}");
        }

        #[test]
        fn a_moment_of_the_window_is_picked(start in 0..4_000_000_000_u64, length in 0..30 * DAY, chance in 0.0..1.0_f64) {
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
            let window = Window { start, end: start + Duration::from_secs(length) };
            prop_assert!((window.start..=window.end).contains(&window.pick(chance)));
        }

        #[test]
        fn failures_wait_a_minute_to_a_day(failures in 1..1000_u32, chance in 0.0..1.0_f64) {
            let wait = wait(&AFTER_FAILURE, failures, (None, None), chance);
            prop_assert!(wait >= Duration::from_secs(45) && wait <= Duration::from_secs(DAY));
            let next = AFTER_FAILURE.wait(failures + 1, 0.0);
            prop_assert!(next >= AFTER_FAILURE.wait(failures, 0.0));
        }

        #[test]
        fn the_server_can_only_ask_for_more(failures in 1..20_u32, asked in any::<u64>()) {
            let asked = Duration::from_secs(asked);
            let wait = wait(&AFTER_FAILURE, failures, (None, Some(asked)), 0.0);
            prop_assert!(wait >= AFTER_FAILURE.wait(failures, 0.0));
            prop_assert!(wait >= asked.min(MOST_ASKED_FOR) && wait <= MOST_ASKED_FOR);
        }
    }
}
