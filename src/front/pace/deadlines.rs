//! When a connection ends: what has lasted too long, and how long nothing went on. One
//! timer per connection, set again only when it fires, looks at the numbers of its pace.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{JUST_NOW, NEVER, Pace, millis};
use crate::config::model::Limits;
use crate::telemetry::metrics::Limit;

/// How often a write is tried until it has lasted too long.
const TRIES: u64 = 5;

impl Pace {
    /// The limit that ends the connection, and when.
    fn deadline(&self, limits: &Limits) -> Option<(u64, Limit)> {
        let blocked = self.blocked_since.load(Relaxed);
        if blocked != NEVER {
            return Some((blocked + millis(limits.write_timeout), Limit::WriteTimeout));
        }
        if !self.is_idle() {
            return None;
        }
        let head = self.head_since.load(Relaxed);
        if head < JUST_NOW {
            return Some((head + millis(limits.header_timeout), Limit::HeaderTimeout));
        }
        if self.served.load(Relaxed) {
            let idle = self.idle_since.load(Relaxed);
            Some((idle + millis(limits.idle_timeout), Limit::IdleTimeout))
        } else {
            Some((millis(limits.header_timeout), Limit::HeaderTimeout))
        }
    }

    /// Since when nothing goes on, if nothing does: no exchange, and no byte on its way.
    fn rests_since(&self) -> Option<u64> {
        let moves =
            !self.is_idle() || self.is_blocked() || self.interim.is_amid_message() || self.is_amid_request();
        (!moves).then(|| self.idle_since.load(Relaxed))
    }

    /// Waits until a limit ends the connection. Cancel safe.
    pub(in crate::front) async fn ended_by(&self, limits: &Limits) -> Limit {
        loop {
            if let Some(limit) = self.ended_or_rests(limits, Duration::MAX).await {
                return limit;
            }
        }
    }

    /// The same for a connection of which nothing is read or written meanwhile: it is
    /// looked at no more often than it has to be.
    pub(in crate::front) async fn ended_at_rest(&self, limits: &Limits) -> Limit {
        loop {
            let now = self.now();
            let next = match self.deadline(limits) {
                Some((at, limit)) if at <= now => return limit,
                Some((at, _)) => at,
                None => now + millis(limits.write_timeout).max(10),
            };
            tokio::time::sleep_until(self.opened + Duration::from_millis(next)).await;
        }
    }

    /// Waits until a limit ends the connection, or it has rested for as long: `None`.
    /// Cancel safe.
    pub(in crate::front) async fn ended_or_rests(&self, limits: &Limits, rest: Duration) -> Option<Limit> {
        let rest = millis(rest);
        let coarse = millis(limits.write_timeout.min(limits.header_timeout).min(limits.idle_timeout))
            .min(rest)
            .max(10);
        // A client that takes a little now and then is never blocked for long;
        // so what it takes while it is blocked must reach the least rate.
        let window = millis(limits.write_timeout);
        let least = limits.min_rate.saturating_mul(window) / 1000;
        let mut measured: Option<(u64, u64)> = None;
        loop {
            let now = self.now();
            let deadline = self.deadline(limits);
            if let Some((at, limit)) = deadline
                && at <= now
            {
                return Some(limit);
            }
            let rests = self.rests_since().map(|since| since + rest);
            if rests.is_some_and(|at| at <= now) {
                return None;
            }
            let written = self.written.load(Relaxed);
            measured = match measured {
                _ if !self.is_blocked() => None,
                Some((since, before)) if since + window > now => Some((since, before)),
                Some((_, before)) if written - before < least => return Some(Limit::MinRate),
                _ => Some((now, written)),
            };
            let ends = [deadline.map(|(at, _)| at), measured.map(|(since, _)| since + window), rests];
            // The system may not tell of what the client takes: only another try does.
            let coarse = if self.is_blocked() { coarse.min(window / TRIES).max(10) } else { coarse };
            let next = ends.into_iter().flatten().fold(now + coarse, u64::min);
            tokio::select! {
                () = tokio::time::sleep_until(self.opened + Duration::from_millis(next)) => {}
                () = self.too_many_given_up.notified() => return Some(Limit::H2Resets),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::base::{Clock, ManualClock, SystemClock};
    use crate::front::ConnectionProtocol;
    use crate::front::pace::test_limits;

    fn pace() -> (Arc<ManualClock>, Pace) {
        paced(ConnectionProtocol::Http1)
    }

    fn paced(protocol: ConnectionProtocol) -> (Arc<ManualClock>, Pace) {
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        let pace = Pace::new(Arc::clone(&clock) as Arc<dyn Clock>, protocol, &test_limits(), Box::new(()));
        (clock, pace)
    }

    #[test]
    fn a_silent_connection_has_the_time_of_a_head() {
        let (_, pace) = pace();
        assert_eq!(pace.deadline(&test_limits()), Some((10_000, Limit::HeaderTimeout)));
    }

    #[test]
    fn between_two_requests_it_may_be_idle_for_longer() {
        let (clock, pace) = pace();
        pace.begin();
        assert_eq!(pace.deadline(&test_limits()), None);
        clock.advance(Duration::from_secs(3));
        pace.end(clock.now());
        assert_eq!(pace.deadline(&test_limits()), Some((78_000, Limit::IdleTimeout)));
    }

    #[test]
    fn a_head_that_has_begun_must_come_in_time() {
        let (clock, pace) = pace();
        pace.begin();
        pace.end(clock.now());
        clock.advance(Duration::from_secs(60));
        pace.read(b"G").unwrap();
        pace.pause();
        clock.advance(Duration::from_secs(5));
        pace.read(b"G").unwrap();
        pace.pause();
        assert_eq!(pace.deadline(&test_limits()), Some((70_000, Limit::HeaderTimeout)));
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let (clock, pace) = pace();
        pace.begin();
        clock.advance(Duration::from_secs(1));
        pace.blocked();
        assert_eq!(pace.deadline(&test_limits()), Some((21_000, Limit::WriteTimeout)));
        pace.wrote(1);
        assert_eq!(pace.deadline(&test_limits()), None);
    }

    #[test]
    fn it_is_not_idle_before_the_last_response_has_left() {
        let (clock, pace) = pace();
        pace.begin();
        pace.blocked();
        pace.end(clock.now());
        clock.advance(Duration::from_secs(15));
        pace.wrote(1);
        assert_eq!(pace.deadline(&test_limits()), Some((90_000, Limit::IdleTimeout)));
    }

    #[test]
    fn an_http2_response_may_leave_long_after_its_exchange() {
        let (clock, pace) = paced(ConnectionProtocol::Http2);
        pace.wrote(9);
        assert_eq!(pace.deadline(&test_limits()), Some((10_000, Limit::HeaderTimeout)));
        pace.begin();
        pace.end(clock.now());
        clock.advance(Duration::from_secs(15));
        pace.wrote(1);
        assert_eq!(pace.deadline(&test_limits()), Some((90_000, Limit::IdleTimeout)));
    }

    #[test]
    fn http2_has_no_heads_to_wait_for() {
        let (clock, pace) = paced(ConnectionProtocol::Http2);
        pace.begin();
        pace.end(clock.now());
        pace.read(b"PING").unwrap();
        assert_eq!(pace.deadline(&test_limits()), Some((75_000, Limit::IdleTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_at_the_limit() {
        let pace = Pace::new(Arc::new(SystemClock), ConnectionProtocol::Http1, &test_limits(), Box::new(()));
        let opened = SystemClock.now();
        assert_eq!(pace.ended_by(&test_limits()).await, Limit::HeaderTimeout);
        assert_eq!((SystemClock.now() - opened).as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_rest_is_ended_at_its_limit_too() {
        let pace = Pace::new(Arc::new(SystemClock), ConnectionProtocol::Http1, &test_limits(), Box::new(()));
        assert_eq!(pace.ended_at_rest(&test_limits()).await, Limit::HeaderTimeout);
        assert_eq!(pace.now(), 10_000);
        pace.begin();
        pace.end(SystemClock.now());
        assert_eq!(pace.ended_at_rest(&test_limits()).await, Limit::IdleTimeout);
        assert_eq!(pace.now(), 85_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_to_take_is_given_up_at_the_limit() {
        let pace = Pace::new(Arc::new(SystemClock), ConnectionProtocol::Http1, &test_limits(), Box::new(()));
        pace.begin();
        let limits = test_limits();
        let stops = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            pace.blocked();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            limit = pace.ended_by(&limits) => assert_eq!(limit, Limit::WriteTimeout),
            () = stops => {}
        }
        assert_eq!(pace.now(), 25_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_too_little_is_given_up() {
        let pace = Arc::new(Pace::new(
            Arc::new(SystemClock),
            ConnectionProtocol::Http1,
            &test_limits(),
            Box::new(()),
        ));
        pace.begin();
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                pace.wrote(100);
                pace.blocked();
            }
        };
        let limits = test_limits();
        tokio::select! {
            limit = pace.ended_by(&limits) => assert_eq!(limit, Limit::MinRate),
            () = trickle => {}
        }
    }
}
