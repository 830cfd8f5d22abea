//! Who is left alone: a server that asked for that, or that asked for it with one
//! site's orders.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::certs::renewal::MOST_ASKED_FOR;

/// A whole server is left alone for no longer, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(3600);

/// With so many sites those go whose pauses are over.
const SWEPT_AT: usize = 1024;

/// Until when; `None` stands for all sites.
#[derive(Debug, Default)]
pub(super) struct Rests(Mutex<HashMap<Option<String>, Instant>>);

impl Rests {
    /// How long a site has to wait with its orders.
    pub(super) fn wait(&self, site: &str, now: Instant) -> Option<Duration> {
        let rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = rests.get(&None).max(rests.get(&Some(site.to_owned())))?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// The server asked for a pause: with all, or with the orders of one site.
    pub(super) fn note(&self, site: Option<&str>, pause: Duration, now: Instant) {
        let pause = pause.min(if site.is_some() { MOST_ASKED_FOR } else { LONGEST });
        let Some(until) = now.checked_add(pause) else { return };
        let mut rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rests.len() >= SWEPT_AT {
            rests.retain(|_, until| *until > now);
        }
        let noted = rests.entry(site.map(str::to_owned)).or_insert(until);
        *noted = until.max(*noted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    #[test]
    fn one_sites_pause_is_its_own() {
        let (rests, now) = (Rests::default(), SystemClock.now());
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        rests.note(Some("a.test"), hours(34), now);
        assert_eq!((rests.wait("a.test", now), rests.wait("b.test", now)), (Some(hours(34)), None));
        rests.note(None, Duration::MAX, now);
        rests.note(None, hours(24), now);
        rests.note(None, Duration::from_secs(1), now);
        assert_eq!(rests.wait("b.test", now), Some(hours(1)));
        assert_eq!(rests.wait("b.test", now + hours(1)), None);
        assert_eq!(rests.wait("a.test", now + hours(1)), Some(hours(33)));
        rests.note(Some("b.test"), Duration::from_secs(1 << 40), now);
        assert_eq!(rests.wait("b.test", now), Some(hours(7 * 24)));
    }

    #[test]
    fn pauses_that_are_over_are_forgotten() {
        let (rests, now) = (Rests::default(), SystemClock.now());
        let pause = Duration::from_secs(60);
        for number in 0..SWEPT_AT {
            rests.note(Some(&number.to_string()), pause, now);
        }
        rests.note(Some("a.test"), pause, now + pause);
        assert_eq!(rests.0.lock().unwrap().len(), 1);
        assert_eq!(rests.wait("a.test", now + pause), Some(pause));
    }
}
