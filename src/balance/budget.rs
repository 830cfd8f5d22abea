//! How many retries a pool may make: a share of its requests, so that retries
//! never multiply the load on servers that are in trouble, and a few a second
//! in any case.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Retries a second that nobody has to pay for.
const FREE_PER_SECOND: f64 = 10.0;

/// A retry costs this much, and a request pays its percentage.
const PRICE: u64 = 100;

/// The most that is saved: so many retries.
const MOST_SAVED: u64 = 100 * PRICE;

/// The retry budget of one pool.
#[derive(Debug)]
pub(super) struct RetryBudget {
    percent: u64,
    saved: AtomicU64,
    free: Mutex<Free>,
}

/// A token bucket that holds the free retries of one second.
#[derive(Debug)]
struct Free {
    tokens: f64,
    at: Duration,
}

impl Free {
    fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * FREE_PER_SECOND).min(FREE_PER_SECOND);
        self.at = now;
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

impl RetryBudget {
    /// A hundred requests pay for `percent` retries.
    pub(super) fn new(percent: u32) -> Self {
        let free = Mutex::new(Free { tokens: FREE_PER_SECOND, at: Duration::ZERO });
        Self { percent: percent.into(), saved: AtomicU64::new(0), free }
    }

    /// A request pays its share.
    pub(super) fn pay(&self) {
        // A full purse is not written to: that would be one word shared by all
        // cores on the way of every request.
        if self.saved.load(Relaxed) < MOST_SAVED {
            self.saved.fetch_add(self.percent, Relaxed);
        }
    }

    /// Takes out one retry, at the pool's time `now`. False if there is none.
    pub(super) fn take(&self, now: Duration) -> bool {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).take(now)
            || self.saved.fetch_update(Relaxed, Relaxed, |saved| saved.checked_sub(PRICE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &RetryBudget, now: Duration) -> usize {
        std::iter::repeat_with(|| budget.take(now)).take_while(|taken| *taken).count()
    }

    #[test]
    fn ten_a_second_are_free() {
        let budget = RetryBudget::new(20);
        assert_eq!(taken(&budget, Duration::from_secs(1)), 10);
        assert_eq!(taken(&budget, Duration::from_millis(1_500)), 5);
        assert_eq!(taken(&budget, Duration::from_secs(100)), 10);
    }

    #[test]
    fn requests_pay_for_the_rest() {
        let budget = RetryBudget::new(20);
        (0..50).for_each(|_| budget.pay());
        assert_eq!(taken(&budget, Duration::ZERO), 10 + 10);
        (0..100_000).for_each(|_| budget.pay());
        assert_eq!(taken(&budget, Duration::ZERO), 100, "savings are bounded");
    }
}
