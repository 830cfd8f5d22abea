//! Keeps the process within its memory: where it comes near to the limit the memory
//! tier of the cache gives way, and where that is not enough nobody else is let in.
//! If it lasts, connections that wait end; the rest of what is under way goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::base::{Memory, MemoryUse};
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
/// So much is left then where that is more, but no more than three eighths of the limit:
/// for what was let in before.
const RESERVE: u64 = 96 << 20;
/// By this part of the limit it has to be less before everybody is let in again.
const RELIEF: u64 = 20;

/// How long nobody is let in before who waits has to go, and then again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The cache has its whole size back after so long, where there is room again.
const REGROWN: Duration = Duration::from_secs(30);

/// So long it takes until the system has back what the cache gave way by.
const SETTLED: Duration = Duration::from_secs(2);

/// Has the allocator give back to the system what is not in use, in a thread of its
/// own: what one thread took and another gave back else stays with the first until
/// that takes some again.
pub(super) fn give_back_unused() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!(%error, "memory that is not in use is given back late");
    }
}

/// Watches over the memory of `front` and `cache` for as long as it runs. Cancel safe.
pub(super) async fn watch(front: Arc<Front>, cache: Arc<Cache>) {
    let allowed = Notify::new();
    // Going through a large cache takes longer than it may take to look again.
    let give_way = async {
        loop {
            allowed.notified().await;
            cache.give_way().await;
        }
    };
    tokio::join!(look(&front, &cache, &allowed), give_way);
}

async fn look(front: &Front, cache: &Cache, allowed: &Notify) {
    let memory = Memory::detect();
    let metrics = &front.telemetry().metrics;
    let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut allowance = Allowance::new(cache.usage().capacity, front.clock().now());
    let mut full_since = None;
    loop {
        let now = front.clock().now();
        let memory = memory.in_use(front.limits().memory);
        metrics.memory_used.set(gauge(memory.used));
        metrics.memory_limit.set(gauge(memory.limit));
        let was_full = front.is_out_of_memory();
        front.refuse_for_memory(is_full(memory, was_full));
        match (was_full, front.is_out_of_memory()) {
            (false, true) => {
                full_since = Some(now);
                tracing::warn!(?memory, "too little memory: new requests are refused");
            }
            (true, false) => tracing::info!(?memory, "there is memory again: requests are served"),
            (true, true) if full_since.is_some_and(|since| now.duration_since(since) >= PATIENCE) => {
                full_since = Some(now);
                front.end_who_waits();
            }
            _ => {}
        }
        if let Some(bytes) = allowance.next(memory, cache.usage().bytes, now) {
            cache.allow(bytes);
            allowed.notify_one();
        }
        tokio::time::sleep(until_next_look(memory)).await;
    }
}

fn share(limit: u64, percent: u64) -> u64 {
    limit / 100 * percent
}

/// From how many bytes in use on nobody else is let in.
fn full(limit: u64) -> u64 {
    share(limit, FULL).min(limit - RESERVE.min(limit / 8 * 3))
}

/// From how many bytes in use on the cache gives way: before others are turned away, and
/// so far that they are let in again.
fn tight(limit: u64) -> u64 {
    share(limit, TIGHT).min(full(limit) - 2 * (limit / RELIEF))
}

fn until_next_look(MemoryUse { used, limit }: MemoryUse) -> Duration {
    let room = Duration::from_millis(full(limit).saturating_sub(used) / BYTES_PER_MILLISECOND);
    room.clamp(LOOKED_AT_OFTEN, LOOKED_AT_EVERY)
}

/// Is there too little memory for others, if there `was` or was not?
fn is_full(MemoryUse { used, limit }: MemoryUse, was: bool) -> bool {
    let full = full(limit);
    used > if was { full - limit / RELIEF } else { full }
}

/// How much of its size the memory tier may use.
struct Allowance {
    capacity: u64,
    bytes: u64,
    looked: Instant,
    /// When it was last made smaller, and the bytes that the system is to have back.
    lessened: Instant,
    on_the_way: u64,
}

impl Allowance {
    fn new(capacity: u64, now: Instant) -> Self {
        Self { capacity, bytes: capacity, looked: now, lessened: now, on_the_way: 0 }
    }

    /// What it is from `now` on, where the tier `holds` so many bytes of what is used;
    /// `None` if it stays, and has not to give way.
    fn next(&mut self, memory: MemoryUse, holds: u64, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        if now.saturating_duration_since(self.lessened) >= SETTLED {
            self.on_the_way = 0;
        }
        let before = self.bytes;
        match memory.used.saturating_sub(tight(memory.limit)) {
            0 => self.take_back(tight(memory.limit) - memory.used, passed),
            excess => self.give(excess.saturating_sub(self.on_the_way), holds, now),
        }
        (self.bytes != before || holds > self.bytes).then_some(self.bytes)
    }

    fn give(&mut self, excess: u64, holds: u64, now: Instant) {
        if excess > 0 {
            let given = excess.min(holds);
            self.bytes = self.bytes.min(holds - given);
            self.on_the_way += given;
            self.lessened = now;
        }
    }

    fn take_back(&mut self, room: u64, passed: Duration) {
        let share = u128::from(self.capacity) * passed.as_millis() / REGROWN.as_millis();
        let more = u64::try_from(share).unwrap_or(self.capacity).min(room);
        self.bytes = self.bytes.saturating_add(more).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    const MIB: u64 = 1 << 20;

    fn memory(used: u64, limit: u64) -> MemoryUse {
        MemoryUse { used: used * MIB, limit: limit * MIB }
    }

    #[test]
    fn the_cache_gives_way_by_what_is_too_much_and_takes_it_back_by_and_by() {
        let mut now = SystemClock.now();
        let mut allowance = Allowance::new(60 * MIB, now);
        assert_eq!(allowance.next(memory(1550, 2000), 60 * MIB, now), None, "there is room");
        assert_eq!(allowance.next(memory(1610, 2000), 60 * MIB, now), Some(50 * MIB));
        now += SETTLED / 2;
        assert_eq!(allowance.next(memory(1610, 2000), 50 * MIB, now), None, "it takes effect later");
        assert_eq!(allowance.next(memory(1615, 2000), 50 * MIB, now), Some(45 * MIB), "others took more");
        now += SETTLED;
        assert_eq!(allowance.next(memory(1610, 2000), 45 * MIB, now), Some(35 * MIB));
        assert_eq!(allowance.next(memory(1900, 2000), 35 * MIB, now), Some(0));
        assert_eq!(allowance.next(memory(1900, 2000), 0, now), None, "there is nothing left to give");
        assert_eq!(allowance.next(memory(1900, 2000), 5, now), Some(0), "but for what came since");
        now += REGROWN / 2;
        assert_eq!(allowance.next(memory(1000, 2000), 0, now), Some(30 * MIB));
        now += REGROWN;
        assert_eq!(allowance.next(memory(1000, 2000), 0, now), Some(60 * MIB));
        assert_eq!(allowance.next(memory(1000, 2000), 0, now), None);
    }

    #[test]
    fn the_cache_does_not_take_back_what_would_be_too_much_at_once() {
        let now = SystemClock.now();
        let mut allowance = Allowance::new(256 * MIB, now);
        allowance.bytes = 0;
        assert_eq!(allowance.next(memory(1595, 2000), 0, now + REGROWN), Some(5 * MIB));
    }

    #[test]
    fn the_less_room_there_is_the_sooner_it_is_looked_at_again() {
        for (used, limit, milliseconds) in
            [(0, 24 << 10, 100), (60, 256, 25), (150, 256, 5), (160, 256, 5), (300, 256, 5)]
        {
            let next = until_next_look(memory(used, limit));
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
            (160, 256, false, false),
            (161, 256, false, true),
            (147, 256, true, false),
            (40, 64, false, false),
            (41, 64, false, true),
            (36, 64, true, false),
        ] {
            assert_eq!(is_full(memory(used, limit), was), is, "{used} of {limit}");
        }
    }

    #[test]
    fn who_was_refused_is_served_again_once_the_cache_has_given_way() {
        for limit in [64 * MIB, 256 * MIB, 512 * MIB, 640 * MIB, 2048 * MIB, 1 << 40] {
            assert!(!is_full(MemoryUse { used: tight(limit), limit }, true), "{limit}");
            assert!(tight(limit) >= limit / 100 * 52, "{limit}");
        }
    }
}
