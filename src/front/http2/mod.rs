//! An HTTP/2 connection (RFC 9113): h2 has its frames, each of its requests is a
//! stream that runs by itself. What is asked and what is answered is none of its
//! business.
//!
//! h2 is driven without hyper in between, whose server has no way for interim
//! responses.

mod gather;
mod interim;
mod patience;
mod received;
mod stream;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Builder, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::service::ConnectionService;
use crate::config::model::Limits;
use crate::telemetry::metrics::Limit;

pub(super) use gather::Gather;

use patience::Patience;

/// Flow control windows and send buffer, in bytes. A stream's share is small, as a
/// client can open many and take nothing.
const STREAM_WINDOW: u32 = 64 * 1024;
const STREAM_SEND_BUFFER: usize = 24 * 1024;

/// The most that flow control can count (RFC 9113 s6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// What a field counts besides its name and its value, in bytes (RFC 9113 s6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The most pseudo-header fields that a request has (RFC 9113 s8.3.1, RFC 8441 s4).
const PSEUDO_FIELDS: usize = 5;

/// What small DATA frames may cost that nobody has read yet, up to 256 bytes each, before h2
/// ends the connection: a stream full of messages of 16 bytes costs less.
const SMALL_FRAMES: usize = 1024 * 1024;

/// Streams that the client made wrong and that were reset for it, before the
/// connection ends.
const WRONG_STREAMS: usize = 1024;

/// A connection, served as it is polled until its client ends it.
pub(super) struct Connection<S> {
    state: State<S>,
    service: ConnectionService,
    /// That of each stream.
    patience: Patience,
    closes: bool,
}

enum State<S> {
    Handshaking(Handshake<S, Bytes>),
    Open(h2::server::Connection<S, Bytes>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins to speak HTTP/2 over `io`.
    pub(super) fn new(io: S, service: ConnectionService, limits: &Limits) -> Self {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(limits.h2_streams)
            .enable_connect_protocol()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(connection_window(limits))
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(STREAM_SEND_BUFFER)
            .max_local_error_reset_streams(Some(WRONG_STREAMS))
            .max_header_list_size(largest_head(limits));
        let patience = Patience::new(Arc::clone(&service.0.pace), limits);
        Self { state: State::Handshaking(builder.handshake(io)), service, patience, closes: false }
    }

    /// Tells the client to begin no other request, and ends with the last one.
    pub(super) fn close(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.closes = true;
        if let State::Open(connection) = &mut this.state {
            connection.graceful_shutdown();
        }
    }

    /// Tells the client of the end, which is now, and of the last request that was begun: it
    /// can repeat later ones without doubt (RFC 9113 s6.8).
    pub(super) fn end(self: Pin<&mut Self>, limit: Limit) {
        let reason = if limit == Limit::H2Resets { Reason::ENHANCE_YOUR_CALM } else { Reason::NO_ERROR };
        if let State::Open(connection) = &mut self.get_mut().state {
            connection.abrupt_shutdown(reason);
        }
    }

    /// Serves a request. Most are answered from the cache when they are first polled, so
    /// that comes before a task is made for them.
    fn serve(&self, req: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let client = Arc::clone(&self.service.0);
        let stream = stream::serve(Arc::clone(&client), req, respond, self.patience.clone());
        let mut stream = Box::pin(AssertUnwindSafe(stream).catch_unwind().map(move |end| {
            // A panic ends its own stream and no other.
            if end.is_err() {
                client.front.telemetry.metrics.panics.increment();
            }
        }));
        if stream.as_mut().now_or_never().is_none() {
            self.service.0.front.tasks.spawn(stream);
        }
    }
}

/// As large as those of all streams together: content that an origin server does not take
/// holds up no other stream.
fn connection_window(limits: &Limits) -> u32 {
    limits.h2_streams.saturating_mul(STREAM_WINDOW).clamp(STREAM_WINDOW, LARGEST_WINDOW)
}

/// As large as h2 takes a head (RFC 9113 s6.5.2), in bytes: all that the limits let in,
/// each for itself. What they do not is refused, counted and logged as over HTTP/1; what
/// is larger than all of them together h2 refuses by itself.
fn largest_head(limits: &Limits) -> u32 {
    let fields = (limits.headers + PSEUDO_FIELDS) * FIELD_OVERHEAD;
    u32::try_from(limits.header_bytes + limits.request_line + fields).unwrap_or(u32::MAX)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Handshaking(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(context))?;
                    if this.closes {
                        connection.graceful_shutdown();
                    }
                    this.state = State::Open(connection);
                }
                State::Open(connection) => match ready!(connection.poll_accept(context)) {
                    Some(accepted) => {
                        let (req, respond) = accepted?;
                        this.serve(req, respond);
                    }
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}
