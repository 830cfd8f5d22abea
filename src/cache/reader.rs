//! One client's view of a running fill, as a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::resume::Resume;
use super::stream::{Found, Stream};
use crate::exchange::{Body, BodyError};

/// Reads a [`Stream`]. Dropping it is a client's leaving.
pub(super) struct Reader {
    stream: Arc<Stream>,
    place: usize,
    at: u64,
    until: Option<u64>,
    resume: Option<Resume>,
    source: Source,
}

/// Where the bytes come from.
enum Source {
    /// The stream.
    Shared,
    /// The stream is too far ahead: the rest is being asked for.
    Resuming(BoxFuture<'static, Result<Body, BodyError>>),
    /// A response of the reader's own.
    Own(Body),
}

impl Reader {
    /// A reader at the first byte. `resume` fetches the rest for one that
    /// cannot follow.
    pub(super) fn new(stream: &Arc<Stream>, resume: Option<Resume>) -> Self {
        let (place, until) = (stream.enter(), stream.length());
        Self { stream: Arc::clone(stream), place, at: 0, until, resume, source: Source::Shared }
    }

    /// The length of what is read, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(self.at))
    }

    /// Only the bytes from `first` to `last`, both included.
    pub(super) fn part(mut self, first: u64, last: u64) -> Self {
        self.stream.skip(self.place, first);
        self.at = first;
        self.until = Some(last.saturating_add(1));
        self.resume = None;
        self
    }

    fn poll_shared(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let until = self.until.unwrap_or(u64::MAX);
        let found = ready!(self.stream.take(self.place, until, context));
        let cut = |reason: &str| Poll::Ready(Some(Err(BodyError::Shared(reason.to_owned()))));
        match found {
            Found::Bytes(bytes) => {
                self.at += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Found::End if self.until.is_some_and(|until| self.at < until) => cut("it was too short"),
            Found::End => Poll::Ready(None),
            Found::Cut(reason) => cut(&reason),
            Found::FellOut => match self.resume.take() {
                Some(resume) => {
                    self.stream.leave(self.place);
                    self.source = Source::Resuming(Box::pin(resume.rest(self.at)));
                    self.poll_own(context)
                }
                None => cut("the client was too slow to share it"),
            },
        }
    }

    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Source::Resuming(rest) = &mut self.source {
            match ready!(rest.as_mut().poll(context)) {
                Ok(body) => self.source = Source::Own(body),
                Err(error) => {
                    self.source = Source::Own(Body::Empty);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        match &mut self.source {
            Source::Own(body) => Pin::new(body).poll_frame(context),
            Source::Shared | Source::Resuming(_) => Poll::Pending,
        }
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let reader = self.get_mut();
        match reader.source {
            Source::Shared => reader.poll_shared(context),
            Source::Resuming(_) | Source::Own(_) => reader.poll_own(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Shared => self.until.is_some_and(|until| self.at >= until),
            Source::Resuming(_) => false,
            Source::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Shared => self.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Resuming(_) => SizeHint::default(),
            Source::Own(body) => body.size_hint(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.leave(self.place);
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).field("until", &self.until).finish_non_exhaustive()
    }
}
