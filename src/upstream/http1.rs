//! HTTP/1.1 with an origin server (RFC 9112): one request at a time on one connection,
//! sent and answered by whoever waits for the response, with no task between the two. When
//! that is given up is decided by whoever waits.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::FutureExt;
use http::response::Parts;
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio_util::io::poll_read_buf;

use super::inbound;
use super::stream::OriginStream;
use super::upload::{ContentFailed, RequestContent};
use crate::exchange::{Interim, OpenEnd};

mod chunked;
mod content;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod head;
mod sending;
#[cfg(test)]
mod tests;

pub(super) use content::Receiving;
use content::Remaining;
use head::{HeadLimits, Heads};
use sending::Sending;

/// What is read at least at once, in bytes: most answers are no longer.
const LEAST_READ: usize = 8 << 10;

/// So many interim responses may come before one response.
const MOST_INTERIM: usize = 1000;

/// Why a request got no response, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Http1Error {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// It ended before the response did.
    #[error("the connection ended before the response")]
    Ended,
    /// What came is no HTTP.
    #[error("no HTTP response")]
    Syntax(#[source] httparse::Error),
    /// What came is no HTTP response, or no content as its head says.
    #[error("{0}")]
    Malformed(&'static str),
    /// The fields are larger, or more, than they may be.
    #[error("the fields are larger or more than the limits")]
    TooLarge,
    /// The client's content failed.
    #[error(transparent)]
    Content(#[from] ContentFailed),
}

impl From<httparse::Error> for Http1Error {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            error => Self::Syntax(error),
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: Http1Error,
    /// The content of a request of which nothing was sent.
    pub(super) unsent: Option<RequestContent>,
}

/// A connection that speaks HTTP/1.1.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: OriginStream,
    /// What came and was not taken.
    came: BytesMut,
    heads: Heads,
    /// What is read at once, if no less is to come: more where that filled the last reads.
    piece: usize,
    /// True if all that was said on it was said to its end.
    is_said: bool,
}

impl Http1 {
    /// One over `stream`, with at most so many bytes and fields in the head of a response.
    pub(super) fn new(stream: OriginStream, most_bytes: usize, most_fields: usize) -> Self {
        let heads = Heads::new(HeadLimits { bytes: most_bytes, fields: most_fields });
        Self { stream, came: BytesMut::new(), heads, piece: LEAST_READ, is_said: true }
    }

    /// Sends a request and waits for the head of the response. Interim ones before it are
    /// passed on if somebody wants them. What is left of the request is sent as the content
    /// of the response is read. If the future is dropped, no further request can be sent.
    pub(super) async fn ask(
        &mut self,
        message: http::Request<RequestContent>,
        interim: Option<&Interim>,
    ) -> Result<(Parts, Receiving), Unanswered> {
        let (head, content) = message.into_parts();
        let mut sending = Sending::new(&head, content);
        let mut interim = Interims { client: interim, left: MOST_INTERIM };
        self.is_said = false;
        let answer =
            poll_fn(|context| self.poll_answer(&mut sending, &head.method, &mut interim, context)).await;
        match answer {
            Ok((head, remaining)) => {
                let is_last = sending.is_untaken() || content::is_last(&head);
                let sending = sending.is_under_way().then(|| Box::new(sending));
                let mut receiving = Receiving::new(remaining, sending, is_last);
                receiving.take_note_of_end(self);
                Ok((head, receiving))
            }
            Err(error) => Err(Unanswered { error, unsent: sending.into_unsent() }),
        }
    }

    fn poll_answer(
        &mut self,
        sending: &mut Sending,
        method: &Method,
        interim: &mut Interims<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(Parts, Remaining), Http1Error>> {
        if let Poll::Ready(sent) = sending.poll(&mut self.stream, context) {
            sent?;
        }
        if !sending.has_begun() {
            // What comes before a request does not answer it.
            return Poll::Pending;
        }
        loop {
            while let Some(head) = self.heads.read(&mut self.came)? {
                if head.status == StatusCode::SWITCHING_PROTOCOLS && !sending.is_whole() {
                    return Poll::Ready(Err(Http1Error::Malformed("101 before the end of the request")));
                }
                if head.status == StatusCode::SWITCHING_PROTOCOLS || !head.status.is_informational() {
                    let remaining = Remaining::of(&head, method)?;
                    return Poll::Ready(Ok((head, remaining)));
                }
                interim.take(&head)?;
            }
            if ready!(self.poll_read(None, context))? == 0 {
                return Poll::Ready(Err(Http1Error::Ended));
            }
        }
    }

    /// Reads what comes next, of which so much is left if that is known; 0 at the end.
    fn poll_read(&mut self, left: Option<u64>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let left = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let space = self.piece.min(left).clamp(LEAST_READ, self.stream.most_read().max(LEAST_READ));
        self.came.reserve(space);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.came))?;
        if left >= self.piece {
            self.piece = if read >= space { 2 * space } else { space.min(2 * read) };
        }
        Poll::Ready(Ok(read))
    }

    /// True if all that was said on it was said to its end, and nothing on top of that.
    pub(super) fn is_free(&self) -> bool {
        self.is_said && self.came.is_empty()
    }

    /// True if a request may be sent on it. What comes without having been asked for
    /// belongs to none.
    pub(super) fn is_ready(&mut self) -> bool {
        let mut byte = [0];
        let stream = &mut self.stream;
        let came = at_once(|context| Pin::new(&mut *stream).poll_read(context, &mut ReadBuf::new(&mut byte)));
        self.is_free() && came.is_none()
    }

    /// Gives back the memory that the next request takes again.
    pub(super) fn rest(&mut self) {
        if self.came.is_empty() {
            self.came = BytesMut::new();
        }
    }

    /// Says that it is over, if that can be said at once.
    pub(super) fn close(mut self) {
        let _ = at_once(|context| Pin::new(&mut self.stream).poll_shutdown(context));
    }

    /// The server's end of the tunnel that it became.
    pub(super) fn into_tunnel(mut self) -> OpenEnd {
        self.stream.count_no_more();
        OpenEnd::of_connection(self.came.freeze(), self.stream)
    }
}

/// What can be had without waiting, however much the task has done: one that did much is
/// else told that nothing can.
fn at_once<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    unconstrained(poll_fn(poll)).now_or_never()
}

/// Where interim responses go, and how many more may come.
struct Interims<'a> {
    client: Option<&'a Interim>,
    left: usize,
}

impl Interims<'_> {
    fn take(&mut self, head: &Parts) -> Result<(), Http1Error> {
        const TOO_MANY: Http1Error = Http1Error::Malformed("interim responses without end");
        self.left = self.left.checked_sub(1).ok_or(TOO_MANY)?;
        if let Some(client) = self.client {
            inbound::pass_on(client, head.status, &head.headers, head.version);
        }
        Ok(())
    }
}
