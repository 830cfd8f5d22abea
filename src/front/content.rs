//! The content of a client's request: must keep coming, and fast enough. Only
//! time in which the edge waits for the client counts, so that a slow origin
//! server is never held against the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::base::Clock;
use crate::exchange::BodyError;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;

/// How long and how slowly a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentPace {
    /// Without any content.
    pub(super) timeout: Duration,
    /// Whose time that is.
    pub(super) limit: Limit,
    /// Bytes a second over the time waited, once that is longer than `timeout`;
    /// 0 for none.
    pub(super) min_rate: u64,
}

/// How far a request's content is read.
#[derive(Debug)]
pub(super) struct Reading {
    /// To its end.
    is_over: AtomicBool,
    /// True if it was said how long it is.
    pub(super) has_length: bool,
}

impl Reading {
    /// Of content that nobody has read yet.
    pub(super) fn begin(content: &impl HttpBody) -> Arc<Self> {
        let has_length = content.size_hint().exact().is_some();
        Arc::new(Self { is_over: AtomicBool::new(false), has_length })
    }

    /// True once all was read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }
}

/// Content as it comes from a client.
pub(super) struct Content<B> {
    incoming: B,
    pace: ContentPace,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    received: Arc<AtomicU64>,
    reading: Arc<Reading>,
    waiting_since: Option<Instant>,
    waited: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Content<B> {
    /// Counts what comes into `received`, and notes its end in `reading`.
    pub(super) fn new(
        incoming: B,
        pace: ContentPace,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        (received, reading): (Arc<AtomicU64>, Arc<Reading>),
    ) -> Self {
        Self {
            incoming,
            pace,
            clock,
            metrics,
            received,
            reading,
            waiting_since: None,
            waited: Duration::ZERO,
            timer: None,
        }
    }

    fn arrived(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        if let Some(since) = self.waiting_since.take() {
            self.waited += self.clock.now().saturating_duration_since(since);
        }
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let received = self.received.fetch_add(data.len() as u64, Relaxed) + data.len() as u64;
        let least = self.waited.as_secs_f64() * self.pace.min_rate as f64;
        if self.waited > self.pace.timeout && (received as f64) < least {
            self.metrics.limit(Limit::MinRate);
            return Err(BodyError::TimedOut { waited: self.waited });
        }
        Ok(())
    }

    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        if self.waiting_since.is_none() {
            let now = self.clock.now();
            self.waiting_since = Some(now);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(now + self.pace.timeout),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(now + self.pace.timeout))),
            }
        }
        match &mut self.timer {
            Some(timer) => ready!(timer.as_mut().poll(context)),
            None => return Poll::Pending,
        }
        self.metrics.limit(self.pace.limit);
        Poll::Ready(BodyError::TimedOut { waited: self.pace.timeout })
    }
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> HttpBody for Content<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.incoming).poll_frame(context);
        let is_over = match &polled {
            // Behind trailers there is nothing, and nobody asks.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || this.incoming.is_end_stream(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over {
            this.reading.is_over.store(true, Relaxed);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(this.arrived(&frame).map(|()| frame))),
            ended @ Poll::Ready(_) => ended,
            Poll::Pending => this.poll_timeout(context).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
