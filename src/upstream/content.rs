//! The content of a response as it comes in, with the trailers that may pass:
//! watched for silence, and the place where a connection becomes free again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::both_ways::BothWays;
use super::connection::Lease;
use super::http1::{Http1, Receiving};
use super::http2::Stream;
use super::read_ahead::Reader;
use super::silence::Silence;
use super::slots::Slot;
use super::upload::Upload;
use crate::base::Tasks;
use crate::exchange::{Body, BodyError, OpenEnd, StreamContent};
use crate::fields::trailers::keep_harmless;
use crate::telemetry::metrics::{Limit, Metrics};

/// The content of a response, as its protocol gives it.
#[derive(Debug)]
pub(super) enum Incoming {
    /// None, after a change of protocols.
    None,
    /// By HTTP/1.1, over the connection that carries it.
    Http1(Receiving),
    /// By HTTP/2.
    Http2(StreamContent),
}

/// Makes the content of a response out of what the connection gives. The
/// connection is given back at its end and closed if it is dropped before. As long as
/// `upload` goes on, or the client is waited for, the server may be silent.
pub(super) fn content(
    mut incoming: Incoming,
    mut in_use: InUse,
    between_bytes: Duration,
    upload: Option<Arc<Upload>>,
) -> Body {
    if incoming.is_end_stream() {
        in_use.give_back();
        return Body::Empty;
    }
    if let (Incoming::Http1(receiving), Some(connection)) = (&mut incoming, in_use.http1())
        && let Some(whole) = receiving.take_at_hand(connection)
    {
        in_use.give_back();
        return Body::Full(whole);
    }
    if let Carrier::Connection(lease) = &mut in_use.carrier {
        lease.connection.silence.end();
    }
    let tasks = if incoming.is_sending() { in_use.tasks() } else { None };
    let reader = in_use.reader();
    let content = ResponseContent {
        incoming,
        reader,
        in_use: Some(in_use),
        between_bytes,
        silence: Silence::default(),
        upload,
    };
    match tasks {
        Some(tasks) => Body::boxed(BothWays::begin(content, &tasks)),
        None => Body::boxed(content),
    }
}

impl Incoming {
    /// What comes next, over the `connection` that carries it where that speaks HTTP/1.1.
    pub(super) fn poll_frame(
        &mut self,
        connection: Option<&mut Http1>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match (self, connection) {
            (Self::Http1(receiving), Some(connection)) => receiving
                .poll_frame(connection, context)
                .map(|frame| frame.map(|frame| frame.map_err(|error| BodyError::Connection(error.into())))),
            (Self::Http2(content), _) => Pin::new(content).poll_frame(context),
            (Self::Http1(_) | Self::None, _) => Poll::Ready(None),
        }
    }

    /// True if the request is not sent to its end, but for who polls this.
    fn is_sending(&self) -> bool {
        matches!(self, Self::Http1(receiving) if receiving.is_sending())
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(receiving) => receiving.is_ended(),
            Self::Http2(content) => content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(receiving) => receiving.size_hint(),
            Self::Http2(content) => content.size_hint(),
        }
    }
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

    /// The connection, where it is one of its own.
    fn http1(&mut self) -> Option<&mut Http1> {
        match &mut self.carrier {
            Carrier::Connection(lease) => Some(&mut lease.connection.http1),
            Carrier::Stream(_) => None,
        }
    }

    /// What runs tasks for a connection of its own; streams have theirs.
    fn tasks(&self) -> Option<Tasks> {
        match &self.carrier {
            Carrier::Connection(lease) => Some(lease.tasks().clone()),
            Carrier::Stream(_) => None,
        }
    }

    /// That of the connection, or `of_stream`.
    fn silence<'a>(&'a mut self, of_stream: &'a mut Silence) -> &'a mut Silence {
        match &mut self.carrier {
            Carrier::Connection(lease) => &mut lease.connection.silence,
            Carrier::Stream(_) => of_stream,
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

    /// The tunnel that a connection of its own became, or its stream, of which `end` is the
    /// server's; and what is held as long as the tunnel lasts. `None` if there is no tunnel.
    pub(super) fn into_tunnel(self, end: Option<OpenEnd>) -> Option<(OpenEnd, Option<Stream>)> {
        match (self.carrier, end) {
            (Carrier::Connection(lease), _) => Some((lease.into_tunnel(), None)),
            (Carrier::Stream(stream), Some(end)) => Some((end, Some(stream))),
            (Carrier::Stream(_), None) => None,
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

/// The content of a response that its reader takes from the connection.
pub(super) struct ResponseContent {
    incoming: Incoming,
    reader: Option<Reader>,
    /// `None` once the content has ended, well or not.
    in_use: Option<InUse>,
    between_bytes: Duration,
    /// That of a stream.
    silence: Silence,
    upload: Option<Arc<Upload>>,
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
        loop {
            let Some(in_use) = &mut this.in_use else { return Poll::Ready(None) };
            match this.incoming.poll_frame(in_use.http1(), context) {
                Poll::Ready(Some(Ok(frame))) => {
                    in_use.silence(&mut this.silence).end();
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
                    let of_client = this.upload.as_deref().and_then(Upload::take_failure);
                    return Poll::Ready(Some(Err(of_client.unwrap_or(error))));
                }
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let silence = in_use.silence(&mut this.silence);
                    let over = silence.poll_over_beside(this.upload.as_deref(), this.between_bytes, context);
                    return over.map(|()| {
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
    /// Goes on with what is left of the request.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) {
        if let (Incoming::Http1(receiving), Some(in_use)) = (&mut self.incoming, &mut self.in_use)
            && let Some(connection) = in_use.http1()
        {
            receiving.poll_send(connection, context);
        }
    }

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
