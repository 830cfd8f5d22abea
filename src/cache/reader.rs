//! One client's view of a running fill, as a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::resume::{Rest, Resume};
use super::stream::{Found, Seat, Stream};
use crate::exchange::{Body, BodyError};

/// Reads a [`Stream`]. Dropping it is a client's leaving.
pub(super) struct Reader {
    at: u64,
    until: Option<u64>,
    resume: Option<Resume>,
    source: Source,
}

/// Where the bytes come from.
enum Source {
    /// The stream.
    Shared(Seat),
    /// The stream is too far ahead: the rest is being asked for.
    Resuming(BoxFuture<'static, Result<Rest, BodyError>>),
    /// A response of the reader's own.
    Own(Body),
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Reader {
    /// A reader at the first byte. `resume` fetches the rest for one that
    /// cannot follow.
    pub(super) fn new(stream: &Arc<Stream>, resume: Option<Resume>) -> Self {
        let can_resume = resume.as_ref().is_some_and(Resume::is_possible);
        Self { at: 0, until: stream.length(), resume, source: Source::Shared(stream.enter(can_resume)) }
    }

    /// The length of what is read, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(self.at))
    }

    /// Another reader of the same, from the first byte on.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.source {
            Source::Shared(seat) => Some(Self::new(seat.stream(), None)),
            Source::Resuming(_) | Source::Own(_) => None,
        }
    }

    /// Only the bytes from `first` to `last`, both included.
    pub(super) fn part(mut self, first: u64, last: u64) -> Self {
        if let Source::Shared(seat) = &self.source {
            seat.skip(first);
        }
        self.at = first;
        self.until = Some(last.saturating_add(1));
        self.resume = None;
        self
    }

    fn poll_shared(&mut self, found: Found, context: &mut Context<'_>) -> Polled {
        match found {
            Found::Bytes(bytes) => self.pass(bytes),
            Found::End => self.end(),
            Found::Cut(reason) => cut(&reason),
            Found::FellOut => match self.resume.take() {
                Some(resume) => {
                    self.source = Source::Resuming(Box::pin(resume.rest(self.at, self.until)));
                    self.poll(context)
                }
                None => cut("the client was too slow to share it"),
            },
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        match &mut self.source {
            Source::Shared(seat) => {
                let found = ready!(seat.take(self.until.unwrap_or(u64::MAX), context));
                self.poll_shared(found, context)
            }
            Source::Resuming(rest) => match ready!(rest.as_mut().poll(context)) {
                Ok(rest) => {
                    self.until = rest.until;
                    self.source = Source::Own(rest.body);
                    self.poll(context)
                }
                Err(error) => {
                    self.source = Source::Own(Body::Empty);
                    Poll::Ready(Some(Err(error)))
                }
            },
            Source::Own(body) => match ready!(Pin::new(body).poll_frame(context)) {
                None => self.end(),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.pass(bytes),
                    Err(_trailers) => self.poll(context),
                },
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn pass(&mut self, bytes: Bytes) -> Polled {
        self.at += bytes.len() as u64;
        if self.until.is_some_and(|until| self.at > until) {
            return cut("it is longer than it was to be");
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn end(&self) -> Polled {
        if self.until.is_some_and(|until| self.at < until) {
            return cut("it was too short");
        }
        Poll::Ready(None)
    }
}

fn cut(reason: &str) -> Polled {
    Poll::Ready(Some(Err(BodyError::Shared(reason.to_owned()))))
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        self.get_mut().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Shared(_) => self.until.is_some_and(|until| self.at >= until),
            Source::Resuming(_) => false,
            Source::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).field("until", &self.until).finish_non_exhaustive()
    }
}
