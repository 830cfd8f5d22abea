//! One client connection, from its first byte to its last: which HTTP it speaks
//! is known by now, hyper or h2 parses it, and its pace, its limits and a drain end it.

use std::any::Any;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::beside::Beside;
use super::http2::{self, Gather};
use super::lent::{Home, Lent};
use super::pace::Pace;
use super::paced::Paced;
use super::service::{Client, ConnectionService};
use super::{ConnectionProtocol, Front};
use crate::config::model::Limits;
use crate::exchange::ConnectionInfo;
use crate::telemetry::metrics::Limit;

/// The least that hyper takes for its buffers of an HTTP/1 connection, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// How long a drain leaves an HTTP/1 connection to its client, who may be about to send a
/// request, and is told with the answer that it was the last one. HTTP/2 has GOAWAY.
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// How long nothing goes on before an HTTP/1 connection rests.
const RESTS_AFTER: Duration = Duration::from_secs(2);

/// How far a connection was driven.
enum Driven<E> {
    /// To its own end.
    Served(Result<(), E>),
    /// To that of a limit.
    Cut,
    /// Until nothing goes on.
    Rests,
}

impl Front {
    /// Serves a connection until it ends. Dropping the future closes it. `open` is kept
    /// until nothing of it is left, a tunnel included.
    pub async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        protocol: ConnectionProtocol,
        connection: ConnectionInfo,
        open: impl Any + Send + Sync,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = self.limits();
        let pace = Arc::new(Pace::new(Arc::clone(&self.clock), protocol, &limits, Box::new(open)));
        let stream = Paced::new(stream, Arc::clone(&pace));
        let peer = connection.peer;
        let service = ConnectionService(Arc::new(Client {
            front: Arc::clone(&self),
            connection: Arc::new(connection),
            pace: Arc::clone(&pace),
        }));
        match protocol {
            ConnectionProtocol::Http1 => {
                let served = self.serve_http1(stream, &service, (&pace, &limits)).await;
                if let Err(error) = served {
                    if error.is_parse_too_large() {
                        self.telemetry.metrics.limit(Limit::HeaderBytes);
                    }
                    self.failed(peer, &error, error.is_parse());
                }
            }
            ConnectionProtocol::Http2 => {
                let served = self.serve_http2(stream, service, (&pace, &limits)).await;
                if let Err(error) = served {
                    self.failed(peer, &error, !error.is_io() && !error.is_remote());
                }
            }
        }
    }

    /// Takes note of a connection that failed, maybe of what the parser would not take.
    fn failed(&self, peer: SocketAddr, error: &(dyn std::error::Error + 'static), is_refused: bool) {
        if is_refused {
            self.telemetry.metrics.protocol_errors.increment();
        }
        tracing::debug!(%peer, error, "connection failed");
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
        let end = |connection: Pin<&mut _>, _| http1::UpgradeableConnection::graceful_shutdown(connection);
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
            match self.drive(connection, poll, ended, close, end).await {
                Driven::Served(served) if served.is_err() || !pace.asks_for_change() => return served,
                Driven::Served(_) => break,
                Driven::Cut => return Ok(()),
                Driven::Rests => {}
            }
        }
        // hyper leaves one open whose client ever asked for another protocol.
        tokio::select! {
            // What the client takes at the last moment counts.
            biased;
            () = home.close() => {}
            _ = pace.ended_by(limits) => {}
        }
        Ok(())
    }

    /// Serves HTTP/2, as h2 has it.
    async fn serve_http2<S>(
        &self,
        stream: Paced<S>,
        service: ConnectionService,
        (pace, limits): (&Pace, &Limits),
    ) -> Result<(), h2::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let gather = Gather::new(stream);
        let connection = pin!(http2::Connection::new(gather.handle(), service, limits));
        let poll = |connection: Pin<&mut _>, context: &mut Context<'_>| {
            let is_read = !self.is_out_of_memory();
            gather.poll_driven(connection, is_read, context).map(|served| served.unwrap_or(Ok(())))
        };
        let ended = async {
            loop {
                tokio::select! {
                    limit = pace.ended_by(limits) => return Some(limit),
                    () = self.crowded_out.notified() => {}
                }
                if pace.is_idle() || gather.is_paused() {
                    return Some(Limit::Memory);
                }
            }
        };
        let close = (http2::Connection::close, Duration::ZERO);
        match self.drive(connection, poll, ended, close, http2::Connection::end).await {
            Driven::Served(served) => served,
            Driven::Cut | Driven::Rests => Ok(()),
        }
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

    /// Drives a connection by `poll` to its end, that of a limit, at which it may say so by
    /// `end`, or of a drain, which has it `close` after a while; or until it rests, as `ended`
    /// says with no limit.
    async fn drive<C, E>(
        &self,
        mut connection: Pin<&mut C>,
        poll: impl Fn(Pin<&mut C>, &mut Context<'_>) -> Poll<Result<(), E>>,
        ended: impl Future<Output = Option<Limit>>,
        (close, leave): (impl Fn(Pin<&mut C>), Duration),
        end: impl Fn(Pin<&mut C>, Limit),
    ) -> Driven<E> {
        let mut ended = pin!(Beside::new(ended));
        let mut drain = pin!(Beside::new(self.drained(leave)));
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|context| poll(connection.as_mut(), context)) => return Driven::Served(served),
                ended = &mut ended => {
                    let Some(limit) = ended else { return Driven::Rests };
                    self.telemetry.metrics.limit(limit);
                    if matches!(limit, Limit::IdleTimeout | Limit::H2Resets | Limit::Memory) {
                        // As far as that needs no waiting.
                        end(connection.as_mut(), limit);
                        let _ = poll_fn(|context| poll(connection.as_mut(), context)).now_or_never();
                    }
                    return Driven::Cut;
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
}
