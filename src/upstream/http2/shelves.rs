//! The HTTP/2 connections to one origin server: which of them carries the next request,
//! and which are kept no longer. Each worker has a shelf of its own. It opens none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::{Multiplexed, Stream};
use crate::config::model::OriginTimeouts;
use crate::exchange::Host;
use crate::upstream::idle::{SHELVES, number_of_thread};

/// The connections to one origin server.
#[derive(Debug)]
pub(in crate::upstream) struct MultiplexedConnections {
    shelves: Box<[Shelf]>,
    timeouts: OriginTimeouts,
    is_closed: AtomicBool,
}

/// One worker's, apart from the others' in memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shelf {
    connections: Mutex<Connections>,
    openings: Openings,
}

#[derive(Debug, Default)]
struct Connections {
    kept: Vec<Arc<Multiplexed>>,
    /// Those that are kept no longer: they end with their last stream.
    leaving: Vec<Weak<Multiplexed>>,
}

impl Connections {
    fn all(&self) -> Vec<Arc<Multiplexed>> {
        self.kept.iter().cloned().chain(self.leaving.iter().filter_map(Weak::upgrade)).collect()
    }

    fn sweep(&mut self, is_kept: impl Fn(&Multiplexed) -> bool) {
        self.leaving.retain(|connection| connection.strong_count() > 0);
        let dropped = self.kept.extract_if(.., |connection| !is_kept(connection));
        self.leaving.extend(dropped.map(|connection| Arc::downgrade(&connection)));
    }
}

/// By the host whose name is to be proven, what is held while a connection is opened:
/// those who come meanwhile use it.
#[derive(Debug, Default)]
struct Openings(Mutex<HashMap<Option<Box<str>>, Opening>>);

type Opening = Arc<tokio::sync::Mutex<()>>;

impl Openings {
    fn of(&self, host: Option<&Host>) -> Opening {
        let mut openings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        openings.retain(|_, opening| Arc::strong_count(opening) > 1);
        Arc::clone(openings.entry(host.map(|host| host.name().into())).or_default())
    }
}

impl MultiplexedConnections {
    /// None yet.
    pub(in crate::upstream) fn new(timeouts: OriginTimeouts) -> Self {
        let shelves = (0..SHELVES).map(|_| Shelf::default()).collect();
        Self { shelves, timeouts, is_closed: AtomicBool::new(false) }
    }

    /// A stream of a connection that may be used for `host`; those found closed, too
    /// old or used enough on the way are dropped, and end with their last stream. One
    /// whose server has said nothing for longer than a new connection may take is left
    /// to those who wait on it: it may be dead.
    pub(in crate::upstream) fn take(&self, host: Option<&Host>, now: Instant) -> Option<Stream> {
        self.stream_of(self.own(), host, now)
    }

    /// The same, of any worker's: for where no further connection can be had.
    pub(in crate::upstream) fn take_any(&self, host: Option<&Host>, now: Instant) -> Option<Stream> {
        self.shelves.iter().find_map(|shelf| self.stream_of(shelf, host, now))
    }

    fn stream_of(&self, shelf: &Shelf, host: Option<&Host>, now: Instant) -> Option<Stream> {
        let mut shelf = lock(shelf);
        shelf.sweep(|connection| self.is_kept(connection, now));
        shelf
            .kept
            .iter()
            .filter(|connection| connection.is_for(host))
            .filter(|connection| !self.is_silent(connection))
            .find_map(Multiplexed::stream)
    }

    /// A stream of any connection for `host`, be it too old or used enough, or at last
    /// silent: for where nothing else is left but to wait.
    pub(in crate::upstream) fn take_last_resort(&self, host: Option<&Host>) -> Option<Stream> {
        let all = self.shelves.iter().flat_map(|shelf| lock(shelf).all());
        let mut theirs: Vec<_> = all.filter(|connection| connection.is_for(host)).collect();
        theirs.sort_by_key(|connection| self.is_silent(connection));
        theirs.iter().find_map(Multiplexed::stream)
    }

    /// Keeps `connection` for further requests.
    pub(in crate::upstream) fn put(&self, connection: Arc<Multiplexed>) {
        let mut shelf = lock(self.own());
        if !self.is_closed.load(Relaxed) {
            shelf.kept.push(connection);
        }
    }

    /// Waits until no other request of this worker opens a connection for `host`.
    pub(in crate::upstream) async fn open(&self, host: Option<&Host>) -> OwnedMutexGuard<()> {
        self.own().openings.of(host).lock_owned().await
    }

    /// Drops those that are closed, too old or used enough, on every shelf.
    pub(in crate::upstream) fn sweep(&self, now: Instant) {
        for shelf in &self.shelves {
            lock(shelf).sweep(|connection| self.is_kept(connection, now));
        }
    }

    fn is_silent(&self, connection: &Multiplexed) -> bool {
        connection.pulse.silent_for() > self.timeouts.connect
    }

    fn is_kept(&self, connection: &Multiplexed, now: Instant) -> bool {
        let is_young = connection.pulse.idle_for().is_none_or(|idle| idle < self.timeouts.keep_alive);
        is_young && connection.is_wanted(now)
    }

    /// Drops one that carries nothing, to make room for another connection; false if
    /// there is none.
    pub(in crate::upstream) fn drop_one(&self) -> bool {
        self.shelves.iter().any(|shelf| {
            let mut shelf = lock(shelf);
            let idle = shelf.kept.iter().position(|it| it.state.streams.load(SeqCst) == 0);
            idle.map(|idle| shelf.kept.swap_remove(idle)).is_some()
        })
    }

    /// Drops them all, and keeps none from now on.
    pub(in crate::upstream) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.shelves.iter().for_each(|shelf| lock(shelf).sweep(|_| false));
    }

    fn own(&self) -> &Shelf {
        &self.shelves[number_of_thread() % SHELVES]
    }
}

fn lock(shelf: &Shelf) -> MutexGuard<'_, Connections> {
    shelf.connections.lock().unwrap_or_else(PoisonError::into_inner)
}
