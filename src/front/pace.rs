//! Keeps a client's connection moving: knows since when it has been silent, or
//! has not taken what it was sent; `deadlines` says when that has lasted too long.
//!
//! The way of a request only stores numbers here.

mod deadlines;

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ConnectionProtocol;
use super::framing::Framing;
use super::interim::InterimResponses;
use super::room::Room;
use crate::base::Clock;
use crate::config::model::{Frequency, Limits};
use crate::exchange::{Failure, InterimClient};

/// Nothing of this kind is going on.
const NEVER: u64 = u64::MAX;

/// It has just begun, at a time that nobody needs unless it lasts.
const JUST_NOW: u64 = u64::MAX - 1;

/// What a connection does, in numbers that its parts share.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    opened: Instant,
    /// Exchanges that have begun and not ended.
    exchanges: AtomicU32,
    /// True once the first exchange began.
    served: AtomicBool,
    /// When the last exchange ended, or its response had left.
    idle_since: AtomicU64,
    /// When the first byte of the next request came.
    head_since: AtomicU64,
    /// Since when the client does not take what is written.
    blocked_since: AtomicU64,
    /// Bytes the client took.
    written: AtomicU64,
    /// What an HTTP/1 client may be given.
    pub(super) room: Room,
    /// What it is told before an answer.
    pub(super) interim: InterimResponses,
    /// Exchanges that the client gave up lately, and since when they are counted.
    given_up: AtomicU32,
    given_up_since: AtomicU64,
    /// How many those may be.
    resets: Frequency,
    too_many_given_up: Notify,
    /// True once a change to another protocol was asked for.
    asks_for_change: AtomicBool,
    /// Where HTTP/1 requests begin and end; `None` for HTTP/2.
    framing: Option<Mutex<Framing>>,
    /// True if the client may have sent more than the request of the exchange that goes on.
    sent_ahead: AtomicBool,
    /// Counts the connection as open until its last exchange has ended: a tunnel
    /// outlives HTTP.
    _open: Box<dyn Any + Send + Sync>,
}

impl Pace {
    /// That of a connection that counts as open as long as there is `open`.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        protocol: ConnectionProtocol,
        limits: &Limits,
        open: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let longest_line = limits.request_line + limits.header_bytes;
        let is_http1 = protocol == ConnectionProtocol::Http1;
        Self {
            framing: is_http1.then(|| Mutex::new(Framing::new(longest_line))),
            opened: clock.now(),
            clock,
            exchanges: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            blocked_since: AtomicU64::new(NEVER),
            written: AtomicU64::new(0),
            room: Room::default(),
            interim: InterimResponses::default(),
            given_up: AtomicU32::new(0),
            given_up_since: AtomicU64::new(0),
            resets: limits.h2_resets,
            too_many_given_up: Notify::new(),
            asks_for_change: AtomicBool::new(false),
            sent_ahead: AtomicBool::new(false),
            _open: open,
        }
    }

    /// An exchange begins: its head is complete. Says how many go on now.
    pub(super) fn begin(&self) -> u32 {
        let others = self.exchanges.fetch_add(1, Relaxed);
        self.served.store(true, Relaxed);
        self.head_since.store(NEVER, Relaxed);
        others.saturating_add(1)
    }

    /// An exchange has ended at `now`.
    pub(super) fn end(&self, now: Instant) {
        self.exchanges.fetch_sub(1, Relaxed);
        self.idle_since.store(self.since_opened(now), Relaxed);
        // The next head may have begun already.
        if self.sent_ahead.load(Relaxed) && self.sent_ahead.swap(false, Relaxed) && self.is_amid_request() {
            self.head_since.store(JUST_NOW, Relaxed);
        }
    }

    /// The client gave an exchange up at `now`. Over HTTP/2 that costs it next to
    /// nothing, and the edge and origin servers all of their work (CVE-2023-44487).
    pub(super) fn given_up(&self, now: Instant) {
        let now = self.since_opened(now);
        if now.saturating_sub(self.given_up_since.load(Relaxed)) > millis(self.resets.within) {
            self.given_up_since.store(now, Relaxed);
            self.given_up.store(0, Relaxed);
        }
        if self.given_up.fetch_add(1, Relaxed) >= self.resets.times {
            self.too_many_given_up.notify_one();
        }
    }

    /// True for a connection of HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        self.framing.is_some()
    }

    /// Bytes that the client has taken.
    pub(super) fn taken(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// True if no exchange goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.exchanges.load(Relaxed) == 0
    }

    /// True if the client does not take what it was sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.load(Relaxed) != NEVER
    }

    fn since_opened(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX)
    }

    fn framing(&self) -> Option<MutexGuard<'_, Framing>> {
        self.framing.as_ref().map(|framing| framing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks the bytes of the HTTP/1 request that now begins.
    pub(super) fn check_framing(&self) -> Result<(), Failure> {
        let Some(mut framing) = self.framing() else { return Ok(()) };
        framing.serve()?;
        if framing.is_amid_request() {
            self.sent_ahead.store(true, Relaxed);
        }
        Ok(())
    }

    /// The client asks for a change to another protocol.
    pub(super) fn ask_for_change(&self) {
        self.asks_for_change.store(true, Relaxed);
    }

    /// True if it ever did.
    pub(super) fn asks_for_change(&self) -> bool {
        self.asks_for_change.load(Relaxed)
    }

    /// What is read from now on is no HTTP.
    pub(super) fn change_protocol(&self) {
        if let Some(mut framing) = self.framing() {
            framing.change_protocol();
        }
    }

    /// True if the client may be in the middle of sending a request.
    pub(super) fn is_amid_request(&self) -> bool {
        self.framing().is_some_and(|framing| framing.is_amid_request())
    }

    /// True if an HTTP/1 client is still sending the content of its request.
    pub(super) fn is_amid_content(&self) -> bool {
        self.framing().is_some_and(|framing| framing.is_amid_content())
    }

    pub(super) fn read(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut framing) = self.framing() else { return Ok(()) };
        if !self.is_idle() {
            self.sent_ahead.store(true, Relaxed);
        } else if self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(JUST_NOW, Relaxed);
        }
        framing.read(bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
    }

    /// All that has come was worked off: a head that has begun and is still there
    /// is not complete, and is waited for. True if there is one.
    pub(super) fn pause(&self) -> bool {
        let head = self.head_since.load(Relaxed);
        if head == JUST_NOW {
            self.head_since.store(self.now(), Relaxed);
        }
        head != NEVER
    }

    pub(super) fn wrote(&self, bytes: usize) {
        // Whoever has the stream writes this, and nobody else does.
        self.written.store(self.taken() + bytes as u64, Relaxed);
        let was_blocked = self.is_blocked();
        if was_blocked {
            self.blocked_since.store(NEVER, Relaxed);
        }
        // What an HTTP/2 connection still writes its clients had no window for.
        let is_late = bytes > 0 && self.framing.is_none() && self.is_idle();
        if was_blocked || is_late {
            // It is not idle before all that it was given has left.
            self.idle_since.store(self.now(), Relaxed);
        }
    }

    pub(super) fn blocked(&self) {
        self.room.blocked();
        if !self.is_blocked() {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    /// All that was given has been written, and has left.
    pub(super) fn flushed(&self) {
        self.wrote(0);
        self.room.flushed();
    }

    /// The time by its clock.
    pub(super) fn clock_now(&self) -> Instant {
        self.clock.now()
    }

    fn now(&self) -> u64 {
        self.since_opened(self.clock.now())
    }
}

impl InterimClient for Pace {
    fn tell(&self, exchange: u64, status: StatusCode, fields: &HeaderMap) {
        self.interim.take(exchange, status, fields);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// Some that are as the defaults, or nearly so.
#[cfg(test)]
pub(super) fn test_limits() -> Limits {
    Limits {
        memory: u64::MAX,
        connections: 1,
        connections_per_ip: None,
        request_line: 8192,
        header_bytes: 32768,
        headers: 100,
        body: 1 << 20,
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        min_rate: 500,
        write_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(75),
        stream_idle: Duration::from_secs(300),
        tunnel_idle: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(30),
        h2_streams: 100,
        h2_resets: Frequency { times: 100, within: Duration::from_secs(10) },
        origin_header_bytes: 65536,
        origin_headers: 100,
    }
}
