//! Keeps the process within its memory: where it comes near to the limit the memory
//! tier of the cache gives way, and where that is not enough nobody else is let in.
//! What is under way goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::Memory;
use crate::cache::Cache;
use crate::front::Front;

/// How often it is looked at where there is room.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(100);
/// How often at most.
const LOOKED_AT_OFTEN: Duration = Duration::from_millis(5);
/// Bytes that clients may be able to send in a millisecond: so much room is looked at
/// as often.
const BYTES_PER_MILLISECOND: u64 = 4 << 20;

/// Percent of the limit from which on the cache gives way, and down to which it does.
const TIGHT: u64 = 80;
/// Percent from which on nobody else is let in.
const FULL: u64 = 95;
/// So much is left then where that is more, but no more than a quarter of the limit: for
/// what was let in before.
const RESERVE: u64 = 64 << 20;
/// By this part of the limit it has to be less before everybody is let in again.
const RELIEF: u64 = 20;

/// The cache takes this part of its size back at a time, where there is room again.
const REGROWN: u64 = 256;

/// So long it takes until the system has back what the cache gave way by.
const SETTLED: Duration = Duration::from_millis(500);

/// Watches over the memory of `front` and `cache` for as long as it runs. Cancel safe.
pub(super) async fn watch(front: Arc<Front>, cache: Arc<Cache>) {
    let memory = Memory::detect();
    let metrics = &front.telemetry().metrics;
    let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut allowance = Allowance::new(cache.usage().capacity);
    loop {
        let now = front.clock().now();
        let (used, limit) = (memory.used(), front.limits().memory);
        metrics.memory_used.set(gauge(used));
        metrics.memory_limit.set(gauge(limit));
        let (was_full, is_full) = (front.is_out_of_memory(), is_full(used, limit, front.is_out_of_memory()));
        front.refuse_for_memory(is_full);
        match (was_full, is_full) {
            (false, true) => tracing::warn!(used, limit, "too little memory: new requests are refused"),
            (true, false) => tracing::info!(used, limit, "there is memory again: requests are served"),
            _ => {}
        }
        if let Some(bytes) = allowance.next(used, limit, cache.usage().bytes, now) {
            cache.allow(bytes).await;
        }
        tokio::time::sleep(until_next_look(used, limit)).await;
    }
}

fn share(limit: u64, percent: u64) -> u64 {
    limit / 100 * percent
}

fn until_next_look(used: u64, limit: u64) -> Duration {
    let room = Duration::from_millis(full(limit).saturating_sub(used) / BYTES_PER_MILLISECOND);
    room.clamp(LOOKED_AT_OFTEN, LOOKED_AT_EVERY)
}

/// From how many bytes in use on nobody else is let in.
fn full(limit: u64) -> u64 {
    share(limit, FULL).min(limit - RESERVE.min(limit / 4))
}

/// From how many bytes in use on the cache gives way: before others are turned away, and
/// so far that they are let in again.
fn tight(limit: u64) -> u64 {
    share(limit, TIGHT).min(full(limit) - 2 * (limit / RELIEF))
}

/// Is there too little memory for others, if there `was` or was not?
fn is_full(used: u64, limit: u64, was: bool) -> bool {
    let full = full(limit);
    used > if was { full - limit / RELIEF } else { full }
}

/// How much of its size the memory tier may use.
struct Allowance {
    capacity: u64,
    bytes: u64,
    /// When it was last made smaller.
    lessened: Option<Instant>,
}

impl Allowance {
    fn new(capacity: u64) -> Self {
        Self { capacity, bytes: capacity, lessened: None }
    }

    /// What it is from `now` on, where the tier `holds` so many bytes of what is used;
    /// `None` if it stays.
    fn next(&mut self, used: u64, limit: u64, holds: u64, now: Instant) -> Option<u64> {
        let excess = used.saturating_sub(tight(limit));
        if excess > 0 {
            let is_settling = self.lessened.is_some_and(|at| now.duration_since(at) < SETTLED);
            let less = holds.min(self.bytes).saturating_sub(excess);
            if is_settling || less == self.bytes {
                return None;
            }
            self.lessened = Some(now);
            self.bytes = less;
        } else {
            let room = tight(limit) - used;
            let more = self.bytes.saturating_add((self.capacity / REGROWN).min(room)).min(self.capacity);
            if more == self.bytes {
                return None;
            }
            self.bytes = more;
        }
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_cache_gives_way_by_what_is_too_much_and_takes_it_back_by_and_by() {
        let mut now = SystemClock.now();
        let mut allowance = Allowance::new(64 * MIB);
        assert_eq!(allowance.next(1550 * MIB, 2000 * MIB, 60 * MIB, now), None, "there is room");
        assert_eq!(allowance.next(1610 * MIB, 2000 * MIB, 60 * MIB, now), Some(50 * MIB));
        now += SETTLED / 2;
        assert_eq!(allowance.next(1610 * MIB, 2000 * MIB, 50 * MIB, now), None, "it takes effect later");
        now += SETTLED;
        assert_eq!(allowance.next(1610 * MIB, 2000 * MIB, 50 * MIB, now), Some(40 * MIB));
        now += SETTLED;
        assert_eq!(allowance.next(1800 * MIB, 2000 * MIB, 40 * MIB, now), Some(0));
        now += SETTLED;
        assert_eq!(allowance.next(1800 * MIB, 2000 * MIB, 0, now), None, "there is nothing left to give");
        let steps =
            (0..1000).take_while(|_| allowance.next(1000 * MIB, 2000 * MIB, 0, now).is_some()).count();
        assert_eq!((steps as u64, allowance.bytes), (REGROWN, 64 * MIB));
    }

    #[test]
    fn the_cache_does_not_take_back_what_would_be_too_much_at_once() {
        let (now, mut allowance) = (SystemClock.now(), Allowance::new(256 * MIB));
        allowance.bytes = 0;
        assert_eq!(allowance.next(1600 * MIB - 5, 2000 * MIB, 0, now), Some(5));
    }

    #[test]
    fn the_less_room_there_is_the_sooner_it_is_looked_at_again() {
        for (used, limit, milliseconds) in
            [(0, 24 << 10, 100), (92, 256, 25), (190, 256, 5), (192, 256, 5), (300, 256, 5)]
        {
            let next = until_next_look(used * MIB, limit * MIB);
            assert_eq!(next, Duration::from_millis(milliseconds), "{used} of {limit}");
        }
    }

    #[test]
    fn who_is_refused_is_so_until_there_is_more_room() {
        for (used, limit, was, is) in [
            (9500, 10_000, false, false),
            (9501, 10_000, false, true),
            (9001, 10_000, true, true),
            (9000, 10_000, true, false),
            (192, 256, false, false),
            (193, 256, false, true),
            (48, 64, false, false),
            (49, 64, false, true),
            (44, 64, true, false),
            (179, 256, true, false),
        ] {
            assert_eq!(is_full(used * MIB, limit * MIB, was), is, "{used} of {limit}");
        }
    }
}
