//! Session tickets, whose keys change every six hours by the clock that does not
//! jump. rustls goes by that of the day, and where that was put back by a year it
//! keeps a key for a year; where it was put forward it changes them once more.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use tokio::time::Instant;

use crate::base::Clock;

/// As often as rustls changes them.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Makes tickets, and takes them until the second change of keys. One for the whole
/// process: sessions go on over a reload.
#[derive(Debug)]
pub struct Tickets {
    clock: Arc<dyn Clock>,
    keys: RwLock<Keys>,
}

#[derive(Clone, Debug)]
struct Keys {
    current: Arc<dyn ProducesTickets>,
    previous: Option<Arc<dyn ProducesTickets>>,
    since: Instant,
}

impl Tickets {
    /// With a first key; `None`, and a line in the log, if the system has no random bytes.
    pub fn begin(clock: Arc<dyn Clock>) -> Option<Arc<Self>> {
        let begun = Self::new(clock);
        let warn = |error: &rustls::Error| {
            tracing::warn!(%error, "no session tickets: every handshake will be a full one");
        };
        begun.inspect_err(warn).ok().map(Arc::new)
    }

    fn new(clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let keys = Keys { current: Ticketer::new()?, previous: None, since: clock.now() };
        Ok(Self { clock, keys: RwLock::new(keys) })
    }

    /// The keys of now; `None` if there can be no new ones.
    fn keys(&self) -> Option<Keys> {
        let now = self.clock.now();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        if keys.age(now) < EVERY {
            return Some(keys);
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let age = keys.age(now);
        // Another thread may have been here.
        if age >= EVERY {
            let old = std::mem::replace(&mut keys.current, Ticketer::new().ok()?);
            keys.previous = Some(old).filter(|_| age < 2 * EVERY);
            keys.since = now;
        }
        Some(keys.clone())
    }
}

impl Keys {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        2 * EVERY.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.current.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let Keys { current, previous, .. } = self.keys()?;
        current.decrypt(cipher).or_else(|| previous?.decrypt(cipher))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::base::ManualClock;

    #[test]
    fn keys_change_though_the_clock_of_the_day_is_put_back() {
        for put_to in [1_800_000_000, 0] {
            let clock =
                Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
            let tickets = Tickets::new(Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
            let first = tickets.encrypt(b"a session").unwrap();
            clock.put(SystemTime::UNIX_EPOCH + Duration::from_secs(put_to));
            for (passed, is_taken) in [(EVERY - Duration::from_secs(1), true), (EVERY, true), (EVERY, false)]
            {
                clock.advance(passed);
                assert_eq!(tickets.decrypt(&first).is_some(), is_taken, "{put_to}");
                let own = tickets.encrypt(b"another").unwrap();
                assert_eq!(tickets.decrypt(&own).as_deref(), Some(&b"another"[..]));
            }
            // Nobody came for long: what was current then is no longer taken.
            let last = tickets.encrypt(b"a session").unwrap();
            clock.advance(2 * EVERY);
            assert_eq!(tickets.decrypt(&last), None);
        }
    }
}
