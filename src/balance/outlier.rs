//! When a server that fails requests is left out for a while, and for how long.
//! Pure: results and the time in, ejections out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::model::Ejection;

/// An ejection is so many times longer than the first at most; after as long
/// without another one the next is short again.
const LONGEST: u32 = 10;

/// What is known of the failures of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlier {
    /// Those in a row, by the pool's time, oldest first; as many as matter.
    failures: VecDeque<Duration>,
    /// Where counting for the rate began.
    window: Option<Window>,
    last: Option<Term>,
}

/// How many requests a server was sent, and how many of them failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) failures: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Duration,
    before: Totals,
}

/// An ejection.
#[derive(Clone, Copy, Debug)]
struct Term {
    until: Duration,
    length: Duration,
}

impl Outlier {
    /// A request was answered: the row is broken.
    pub(super) fn succeeded(&mut self) {
        self.failures.clear();
    }

    /// A request failed at `now`, and is counted in `totals`. True if that was
    /// one failure too many: in a row, or for the rate.
    pub(super) fn failed(&mut self, now: Duration, totals: Totals, rules: &Ejection) -> bool {
        let is_row_full = self.extend_row(now, rules);
        let is_rate_reached = self.is_rate_reached(now, totals, rules);
        if is_row_full || is_rate_reached {
            self.failures.clear();
            self.window = None;
        }
        is_row_full || is_rate_reached
    }

    fn extend_row(&mut self, now: Duration, rules: &Ejection) -> bool {
        let needed = rules.errors.max(1) as usize;
        self.failures.push_back(now);
        if self.failures.len() > needed {
            self.failures.pop_front();
        }
        let first = self.failures.front().copied().unwrap_or(now);
        self.failures.len() >= needed && now.saturating_sub(first) <= rules.within
    }

    /// Counting begins with a failure, so that successes cost nothing.
    fn is_rate_reached(&mut self, now: Duration, totals: Totals, rules: &Ejection) -> bool {
        let Some(percent) = rules.rate_percent else { return false };
        let running = self.window.filter(|window| now.saturating_sub(window.began) <= rules.within);
        let window = *self.window.insert(running.unwrap_or(Window {
            began: now,
            before: Totals {
                requests: totals.requests.saturating_sub(1),
                failures: totals.failures.saturating_sub(1),
            },
        }));
        let requests = totals.requests.saturating_sub(window.before.requests);
        let failures = totals.failures.saturating_sub(window.before.failures);
        requests >= u64::from(rules.requests) && failures * 100 >= requests * u64::from(percent)
    }

    /// The server is ejected at `now`; says for how long: twice as long as
    /// before if that is not long ago.
    pub(super) fn eject(&mut self, now: Duration, rules: &Ejection) -> Duration {
        let longest = rules.duration * LONGEST;
        let again = self.last.filter(|last| now < last.until + longest);
        let length = again.map_or(rules.duration, |last| (last.length * 2).min(longest));
        self.last = Some(Term { until: now + length, length });
        length
    }
}

/// True if a server of a pool of so many `servers` can be spared, of which so
/// many are `ejected`: never more than half of them are.
pub(super) fn can_be_spared(ejected: usize, servers: usize) -> bool {
    (ejected + 1) * 2 <= servers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn rules() -> Ejection {
        Ejection {
            errors: 3,
            within: S(10),
            duration: S(30),
            rate_percent: None,
            requests: 20,
            retry_after: S(0),
        }
    }

    /// Failures alone, one at each of these times.
    fn failed(outlier: &mut Outlier, times: &[u64]) -> Vec<bool> {
        times.iter().map(|at| outlier.failed(S(*at), Totals::default(), &rules())).collect()
    }

    #[test]
    fn failures_in_a_row_eject() {
        let mut outlier = Outlier::default();
        assert_eq!(failed(&mut outlier, &[1, 2, 3]), [false, false, true]);
        assert_eq!(failed(&mut outlier, &[34]), [false], "the row begins anew");
    }

    #[test]
    fn a_success_breaks_the_row() {
        let mut outlier = Outlier::default();
        failed(&mut outlier, &[1, 2]);
        outlier.succeeded();
        assert_eq!(failed(&mut outlier, &[3]), [false]);
    }

    #[test]
    fn only_failures_within_the_window_count() {
        assert_eq!(failed(&mut Outlier::default(), &[0, 9, 11, 12]), [false, false, false, true]);
    }

    /// Plays requests, one a tenth of a second; says at which of them it was
    /// one failure too many.
    fn first_too_many(rules: &Ejection, failures: impl Iterator<Item = bool>) -> Option<usize> {
        let (mut outlier, mut totals) = (Outlier::default(), Totals::default());
        failures.enumerate().find_map(|(number, fails)| {
            let now = Duration::from_millis(100 * number as u64);
            totals.requests += 1;
            totals.failures += u64::from(fails);
            if fails {
                outlier.failed(now, totals, rules).then_some(number)
            } else {
                outlier.succeeded();
                None
            }
        })
    }

    #[test]
    fn a_rate_ejects_without_a_row_once_there_are_enough() {
        let rules = Ejection { rate_percent: Some(50), ..rules() };
        let every = |nth: usize| (0..1_000).map(move |number| number % nth == 0);
        assert_eq!(first_too_many(&rules, every(2)), Some(20));
        assert_eq!(first_too_many(&rules, every(3)), None);
        assert_eq!(first_too_many(&Ejection { rate_percent: None, ..rules.clone() }, every(2)), None);
        assert_eq!(
            first_too_many(&Ejection { requests: 200, ..rules }, every(2)),
            None,
            "too few in the time"
        );
    }

    #[test]
    fn ejections_grow_to_a_bound_and_are_forgiven() {
        let mut outlier = Outlier::default();
        let mut now = S(0);
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let length = outlier.eject(now, &rules());
            lengths.push(length.as_secs());
            now += length + S(1);
        }
        assert_eq!(lengths, [30, 60, 120, 240, 300, 300]);
        assert_eq!(outlier.eject(now + S(300), &rules()), S(30));
    }

    proptest! {
        #[test]
        fn never_more_than_half_are_ejected(servers in 1..50usize) {
            let mut ejected = 0;
            while can_be_spared(ejected, servers) {
                ejected += 1;
            }
            prop_assert_eq!(ejected, servers / 2);
        }
    }
}
