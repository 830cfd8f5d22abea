//! The end of a body is an event: when a response has been sent, or was given
//! up, the record of its exchange is finished, exactly once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::content::Reading;
use super::service::Client;
use crate::exchange::{Body, BodyError, ExchangeEnd, ExchangeRecord};

/// What a stream of HTTP/2 is given at once, in bytes: whether its client takes it is
/// seen in steps of this size.
pub(super) const PIECE: usize = 8 * 1024;

/// The same of a connection of HTTP/1: what is stored comes in one piece, and of what was
/// given the record says that it was sent.
const PIECE_OF_HTTP1: usize = 256 * 1024;

/// An exchange under way: finishes its record when it is dropped.
pub(super) struct Observation {
    pub(super) client: Arc<Client>,
    pub(super) received: Instant,
    /// Bytes of content received so far, where the request has content.
    pub(super) bytes_in: Option<Arc<AtomicU64>>,
    /// How far that is read.
    pub(super) reading: Option<Arc<Reading>>,
    pub(super) record: ExchangeRecord,
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Client { front, pace, .. } = &*self.client;
        let now = front.clock.now();
        self.record.total_time = now.saturating_duration_since(self.received);
        if let Some(bytes) = &self.bytes_in {
            self.record.bytes_in = bytes.load(Relaxed);
        }
        front.telemetry.finish(&self.record);
        pace.end(now);
        if self.record.end == ExchangeEnd::ClientLeft {
            pace.given_up(now);
        }
    }
}

/// The body of a response, observed.
pub(super) struct Observed {
    body: Body,
    observation: Option<Box<Observation>>,
    /// True where it goes to a stream of HTTP/2: by pieces, as the next one is asked
    /// for when the client has room for it.
    is_stream: bool,
    /// What is left of the last frame for the next pieces.
    rest: Bytes,
}

impl Observed {
    pub(super) fn new(body: Body, observation: Box<Observation>, is_stream: bool) -> Self {
        Self { body, observation: Some(observation), is_stream, rest: Bytes::new() }
    }

    /// The empty body of a 101, whose exchange goes on as a tunnel.
    pub(super) fn unobserved() -> Self {
        Self { body: Body::Empty, observation: None, is_stream: false, rest: Bytes::new() }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let room = self.observation.as_ref().map(|observation| &observation.client.pace.room);
        if let Some(room) = room {
            ready!(room.poll(context));
        }
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let longest = if self.is_stream { PIECE } else { PIECE_OF_HTTP1 };
        let piece = self.rest.split_to(self.rest.len().min(longest));
        // Of a stream the next piece is asked for when the client has room for it.
        if let Some(room) = room.filter(|_| !self.is_stream) {
            room.gave(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// The client gave up what is left, which may be all in its midst.
    pub(super) fn give_up(&mut self) {
        self.finish(ExchangeEnd::ClientLeft);
    }

    fn finish(&mut self, end: ExchangeEnd) {
        if let Some(mut observation) = self.observation.take() {
            observation.record.end = end;
        }
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll_piece(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(observation)) = (frame.data_ref(), &mut this.observation) {
                    observation.record.bytes_out += data.len() as u64;
                }
                // Behind trailers there is nothing, and nobody asks.
                if frame.is_trailers() {
                    this.finish(ExchangeEnd::Complete);
                }
            }
            Poll::Ready(Some(Err(_))) => this.finish(ExchangeEnd::Cut),
            Poll::Ready(None) => this.finish(ExchangeEnd::Complete),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first piece is.
        self.body.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // hyper does not poll a body of known length past its last byte.
        let is_whole = self.is_end_stream();
        self.finish(if is_whole { ExchangeEnd::Complete } else { ExchangeEnd::ClientLeft });
    }
}
