//! Connections that wait for their next request. Each worker has a shelf of
//! its own, so that the lock on it is never waited for; the last one put there
//! is the first one used.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::introduction::ClientEnds;
use crate::exchange::Host;

/// More workers than this share shelves.
pub(super) const SHELVES: usize = 32;

/// Idle connections to one origin server.
#[derive(Debug)]
pub(super) struct IdleConnections {
    shelves: Box<[Shelf]>,
    /// How long one is kept.
    keep_alive: Duration,
    /// How many are kept on one shelf.
    most: usize,
    is_closed: AtomicBool,
}

/// One worker's, apart from the others' in memory, oldest first.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shelf(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl IdleConnections {
    /// None yet.
    pub(super) fn new(keep_alive: Duration, most: usize) -> Self {
        Self {
            shelves: (0..SHELVES).map(|_| Shelf::default()).collect(),
            keep_alive,
            most,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Keeps `connection`, or closes it if there are enough, or it was used enough.
    pub(super) fn put(&self, connection: Box<Connection>, now: Instant) {
        let mut shelf = lock(self.own());
        let is_worth_it = shelf.len() < self.most && !connection.lifetime.is_over(now);
        if is_worth_it && !self.is_closed.load(Relaxed) {
            shelf.push(Idle { connection, since: now });
        } else {
            drop(shelf);
            connection.http1.close();
        }
    }

    /// The connection used last that may be used for `host` and `client`; those
    /// found closed or too old on the way are closed here, too.
    pub(super) fn take(
        &self,
        host: Option<&Host>,
        client: Option<ClientEnds>,
        now: Instant,
    ) -> Option<Box<Connection>> {
        self.take_from(self.own(), host, client, now)
    }

    /// The same, of any worker's: for where no further connection can be had.
    pub(super) fn take_any(
        &self,
        host: Option<&Host>,
        client: Option<ClientEnds>,
        now: Instant,
    ) -> Option<Box<Connection>> {
        self.shelves.iter().find_map(|shelf| self.take_from(shelf, host, client, now))
    }

    fn take_from(
        &self,
        shelf: &Shelf,
        host: Option<&Host>,
        client: Option<ClientEnds>,
        now: Instant,
    ) -> Option<Box<Connection>> {
        let (mut usable, mut over) = (None, Vec::new());
        {
            let mut shelf = lock(shelf);
            let mut index = shelf.len();
            while usable.is_none() && index > 0 {
                index -= 1;
                let connection = &shelf[index].connection;
                let proven = connection.proven_host.as_ref();
                if proven.map(Host::name) != host.map(Host::name) || connection.client != client {
                    continue;
                }
                let mut idle = shelf.remove(index);
                if self.is_young(&idle, now) && idle.connection.http1.is_ready() {
                    usable = Some(idle.connection);
                } else {
                    over.push(idle);
                }
            }
        }
        close(over);
        usable
    }

    /// Closes those that the server closed, or that are too old, on every shelf; the others
    /// give back the memory that they do not need.
    pub(super) fn sweep(&self, now: Instant) {
        let is_over = |idle: &mut Idle| !self.is_young(idle, now) || !idle.connection.http1.is_ready();
        for shelf in &self.shelves {
            let over: Vec<_> = {
                let mut shelf = lock(shelf);
                let over = shelf.extract_if(.., is_over).collect();
                shelf.iter_mut().for_each(|idle| idle.connection.rest());
                over
            };
            close(over);
        }
    }

    /// Closes them all, and keeps none from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        for shelf in &self.shelves {
            let over = std::mem::take(&mut *lock(shelf));
            close(over);
        }
    }

    /// Closes the oldest of some shelf, to make room for another connection; false if
    /// all are empty.
    pub(super) fn drop_one(&self) -> bool {
        let oldest = self.shelves.iter().find_map(|shelf| {
            let mut shelf = lock(shelf);
            (!shelf.is_empty()).then(|| shelf.remove(0))
        });
        let has_one = oldest.is_some();
        close(oldest);
        has_one
    }

    fn is_young(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.keep_alive && !idle.connection.lifetime.is_over(now)
    }

    fn own(&self) -> &Shelf {
        &self.shelves[number_of_thread() % SHELVES]
    }
}

/// Closes connections, while no shelf is locked: for that some have to be spoken to.
fn close(idle: impl IntoIterator<Item = Idle>) {
    idle.into_iter().for_each(|idle| idle.connection.http1.close());
}

fn lock(shelf: &Shelf) -> MutexGuard<'_, Vec<Idle>> {
    shelf.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of the current thread's, given out in turn; nothing else is shared
/// through it.
pub(super) fn number_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Relaxed);
        OWN.set(Some(number));
        number
    })
}
