//! The content of a request or a response: pulled by whoever sends it, never
//! pushed, never gathered whole in order to be forwarded.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// Content of a message.
#[derive(Default)]
pub enum Body {
    /// No content.
    #[default]
    Empty,
    /// All of it at hand.
    Full(Bytes),
    /// As it comes from a connection.
    Incoming(Incoming),
    /// Made by some floor: counted, timed, teed, joined.
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// Hides what kind of body it is.
    pub fn boxed(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self::Boxed(Box::pin(body))
    }

    /// True if there is nothing to send and never was: such a request can be
    /// sent again.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            whole @ Self::Full(_) => match std::mem::take(whole) {
                Self::Full(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|error| BodyError::Connection(error.into())))),
            Self::Boxed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Boxed(_) => "Boxed",
        };
        write!(f, "{kind}({:?})", self.size_hint())
    }
}

/// Why content ended before its end. Whoever sends it on cuts the message, so
/// that nobody takes a part for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection it came over failed or broke the framing.
    #[error("the connection failed while the content was read")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// The stream of HTTP/2 that it came by was reset, or failed with its connection.
    #[error("the stream failed while the content was read")]
    Stream(#[source] Box<h2::Error>),
    /// It ended without its end: its stream by a reset, or whoever took it from a connection.
    #[error("the content was cut")]
    Cut,
    /// More than the limit on content allows.
    #[error("the content is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Nothing, or too little, came in time.
    #[error("no content came within {waited:?}")]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The stored or shared response it was read from came to nothing.
    #[error("the response this content was shared with was cut: {0}")]
    Shared(String),
}
