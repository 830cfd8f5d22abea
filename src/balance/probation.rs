//! Where an ejected server stands: left out until its time is over, then on
//! probation, where one request at a time is its trial, until one succeeds.
//! Read with every request, hence atomics. When it comes to that is `outlier`'s.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a server that was ejected may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Anything: it is not, or no longer.
    Free,
    /// Nothing.
    Ejected,
    /// One request at a time.
    Probation,
}

/// The phase of one server.
#[derive(Debug, Default)]
pub(super) struct Probation {
    /// False: free.
    is_held: AtomicBool,
    /// Milliseconds of the pool's time.
    ejected_until: AtomicU64,
    is_on_trial: AtomicBool,
}

/// A request whose outcome decides. Another one may follow once it is dropped.
#[derive(Debug)]
pub(super) struct Trial<'a>(&'a AtomicBool);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

impl Probation {
    /// Goes on from `before`; the trial of a request there is none here.
    pub(super) fn take_over(&self, before: &Self) {
        self.ejected_until.store(before.ejected_until.load(Relaxed), Relaxed);
        self.is_held.store(before.is_held.load(Relaxed), Relaxed);
    }

    /// Ejects the server until then, by the pool's time.
    pub(super) fn eject(&self, until: Duration) {
        self.ejected_until.store(millis(until), Relaxed);
        self.is_held.store(true, Relaxed);
    }

    /// Where it stands at `now`.
    pub(super) fn phase(&self, now: Duration) -> Phase {
        if !self.is_held.load(Relaxed) {
            Phase::Free
        } else if millis(now) < self.ejected_until.load(Relaxed) {
            Phase::Ejected
        } else {
            Phase::Probation
        }
    }

    /// True while a request is on trial.
    pub(super) fn is_on_trial(&self) -> bool {
        self.is_on_trial.load(Relaxed)
    }

    /// Makes a request the trial, unless there is one.
    pub(super) fn take_trial(&self) -> Option<Trial<'_>> {
        (!self.is_on_trial.swap(true, Relaxed)).then_some(Trial(&self.is_on_trial))
    }

    /// A request succeeded at `now`. True if that ends the probation; while it
    /// is ejected a late answer does not.
    pub(super) fn succeeded(&self, now: Duration) -> bool {
        self.phase(now) == Phase::Probation && self.is_held.swap(false, Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn who_was_ejected_is_free_after_a_success_on_probation() {
        let probation = Probation::default();
        assert_eq!(probation.phase(S(0)), Phase::Free);
        assert!(!probation.succeeded(S(0)));
        probation.eject(S(30));
        assert_eq!(probation.phase(S(29)), Phase::Ejected);
        assert!(!probation.succeeded(S(29)), "it was sent before");
        assert_eq!(probation.phase(S(30)), Phase::Probation);
        assert!(probation.succeeded(S(31)));
        assert!(!probation.succeeded(S(31)), "it is free but once");
        assert_eq!(probation.phase(S(31)), Phase::Free);
    }

    #[test]
    fn there_is_one_trial_at_a_time() {
        let probation = Probation::default();
        let trial = probation.take_trial().unwrap();
        assert!(probation.is_on_trial() && probation.take_trial().is_none());
        drop(trial);
        assert!(probation.take_trial().is_some());
    }
}
