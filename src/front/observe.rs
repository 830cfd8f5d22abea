//! The end of a body is an event: when a response has been sent, or was given
//! up, the record of its exchange is finished, exactly once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::Front;
use super::pace::Pace;
use crate::exchange::{Body, BodyError, ExchangeEnd, ExchangeRecord};

/// An exchange under way: finishes its record when it is dropped.
pub(super) struct Observation {
    pub(super) front: Arc<Front>,
    pub(super) pace: Arc<Pace>,
    pub(super) received: Instant,
    /// Bytes of content received so far, where the request has content.
    pub(super) bytes_in: Option<Arc<AtomicU64>>,
    pub(super) record: ExchangeRecord,
}

impl Drop for Observation {
    fn drop(&mut self) {
        let now = self.front.clock.now();
        self.record.total_time = now.saturating_duration_since(self.received);
        if let Some(bytes) = &self.bytes_in {
            self.record.bytes_in = bytes.load(Relaxed);
        }
        self.front.telemetry.finish(&self.record);
        self.pace.end(now);
    }
}

/// The body of a response, observed.
pub(super) struct Observed {
    body: Body,
    observation: Option<Box<Observation>>,
}

impl Observed {
    pub(super) fn new(body: Body, observation: Box<Observation>) -> Self {
        Self { body, observation: Some(observation) }
    }

    /// The empty body of a 101, whose exchange goes on as a tunnel.
    pub(super) fn unobserved() -> Self {
        Self { body: Body::Empty, observation: None }
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
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(observation)) = (frame.data_ref(), &mut this.observation) {
                    observation.record.bytes_out += data.len() as u64;
                }
            }
            Poll::Ready(Some(Err(_))) => this.finish(ExchangeEnd::Cut),
            Poll::Ready(None) => this.finish(ExchangeEnd::Complete),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // hyper does not poll a body of known length past its last byte.
        let is_whole = self.body.is_end_stream();
        self.finish(if is_whole { ExchangeEnd::Complete } else { ExchangeEnd::ClientLeft });
    }
}
