//! One client connection, from its first byte to its last: which HTTP it speaks
//! is known by now, hyper parses it, and its pace, its limits and a drain end it.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::gather::Gather;
use super::lent::{Home, Lent};
use super::pace::Pace;
use super::paced::Paced;
use super::service::ConnectionService;
use super::stream_pace::{self, KeptMoving, StreamPace};
use super::{ConnectionProtocol, Front};
use crate::base::{Clock, Tasks};
use crate::config::model::Limits;
use crate::exchange::ConnectionInfo;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;

/// Flow control windows and send buffer of HTTP/2, in bytes. A stream's share
/// is small, as a client can open many and take nothing. Half of the connection's is
/// what h2 lets small DATA frames cost that nobody has read yet, up to 256 bytes each,
/// before it ends the connection: a stream full of messages of 16 bytes costs less.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
const STREAM_SEND_BUFFER: usize = 32 * 1024;

/// The least that hyper takes for its buffers of an HTTP/1 connection, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// How long a drain leaves an HTTP/1 connection to its client, who may be about to send a
/// request, and is told with the answer that it was the last one. HTTP/2 has GOAWAY.
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// How long nothing goes on before an HTTP/1 connection rests.
const RESTS_AFTER: Duration = Duration::from_secs(2);

impl Front {
    /// Serves a connection until it ends. Dropping the future closes it.
    pub async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        protocol: ConnectionProtocol,
        connection: ConnectionInfo,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = self.limits();
        let pace = Arc::new(Pace::new(Arc::clone(&self.clock), protocol, &limits));
        let stream = Paced::new(stream, Arc::clone(&pace));
        let peer = connection.peer;
        let service = ConnectionService {
            front: Arc::clone(&self),
            connection: Arc::new(connection),
            pace: Arc::clone(&pace),
        };
        let served = match protocol {
            ConnectionProtocol::Http1 => self.serve_http1(stream, &service, (&pace, &limits)).await,
            ConnectionProtocol::Http2 => {
                let gather = Gather::new(stream);
                let io = TokioIo::new(gather.handle());
                let mut connection = pin!(self.http2(&limits).serve_connection(io, service));
                let poll = |connection: Pin<&mut _>, context: &mut Context<'_>| {
                    let is_read = !self.is_out_of_memory();
                    gather.poll_driven(connection, is_read, context).map(|served| served.unwrap_or(Ok(())))
                };
                let ended = async {
                    loop {
                        tokio::select! {
                            limit = pace.ended_by(&limits) => return Some(limit),
                            () = self.crowded_out.notified() => {}
                        }
                        if pace.is_idle() || gather.is_paused() {
                            return Some(Limit::Memory);
                        }
                    }
                };
                let close = (http2::Connection::graceful_shutdown, Duration::ZERO);
                self.drive(connection.as_mut(), poll, ended, close).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            self.refused(&error);
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection failed");
        }
    }

    /// Serves HTTP/1, by hyper while something goes on.
    async fn serve_http1<S>(
        &self,
        stream: Paced<S>,
        service: &ConnectionService,
        (pace, limits): (&Pace, &Limits),
    ) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let home = Home::new(stream);
        let close = (http1::UpgradeableConnection::graceful_shutdown, LAST_REQUEST_WITHIN);
        let poll = |connection: Pin<&mut _>, context: &mut Context<'_>| {
            let polled = Future::poll(connection, context);
            if pace.pause() && self.is_out_of_memory() && polled.is_pending() && !pace.is_blocked() {
                self.telemetry.metrics.limit(Limit::Memory);
                return Poll::Ready(Ok(()));
            }
            polled
        };
        while let Some(stream) = self.begun(&home, pace, limits).await {
            let connection = self.http1(limits).serve_connection(TokioIo::new(stream), service);
            let connection = pin!(connection.with_upgrades());
            let ended = pace.ended_or_rests(limits, RESTS_AFTER);
            if let Some(served) = self.drive(connection, poll, ended, close).await {
                return served;
            }
        }
        home.close();
        Ok(())
    }

    /// The stream once something comes in; `None` if it ended, or is to end.
    async fn begun<S>(&self, home: &Home<S>, pace: &Pace, limits: &Limits) -> Option<Lent<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::select! {
            biased;
            stream = home.lend_when_readable() => stream,
            limit = pace.ended_at_rest(limits) => {
                self.telemetry.metrics.limit(limit);
                None
            }
            () = self.crowded_out.notified() => {
                self.telemetry.metrics.limit(Limit::Memory);
                None
            }
            () = self.drained(LAST_REQUEST_WITHIN) => None,
        }
    }

    /// Waits until a drain has gone on for as long.
    async fn drained(&self, after: Duration) {
        self.draining.cancelled().await;
        tokio::time::sleep(after).await;
    }

    /// Drives a connection by `poll` to its end, or that of a limit or a drain, which has
    /// it `close` after a while; `None` if it rests, as `ended` says with no limit.
    async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        poll: impl Fn(Pin<&mut C>, &mut Context<'_>) -> Poll<hyper::Result<()>>,
        ended: impl Future<Output = Option<Limit>>,
        (close, leave): (impl Fn(Pin<&mut C>), Duration),
    ) -> Option<hyper::Result<()>> {
        let mut ended = pin!(ended);
        let mut drain = pin!(self.drained(leave));
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|context| poll(connection.as_mut(), context)) => return Some(served),
                ended = &mut ended => {
                    let limit = ended?;
                    self.telemetry.metrics.limit(limit);
                    if matches!(limit, Limit::IdleTimeout | Limit::H2Resets | Limit::Memory) {
                        // Lets HTTP/2 say GOAWAY, as far as that needs no waiting.
                        close(connection.as_mut());
                        let _ = poll_fn(|context| poll(connection.as_mut(), context)).now_or_never();
                    }
                    return Some(Ok(()));
                }
                () = &mut drain, if !is_draining => {
                    is_draining = true;
                    close(connection.as_mut());
                }
            }
        }
    }

    fn http1(&self, limits: &Limits) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_buf_size((limits.header_bytes + limits.request_line).max(SMALLEST_BUFFER))
            .half_close(false);
        if limits.headers != Limits::HEADERS_OF_HYPER {
            builder.max_headers(limits.headers);
        }
        builder
    }

    fn http2(&self, limits: &Limits) -> http2::Builder<Streams> {
        let streams = Streams {
            tasks: self.tasks.clone(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.telemetry.metrics),
            longest_wait: stream_pace::longest_wait(limits),
        };
        let mut builder = http2::Builder::new(streams);
        builder
            // The service has set it.
            .auto_date_header(false)
            .max_concurrent_streams(limits.h2_streams)
            .enable_connect_protocol()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        builder
    }

    /// Counts what hyper or h2 refused before there was a request.
    fn refused(&self, error: &hyper::Error) {
        let metrics = &self.telemetry.metrics;
        if error.is_parse_too_large() {
            metrics.limit(Limit::HeaderBytes);
        }
        let source = std::error::Error::source(error);
        if error.is_parse() || source.is_some_and(<dyn std::error::Error>::is::<h2::Error>) {
            metrics.protocol_errors.increment();
        }
    }
}

/// Runs the streams of HTTP/2 connections. Most are answered from the cache at
/// their first poll, so that comes before a task is made for them.
#[derive(Clone)]
struct Streams {
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    longest_wait: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // The one thing that a stream runs is the sending side of its tunnel.
        if let Some(opened_by) = StreamPace::current() {
            self.tasks.spawn(opened_by.tunnel().run(stream));
            return;
        }
        let metrics = Arc::clone(&self.metrics);
        let clock = Arc::clone(&self.clock);
        let stream = KeptMoving::new(stream, clock, self.longest_wait, Arc::clone(&metrics));
        let mut stream = Box::pin(AssertUnwindSafe(stream).catch_unwind().map(move |end| {
            // A panic ends its own stream and no other.
            if end.is_err() {
                metrics.panics.increment();
            }
        }));
        if stream.as_mut().now_or_never().is_none() {
            self.tasks.spawn(stream);
        }
    }
}
