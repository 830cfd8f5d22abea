//! When a server that fails requests is left out for a while. Pure: results
//! and the time in, ejections out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::model::Ejection;

/// The failures in a row of one server.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// When they were, by the pool's time, oldest first; as many as matter.
    failures: VecDeque<Duration>,
}

impl Outlier {
    /// A request was answered: the row is broken.
    pub(super) fn succeeded(&mut self) {
        self.failures.clear();
    }

    /// A request failed at `now`. Says until when the server is ejected, if
    /// that was one failure too many.
    pub(super) fn failed(&mut self, now: Duration, rules: &Ejection) -> Option<Duration> {
        let needed = rules.errors.max(1) as usize;
        self.failures.push_back(now);
        if self.failures.len() > needed {
            self.failures.pop_front();
        }
        let first = *self.failures.front()?;
        if self.failures.len() < needed || now.saturating_sub(first) > rules.within {
            return None;
        }
        self.failures.clear();
        Some(now + rules.duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn rules() -> Ejection {
        Ejection { errors: 3, within: S(10), duration: S(30) }
    }

    #[test]
    fn failures_in_a_row_eject() {
        let mut outlier = Outlier::default();
        assert_eq!(outlier.failed(S(1), &rules()), None);
        assert_eq!(outlier.failed(S(2), &rules()), None);
        assert_eq!(outlier.failed(S(3), &rules()), Some(S(33)));
        assert_eq!(outlier.failed(S(34), &rules()), None, "the row begins anew");
    }

    #[test]
    fn a_success_breaks_the_row() {
        let mut outlier = Outlier::default();
        outlier.failed(S(1), &rules());
        outlier.failed(S(2), &rules());
        outlier.succeeded();
        assert_eq!(outlier.failed(S(3), &rules()), None);
    }

    #[test]
    fn only_failures_within_the_window_count() {
        let mut outlier = Outlier::default();
        outlier.failed(S(0), &rules());
        outlier.failed(S(9), &rules());
        assert_eq!(outlier.failed(S(11), &rules()), None);
        assert_eq!(outlier.failed(S(12), &rules()), Some(S(42)));
    }
}
