//! How many orders may fail: a name that cannot be proven is not tried again
//! and again at the expense of the server, and of the limit it sets.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many orders for a name may fail
const MOST: usize = 5;
/// within this time.
const WITHIN: Duration = Duration::from_secs(3600);

/// The orders that failed lately, by name.
#[derive(Debug, Default)]
pub(super) struct FailedOrders(Mutex<HashMap<String, VecDeque<Instant>>>);

impl FailedOrders {
    /// Notes that an order for these names failed.
    pub(super) fn note(&self, names: &[String], now: Instant) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let times = failed.entry(name.clone()).or_default();
            times.truncate(MOST - 1);
            times.push_front(now);
        }
    }

    /// How long an order for these names has to wait, and for which of them;
    /// `None` if it may be made now.
    pub(super) fn wait<'a>(&self, names: &'a [String], now: Instant) -> Option<(&'a str, Duration)> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |name: &str| {
            let oldest = failed.get(name)?.get(MOST - 1)?;
            WITHIN.checked_sub(now.saturating_duration_since(*oldest)).filter(|wait| !wait.is_zero())
        };
        names.iter().filter_map(|name| Some((name.as_str(), wait(name)?))).max_by_key(|(_, wait)| *wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    #[test]
    fn five_an_hour_may_fail() {
        let (failed, start) = (FailedOrders::default(), SystemClock.now());
        let minute = |minute: u64| start + Duration::from_secs(60 * minute);
        let (one, both) = (["a.test".to_owned()], ["b.test".to_owned(), "a.test".to_owned()]);
        for at in 0..5 {
            assert_eq!(failed.wait(&both, minute(at)), None);
            failed.note(&one, minute(at));
        }
        assert_eq!(failed.wait(&both, minute(10)), Some(("a.test", Duration::from_secs(50 * 60))));
        assert_eq!(failed.wait(&both[..1], minute(10)), None);
        assert_eq!(failed.wait(&one, minute(60)), None);
        failed.note(&one, minute(60));
        assert_eq!(failed.wait(&one, minute(60)), Some(("a.test", Duration::from_secs(60))));
    }
}
