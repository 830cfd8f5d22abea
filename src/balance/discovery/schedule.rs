//! When a name is looked up again. Pure.

use std::time::Duration;

use crate::base::Backoff;

/// What is held for no time, and what is held for days.
const HELD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// After failures.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };

/// How long an answer of this lifetime is taken for true.
pub(super) fn held(ttl: Duration) -> Duration {
    let (least, most) = HELD;
    ttl.clamp(least, most)
}

/// How long to wait after so many failures in a row, where `chance` is of the unit
/// interval.
pub(super) fn after_failures(failures: u32, chance: f64) -> Duration {
    RETRY.wait(failures, chance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn an_answer_is_held_for_its_lifetime_within_bounds() {
        assert_eq!([0, 1, 60, 300, 86_400].map(|ttl| held(S(ttl))), [1, 1, 60, 300, 300].map(S));
        assert_eq!(held(Duration::MAX), S(300));
    }

    proptest! {
        #[test]
        fn failures_wait_longer_up_to_a_bound(failures in 1..u32::MAX, chance in 0.0..1.0) {
            let wait = after_failures(failures, chance);
            prop_assert!(wait >= Duration::from_millis(750) && wait <= S(30));
            prop_assert!(after_failures(failures.saturating_add(1), chance) >= wait);
        }
    }
}
