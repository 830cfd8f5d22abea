//! HTTP/2 connections to one origin server (RFC 9113): each carries several
//! requests at a time, and another one is opened when all are full. Each worker
//! has its own; whether the server speaks HTTP/2 at all is found out by `server`.

mod ask;
mod ping;
mod pulse;
mod shelves;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{Builder, Connection, SendRequest};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::ask::Unanswered;
pub(super) use self::shelves::MultiplexedConnections;

use self::pulse::Pulse;
use super::failure::{not_sent, stream_error};
use super::lifetime::Lifetime;
use super::open::{Demand, OpenConnection};
use super::server::OriginServer;
use super::stream::{OriginStream, Traffic, Transport};
use crate::base::Tasks;
use crate::config::model::OriginTimeouts;
use crate::exchange::{FetchError, Host, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;
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
        match ended {
            None => {}
            Some(Err(error)) if !error.is_io() && !error.is_remote() => {
                return Err(not_sent("the server does not speak HTTP/2"));
            }
            Some(ended) => {
                let kind = ProxyErrorType::ConnectionTerminated;
                let error = FetchError::new(kind, RequestProgress::NotSent);
                return Err(match ended {
                    Ok(()) => error,
                    Err(reason) => error.from_source(reason),
                });
            }
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

    /// True if requests for `host` may be sent on it.
    fn is_for(&self, host: Option<&Host>) -> bool {
        self.is_usable() && self.proven_host.as_ref().map(Host::name) == host.map(Host::name)
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

#[cfg(test)]
mod tests;
