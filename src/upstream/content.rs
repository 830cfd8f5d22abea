//! The content of a response as it comes in, with the trailers that may pass:
//! watched for silence, and the place where a connection becomes free again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::connection::Lease;
use super::http2::Stream;
use super::read_ahead::Reader;
use super::slots::Slot;
use crate::exchange::{Body, BodyError};
use crate::fields::trailers::keep_harmless;
use crate::telemetry::metrics::{Limit, Metrics};

/// Makes the content of a response out of what the connection gives. The
/// connection is given back at its end and closed if it is dropped before.
pub(super) fn content(incoming: Body, in_use: InUse, between_bytes: Duration) -> Body {
    if incoming.is_end_stream() {
        in_use.give_back();
        return Body::Empty;
    }
    let reader = in_use.reader();
    Body::boxed(ResponseContent {
        incoming,
        reader,
        in_use: Some(in_use),
        between_bytes,
        silence: Silence::default(),
    })
}

/// What carries a request, and the right to send one.
#[derive(Debug)]
pub(super) struct InUse {
    carrier: Carrier,
    slot: Slot,
}

#[derive(Debug)]
enum Carrier {
    /// A connection of its own.
    Connection(Lease),
    /// A stream beside others.
    Stream(Stream),
}

impl InUse {
    /// A connection of its own.
    pub(super) fn of_connection(lease: Lease, slot: Slot) -> Self {
        Self { carrier: Carrier::Connection(lease), slot }
    }

    /// A stream beside others.
    pub(super) fn of_stream(stream: Stream, slot: Slot) -> Self {
        Self { carrier: Carrier::Stream(stream), slot }
    }

    /// Has a connection of its own closed after this use.
    pub(super) fn use_no_more(&mut self) {
        if let Carrier::Connection(lease) = &mut self.carrier {
            lease.use_no_more();
        }
    }

    /// What is told what the reader of the response has, where that bounds reads.
    fn reader(&self) -> Option<Reader> {
        match &self.carrier {
            Carrier::Connection(lease) => Some(lease.reader()),
            Carrier::Stream(_) => None,
        }
    }

    fn metrics(&self) -> &Metrics {
        match &self.carrier {
            Carrier::Connection(lease) => lease.metrics(),
            Carrier::Stream(stream) => &stream.connection.metrics,
        }
    }

    /// Leaves a connection of its own to the tunnel that it became, or gives the stream
    /// that did, which is held as long as the tunnel lasts.
    pub(super) fn detach(self) -> Option<Stream> {
        match self.carrier {
            Carrier::Connection(lease) => {
                lease.detach();
                None
            }
            Carrier::Stream(stream) => Some(stream),
        }
    }

    /// First the connection, then the right to use one: whoever waits for the
    /// right finds the connection.
    fn give_back(self) {
        match self.carrier {
            Carrier::Connection(lease) => lease.give_back(),
            Carrier::Stream(stream) => drop(stream),
        }
        drop(self.slot);
    }
}

struct ResponseContent {
    incoming: Body,
    reader: Option<Reader>,
    /// `None` once the content has ended, well or not.
    in_use: Option<InUse>,
    between_bytes: Duration,
    silence: Silence,
}

/// The timer for silence; most bodies never need one.
#[derive(Default)]
struct Silence {
    timer: Option<Pin<Box<Sleep>>>,
    runs: bool,
}

impl Silence {
    fn poll_over(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.runs {
            timer.set(sleep(limit));
            self.runs = true;
        }
        timer.as_mut().poll(context)
    }
}

impl HttpBody for ResponseContent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.has(0);
        if this.in_use.is_none() {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silence.runs = false;
                    let frame = match frame.into_trailers() {
                        Ok(mut trailers) => {
                            if !keep_harmless(&mut trailers) {
                                continue;
                            }
                            Frame::trailers(trailers)
                        }
                        Err(data) => data,
                    };
                    this.has(frame.data_ref().map_or(0, Bytes::len));
                    // Behind trailers there is nothing, and nobody asks.
                    if frame.is_trailers() || this.incoming.is_end_stream() {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    this.in_use = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    return this.silence.poll_over(this.between_bytes, context).map(|()| {
                        if let Some(in_use) = this.in_use.take() {
                            in_use.metrics().limit(Limit::OriginBetweenBytes);
                        }
                        Some(Err(BodyError::TimedOut { waited: this.between_bytes }))
                    });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.in_use.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl ResponseContent {
    /// The reader passed on what it had, and has so many bytes now.
    fn has(&mut self, bytes: usize) {
        if let Some(reader) = &mut self.reader {
            reader.has(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(in_use) = self.in_use.take() {
            in_use.give_back();
        }
    }
}
