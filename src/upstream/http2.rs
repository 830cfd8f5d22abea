//! HTTP/2 connections to one origin server (RFC 9113): each carries several
//! requests at a time, and another one is opened when all are full. Each worker
//! has its own; whether the server speaks HTTP/2 at all is found out by `server`.

mod ask;
mod ping;
mod pulse;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{Builder, Connection, SendRequest};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::ask::Unanswered;

use self::pulse::Pulse;
use super::failure::{not_sent, stream_error};
use super::idle::{SHELVES, shelf_of_thread};
use super::lifetime::Lifetime;
use super::open::{Demand, OpenConnection};
use super::server::OriginServer;
use super::stream::{OriginStream, Traffic, Transport};
use crate::base::Tasks;
use crate::config::model::OriginTimeouts;
use crate::exchange::{FetchError, Host, RequestProgress};
use crate::telemetry::Metrics;

/// Requests that a connection carries at a time, if the server allows so many.
const MOST_STREAMS: usize = 100;

/// How much of a response is read ahead of its reader, in bytes: so much of a stream
/// comes in a round trip at most, and so much a client that takes nothing holds.
const STREAM_WINDOW: u32 = 256 << 10;
/// A reader that is slow holds up no other one of its connection: its window is more
/// than those of its streams. Half of it is what h2 lets small DATA frames cost that
/// nobody has read yet, up to 256 bytes each, before it ends the connection. With four
/// times the windows that takes more than all of them full of messages of 90 bytes.
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW * MOST_STREAMS as u32;
/// How much of a request's content waits to be sent, in bytes.
const SEND_BUFFER: usize = 64 << 10;

/// Streams that the server made wrong and that were reset for it, before the
/// connection ends.
const WRONG_STREAMS: usize = 1024;

/// The settings of HTTP/2 with `server`. Of the fields of a response up to twice as
/// many bytes are read as they may have, so that it can be said what is wrong with
/// them: h2 resets the stream without a word, and beyond that the connection.
fn builder(server: &OriginServer) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(MOST_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(WRONG_STREAMS))
        .max_header_list_size(u32::try_from(2 * server.header_bytes).unwrap_or(u32::MAX));
    builder
}

/// A connection that carries several requests. It is closed once nobody holds
/// it any more.
#[derive(Debug)]
pub(super) struct Multiplexed {
    sender: SendRequest<Bytes>,
    /// The host whose name the server proved, where that is said by requests.
    proven_host: Option<Host>,
    state: Arc<State>,
    /// True if the server takes a CONNECT that names a protocol (RFC 8441 s3).
    pub(super) takes_connect: bool,
    lifetime: Lifetime,
    pulse: Pulse,
    demand: Arc<Demand>,
    tasks: Tasks,
    pub(super) metrics: Arc<Metrics>,
    _end: DropGuard,
}

impl Multiplexed {
    /// Begins to speak HTTP/2 over `transport`, and waits for the server's settings:
    /// they say how many requests it takes, and that it speaks HTTP/2 at all (RFC
    /// 9113 s3.4). Cancel safe.
    pub(super) async fn start(
        transport: Transport,
        proven_host: Option<Host>,
        lifetime: Lifetime,
        open: Option<OpenConnection>,
        server: &OriginServer,
    ) -> Result<Arc<Self>, FetchError> {
        let heard = CancellationToken::new();
        let traffic = Arc::<Traffic>::default();
        let stream = OriginStream::telling(transport, Arc::clone(&traffic), heard.clone().drop_guard(), open);
        let (sender, mut connection) = builder(server)
            .handshake(stream)
            .await
            .map_err(|error| FetchError { progress: RequestProgress::NotSent, ..stream_error(error) })?;
        let ended = tokio::select! {
            biased;
            ended = &mut connection => Some(ended),
            () = heard.cancelled() => (&mut connection).now_or_never(),
        };
        if ended.is_some() {
            return Err(not_sent("the server does not speak HTTP/2"));
        }
        let takes_connect = sender.is_extended_connect_protocol_enabled();
        let end = CancellationToken::new();
        let state = Arc::new(State::default());
        state.allowed.store(connection.max_concurrent_send_streams(), Relaxed);
        let driven = drive(
            connection,
            sender.clone(),
            Arc::clone(&state),
            Arc::clone(&traffic),
            server.timeouts.clone(),
            end.clone(),
        );
        server.tasks.spawn(driven);
        Ok(Arc::new(Self {
            sender,
            proven_host,
            takes_connect,
            state,
            lifetime,
            pulse: Pulse::new(Arc::clone(&server.clock), traffic),
            demand: Arc::clone(server.open.demand()),
            tasks: server.tasks.clone(),
            metrics: Arc::clone(&server.metrics),
            _end: end.drop_guard(),
        }))
    }

    /// Has no further request sent on it.
    pub(super) fn retire(&self) {
        self.state.is_over.store(true, Relaxed);
    }

    /// A stream for a request, if there is one left.
    pub(super) fn stream(self: &Arc<Self>) -> Option<Stream> {
        let most = self.state.allowed.load(Relaxed).min(MOST_STREAMS);
        let one_more = |streams| (streams < most).then_some(streams + 1);
        self.state.streams.fetch_update(SeqCst, SeqCst, one_more).ok()?;
        self.lifetime.count();
        self.pulse.asked();
        Some(Stream { connection: Arc::clone(self), upload: None })
    }

    /// True as long as requests may be sent on it.
    pub(super) fn is_usable(&self) -> bool {
        !self.state.is_over.load(Relaxed)
    }

    /// True as long as it is neither unusable nor used enough.
    fn is_wanted(&self, now: Instant) -> bool {
        self.is_usable() && !self.lifetime.is_over(now)
    }
}

/// What its driver and its users know of a connection.
#[derive(Debug, Default)]
struct State {
    /// So many requests at a time the server allows now.
    allowed: AtomicUsize,
    /// So many there are.
    streams: AtomicUsize,
    /// It takes, or gets, no further ones.
    is_over: AtomicBool,
}

/// Whatever ends the driver, a panic as well, the connection is over.
struct Ending(Arc<State>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

/// Moves the bytes of a connection until it ends, its server is missed, or it is `left`
/// by all who held it.
async fn drive(
    mut connection: Connection<OriginStream, Bytes>,
    mut sender: SendRequest<Bytes>,
    state: Arc<State>,
    traffic: Arc<Traffic>,
    timeouts: OriginTimeouts,
    left: CancellationToken,
) {
    let _ending = Ending(Arc::clone(&state));
    let pings = connection.ping_pong().zip(timeouts.ping);
    let missed = async {
        match pings {
            Some((pings, every)) => {
                let is_in_use = || state.streams.load(Relaxed) > 0;
                ping::until_missed(pings, &traffic, is_in_use, (every, timeouts.connect)).await;
            }
            None => std::future::pending().await,
        }
    };
    let ended = poll_fn(|context| {
        let polled = Pin::new(&mut connection).poll(context);
        state.allowed.store(connection.max_concurrent_send_streams(), Relaxed);
        // So it is after a GOAWAY, too, while streams run to their end.
        if let Poll::Ready(Err(_)) = sender.poll_ready(context) {
            state.is_over.store(true, Relaxed);
        }
        polled
    });
    tokio::select! {
        ended = ended => if let Err(error) = ended {
            // Whoever waits for a response is told by its stream.
            tracing::debug!(error = &error as &dyn std::error::Error, "origin connection ended");
        },
        () = missed => tracing::debug!("origin server answers no PING"),
        () = left.cancelled() => {
            // h2 closes it once nobody can send a request on it: behind what is still to
            // be sent, which may be the last words of a tunnel.
            drop(sender);
            let _closed = tokio::time::timeout(timeouts.connect, connection).await;
        }
    }
}

/// The right to send one request on a connection, until its response has ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Arc<Multiplexed>,
    /// Ends the sending of the request's content, where that goes on.
    upload: Option<DropGuard>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.connection.state.streams.fetch_sub(1, SeqCst) == 1 {
            self.connection.pulse.is_left();
        }
        self.connection.demand.stream_left();
    }
}

/// The connections to one origin server.
#[derive(Debug)]
pub(super) struct MultiplexedConnections {
    shelves: Box<[Shelf]>,
    timeouts: OriginTimeouts,
    is_closed: AtomicBool,
}

/// One worker's, apart from the others' in memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shelf {
    connections: Mutex<Vec<Arc<Multiplexed>>>,
    /// Held while a connection is opened: those who come meanwhile use it.
    opening: tokio::sync::Mutex<()>,
}

impl MultiplexedConnections {
    /// None yet.
    pub(super) fn new(timeouts: OriginTimeouts) -> Self {
        let shelves = (0..SHELVES).map(|_| Shelf::default()).collect();
        Self { shelves, timeouts, is_closed: AtomicBool::new(false) }
    }

    /// A stream of a connection that may be used for `host`; those found closed, too
    /// old or used enough on the way are dropped, and end with their last stream. One
    /// whose server has said nothing for longer than a new connection may take is left
    /// to those who wait on it: it may be dead.
    pub(super) fn take(&self, host: Option<&Host>, now: Instant) -> Option<Stream> {
        self.stream_of(self.own(), host, now)
    }

    /// The same, of any worker's: for where no further connection can be had.
    pub(super) fn take_any(&self, host: Option<&Host>, now: Instant) -> Option<Stream> {
        self.shelves.iter().find_map(|shelf| self.stream_of(shelf, host, now))
    }

    fn stream_of(&self, shelf: &Shelf, host: Option<&Host>, now: Instant) -> Option<Stream> {
        let mut shelf = lock(shelf);
        shelf.retain(|connection| self.is_kept(connection, now));
        shelf
            .iter()
            .filter(|connection| connection.proven_host.as_ref() == host)
            .filter(|connection| connection.pulse.silent_for() <= self.timeouts.connect)
            .find_map(Multiplexed::stream)
    }

    /// Keeps `connection` for further requests.
    pub(super) fn put(&self, connection: Arc<Multiplexed>) {
        let mut shelf = lock(self.own());
        if !self.is_closed.load(Relaxed) {
            shelf.push(connection);
        }
    }

    /// Waits until no other request of this worker opens a connection.
    pub(super) async fn open(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.own().opening.lock().await
    }

    /// Drops those that are closed, too old or used enough, on every shelf.
    pub(super) fn sweep(&self, now: Instant) {
        for shelf in &self.shelves {
            lock(shelf).retain(|connection| self.is_kept(connection, now));
        }
    }

    fn is_kept(&self, connection: &Multiplexed, now: Instant) -> bool {
        let is_young = connection.pulse.idle_for().is_none_or(|idle| idle < self.timeouts.keep_alive);
        is_young && connection.is_wanted(now)
    }

    /// Drops one that carries nothing, to make room for another connection.
    pub(super) fn drop_one(&self) {
        for shelf in &self.shelves {
            let mut shelf = lock(shelf);
            if let Some(idle) = shelf.iter().position(|it| it.state.streams.load(SeqCst) == 0) {
                shelf.swap_remove(idle);
                return;
            }
        }
    }

    /// Drops them all, and keeps none from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.shelves.iter().for_each(|shelf| lock(shelf).clear());
    }

    fn own(&self) -> &Shelf {
        &self.shelves[shelf_of_thread() % SHELVES]
    }
}

fn lock(shelf: &Shelf) -> MutexGuard<'_, Vec<Arc<Multiplexed>>> {
    shelf.connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
