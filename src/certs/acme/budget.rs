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

/// With so many names those go whose failures no longer count.
const SWEPT_AT: usize = 1024;

/// The orders that failed lately, by name.
#[derive(Debug, Default)]
pub(super) struct FailedOrders(Mutex<HashMap<String, Failed>>);

#[derive(Debug, Default)]
struct Failed {
    /// The last one first.
    times: VecDeque<Instant>,
    /// Why the last one failed.
    last: String,
}

/// An order has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// For which name.
    pub(super) name: String,
    /// How long.
    pub(super) time: Duration,
    /// Why the last one failed.
    pub(super) last: String,
}

impl FailedOrders {
    /// Notes that an order for these names failed, and why.
    pub(super) fn note(&self, names: &[String], now: Instant, why: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SWEPT_AT {
            let is_recent = |last: &Instant| now.saturating_duration_since(*last) < WITHIN;
            all.retain(|_, failed| failed.times.front().is_some_and(is_recent));
        }
        for name in names {
            let failed = all.entry(name.clone()).or_default();
            failed.times.truncate(MOST - 1);
            failed.times.push_front(now);
            why.clone_into(&mut failed.last);
        }
    }

    /// How long an order for these names has to wait; `None` if it may be made
    /// now.
    pub(super) fn wait(&self, names: &[String], now: Instant) -> Option<Wait> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |name: &String| {
            let failed = all.get(name)?;
            let oldest = failed.times.get(MOST - 1)?;
            let time = WITHIN.checked_sub(now.saturating_duration_since(*oldest))?;
            (!time.is_zero()).then(|| Wait { name: name.clone(), time, last: failed.last.clone() })
        };
        names.iter().filter_map(wait).max_by_key(|wait| wait.time)
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
        let wait = |seconds| {
            let (name, last) = ("a.test".to_owned(), "why".to_owned());
            Some(Wait { name, time: Duration::from_secs(seconds), last })
        };
        let (one, both) = (["a.test".to_owned()], ["b.test".to_owned(), "a.test".to_owned()]);
        for at in 0..5 {
            assert_eq!(failed.wait(&both, minute(at)), None);
            failed.note(&one, minute(at), "why");
        }
        assert_eq!(failed.wait(&both, minute(10)), wait(50 * 60));
        assert_eq!(failed.wait(&both[..1], minute(10)), None);
        assert_eq!(failed.wait(&one, minute(60)), None);
        failed.note(&one, minute(60), "why");
        assert_eq!(failed.wait(&one, minute(60)), wait(60));
    }
}
