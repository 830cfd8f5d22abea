//! The content of a request on its way to an origin server. Tells the waiting
//! side whether the client or the server is the one that holds things up, and
//! keeps a failure of the client's apart from one of the server's.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::base::Clock;
use crate::exchange::{Body, BodyError};
use crate::fields::trailers::keep_harmless;

/// Stands for "waiting for the client" where a time is kept otherwise.
const WAITING_FOR_CLIENT: u64 = u64::MAX;

/// How the sending of a request's content goes on.
#[derive(Debug)]
pub(super) struct Upload {
    clock: Arc<dyn Clock>,
    begun: Instant,
    quiet_since: AtomicU64,
    failure: Mutex<Option<BodyError>>,
}

impl Upload {
    /// An upload that begins now.
    pub(super) fn begin(clock: Arc<dyn Clock>) -> Arc<Self> {
        let begun = clock.now();
        Arc::new(Self { clock, begun, quiet_since: AtomicU64::new(0), failure: Mutex::default() })
    }

    /// How long the origin server has been the one that is waited for; `None`
    /// while it is the client.
    pub(super) fn waited_for_server(&self) -> Option<Duration> {
        match self.quiet_since.load(Relaxed) {
            WAITING_FOR_CLIENT => None,
            nanos => Some(self.elapsed().saturating_sub(Duration::from_nanos(nanos))),
        }
    }

    /// Why the client's content ended too early, if it did.
    pub(super) fn take_failure(&self) -> Option<BodyError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.begun)
    }

    fn note_progress(&self) {
        let nanos = u64::try_from(self.elapsed().as_nanos()).unwrap_or(WAITING_FOR_CLIENT - 1);
        self.quiet_since.store(nanos, Relaxed);
    }

    fn note_failure(&self, error: BodyError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// What whoever sends is told where the client's content failed; the [`Upload`] keeps the
/// reason.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the content of the request ended before its end")]
pub(super) struct ContentFailed;

/// The content of a request as the connection pulls it, with the trailers that may
/// pass.
#[derive(Debug)]
pub(super) struct RequestContent {
    body: Body,
    upload: Option<Arc<Upload>>,
}

impl RequestContent {
    /// None, or no more of it.
    pub(super) const NONE: Self = Self { body: Body::Empty, upload: None };

    /// `body` as it is sent, and watched by `upload` where not all of it is at hand.
    pub(super) fn new(body: Body, upload: Option<Arc<Upload>>) -> Self {
        Self { body, upload }
    }

    /// The body, of which nothing was taken if nothing was polled.
    pub(super) fn into_body(self) -> Body {
        self.body
    }
}

impl HttpBody for RequestContent {
    type Data = Bytes;
    type Error = ContentFailed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFailed>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Some(upload) = &this.upload {
            match &polled {
                Poll::Pending => upload.quiet_since.store(WAITING_FOR_CLIENT, Relaxed),
                Poll::Ready(_) => upload.note_progress(),
            }
        }
        polled.map(|frame| match frame? {
            Ok(frame) => match frame.into_trailers() {
                Ok(mut trailers) => keep_harmless(&mut trailers).then(|| Ok(Frame::trailers(trailers))),
                Err(data) => Some(Ok(data)),
            },
            Err(error) => {
                if let Some(upload) = &this.upload {
                    upload.note_failure(error);
                }
                Some(Err(ContentFailed))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
