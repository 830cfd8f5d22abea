//! How long a connection to an origin server takes further requests: until it
//! is old or has carried enough of them, so that new servers behind a name or a
//! balancer get their share, and what a server keeps for a connection does not
//! grow without end. Requests that are under way then are not its concern.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::model::ConnectionLife;

/// At most such a part of the age is taken away by chance: connections that
/// were opened together are not to be replaced together.
const SPREAD: f64 = 0.25;

/// What one connection may still be used for.
#[derive(Debug)]
pub(super) struct Lifetime {
    ends: Instant,
    /// `u32::MAX` stands for no bound.
    requests_left: AtomicU32,
}

impl Lifetime {
    /// Of a connection that is opened `now`. `chance` is of the unit interval.
    pub(super) fn new(life: &ConnectionLife, now: Instant, chance: f64) -> Self {
        Self {
            ends: now + spread(life.age, chance),
            requests_left: AtomicU32::new(life.requests.unwrap_or(u32::MAX)),
        }
    }

    /// Takes one request out of those that are left.
    pub(super) fn count(&self) {
        let _ = self.requests_left.fetch_update(Relaxed, Relaxed, |left| match left {
            0 | u32::MAX => None,
            left => Some(left - 1),
        });
    }

    /// True if no further request is to be sent on it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.requests_left.load(Relaxed) == 0 || now >= self.ends
    }
}

fn spread(age: Duration, chance: f64) -> Duration {
    age.mul_f64(1.0 - SPREAD * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Clock, SystemClock};

    fn life(requests: Option<u32>) -> ConnectionLife {
        ConnectionLife { age: Duration::from_secs(3600), requests }
    }

    proptest! {
        #[test]
        fn no_connection_outlives_its_age_nor_loses_more_than_a_quarter(chance in 0.0..1.0) {
            let now = SystemClock.now();
            let lifetime = Lifetime::new(&life(None), now, chance);
            prop_assert!(!lifetime.is_over(now + Duration::from_secs(2699)));
            prop_assert!(lifetime.is_over(now + Duration::from_secs(3600)));
        }

        #[test]
        fn it_carries_exactly_so_many_requests(requests in 1..100u32) {
            let now = SystemClock.now();
            let lifetime = Lifetime::new(&life(Some(requests)), now, 0.0);
            for _ in 0..requests {
                prop_assert!(!lifetime.is_over(now));
                lifetime.count();
            }
            prop_assert!(lifetime.is_over(now));
        }
    }

    #[test]
    fn without_a_bound_requests_do_not_wear_it_out() {
        let now = SystemClock.now();
        let lifetime = Lifetime::new(&life(None), now, 0.0);
        (0..1_000).for_each(|_| lifetime.count());
        assert!(!lifetime.is_over(now));
    }
}
