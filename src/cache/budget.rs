//! Bounds the bytes that all running fills hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that running fills may hold before they are stored.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicU64::new(0) })
    }

    /// How much is taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// A share of nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }
}

/// What one fill took; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Share {
    /// Takes `more` bytes; false if there are not so many left.
    pub(super) fn grow(&mut self, more: u64) -> bool {
        let limit = self.budget.limit;
        let fits = |taken: u64| taken.checked_add(more).filter(|sum| *sum <= limit);
        let grown = self.budget.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// Gives `less` bytes back, or what is left.
    pub(super) fn shrink(&mut self, less: u64) {
        let given = less.min(self.bytes);
        self.budget.taken.fetch_sub(given, Ordering::AcqRel);
        self.bytes -= given;
    }

    /// Gives all of it back.
    pub(super) fn release(&mut self) {
        self.shrink(u64::MAX);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow(6));
        assert!(!second.grow(5));
        first.shrink(2);
        assert!(second.grow(5));
        drop(first);
        second.release();
        assert!(second.grow(10));
        assert!(!second.grow(1));
        assert!(!second.grow(u64::MAX));
    }
}
