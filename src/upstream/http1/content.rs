//! The content of a response of HTTP/1.1: where it ends (RFC 9112 s6.3), and that the
//! connection may be used again if all that was said on it was said to its end.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::{Frame, SizeHint};

use super::chunked::{Chunked, Found};
use super::head::{self, HeadLimits};
use super::sending::Sending;
use super::{Http1, Http1Error, LEAST_READ};
use crate::upstream::inbound::{self, Framing};

/// Fewer bytes than this are a small part of what they come in.
pub(super) const FEW: usize = LEAST_READ / 2;

/// What of the content is still to come.
#[derive(Debug)]
pub(super) enum Remaining {
    /// So many bytes.
    Length(u64),
    Chunks(Chunked),
    /// All that comes until the connection ends.
    UntilEnd,
}

impl Remaining {
    const NONE: Self = Self::Length(0);

    /// What follows the head of the response to a request with this method.
    pub(super) fn of(head: &Parts, method: &Method) -> Result<Self, Http1Error> {
        let framing = inbound::framing(&head.headers).map_err(Http1Error::Malformed)?;
        let has_none = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED]
            .contains(&head.status);
        Ok(match framing {
            _ if has_none || *method == Method::HEAD => Self::NONE,
            Framing::Chunked if head.version == Version::HTTP_10 => {
                return Err(Http1Error::Malformed("a Transfer-Encoding in HTTP/1.0"));
            }
            Framing::Chunked => Self::Chunks(Chunked::new()),
            Framing::Length(length) => Self::Length(length),
            Framing::Unsaid => Self::UntilEnd,
        })
    }

    fn is_none(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.is_ended(),
            Self::UntilEnd => false,
        }
    }

    /// How much that is, if it is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::UntilEnd => None,
        }
    }

    /// Takes what is next from the beginning of what `came`.
    pub(super) fn take(&mut self, came: &mut BytesMut, limits: HeadLimits) -> Result<Found, Http1Error> {
        let length = match self {
            Self::Chunks(chunks) => return chunks.take(came, limits),
            Self::Length(0) => return Ok(Found::End),
            Self::Length(left) => usize::try_from(*left).map_or(came.len(), |left| left.min(came.len())),
            Self::UntilEnd => came.len(),
        };
        if length == 0 {
            return Ok(Found::Nothing);
        }
        if let Self::Length(left) = self {
            *left -= length as u64;
        }
        Ok(Found::Data(take_data(came, length)))
    }
}

/// Takes so many bytes from the beginning of what `came`. Few are copied, so that whoever
/// keeps them does not keep all the memory that they came in.
pub(super) fn take_data(came: &mut BytesMut, length: usize) -> Bytes {
    if length >= FEW {
        return came.split_to(length).freeze();
    }
    let data = Bytes::copy_from_slice(&came[..length]);
    came.advance(length);
    data
}

/// True if the fields frame content, whether there is any or not.
fn is_framed(fields: &HeaderMap) -> bool {
    !matches!(inbound::framing(fields), Ok(Framing::Unsaid | Framing::Length(0)))
}

/// True if the connection takes no further request behind the response with this head, or
/// is not to be trusted with one: who frames content where there is none may send it, too.
pub(super) fn is_last(head: &Parts) -> bool {
    head.version == Version::HTTP_10
        || head::closes(&head.headers)
        || head.status == StatusCode::NO_CONTENT && is_framed(&head.headers)
}

/// A response on its way in, behind its head.
#[derive(Debug)]
pub(in crate::upstream) struct Receiving {
    remaining: Remaining,
    /// The request, as long as some of it is still to be sent.
    sending: Option<Box<Sending>>,
    /// Why it is not sent to its end.
    failure: Option<Http1Error>,
    /// True if no further request may be sent behind this one.
    is_last: bool,
}

impl Receiving {
    /// What follows a head.
    pub(super) fn new(remaining: Remaining, sending: Option<Box<Sending>>, is_last: bool) -> Self {
        Self { remaining, sending, failure: None, is_last }
    }

    /// True if not all of the request was sent, which goes on only as this is read.
    pub(in crate::upstream) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// True if nothing is left.
    pub(in crate::upstream) fn is_ended(&self) -> bool {
        self.remaining.is_none()
    }

    /// True where there is nothing of what the `head` frames, as behind one for HEAD.
    pub(in crate::upstream) fn lacks_content_of(&self, head: &Parts) -> bool {
        self.is_ended() && is_framed(&head.headers)
    }

    /// What is left, if that is known.
    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.remaining.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// All that is left, if it came by now and has a known length.
    pub(in crate::upstream) fn take_at_hand(&mut self, connection: &mut Http1) -> Option<Bytes> {
        let left =
            usize::try_from(self.remaining.length()?).ok().filter(|left| *left <= connection.came.len())?;
        let whole = connection.came.split_to(left).freeze();
        self.remaining = Remaining::NONE;
        self.take_note_of_end(connection);
        Some(whole)
    }

    /// Goes on with what is left of the request.
    pub(in crate::upstream) fn poll_send(&mut self, connection: &mut Http1, context: &mut Context<'_>) {
        let Some(sending) = &mut self.sending else { return };
        match sending.poll(&mut connection.stream, context) {
            Poll::Pending => return,
            Poll::Ready(Ok(())) => self.is_last |= sending.is_untaken(),
            // Without its end the request gets no response either.
            Poll::Ready(Err(error)) => {
                self.failure = Some(error);
                self.is_last = true;
            }
        }
        self.sending = None;
    }

    /// The same, and gives what is next of the response.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        connection: &mut Http1,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        self.poll_send(connection, context);
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let found = self.remaining.take(&mut connection.came, connection.heads.limits)?;
            self.take_note_of_end(connection);
            match found {
                Found::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Found::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Found::End => return Poll::Ready(None),
                Found::Nothing => {}
            }
            if ready!(connection.poll_read(self.remaining.length(), context))? == 0 {
                if !matches!(self.remaining, Remaining::UntilEnd) {
                    return Poll::Ready(Some(Err(Http1Error::Ended)));
                }
                self.is_last = true;
                self.remaining = Remaining::NONE;
            }
        }
    }

    /// Leaves the connection to the next request, if this was said to its end.
    pub(super) fn take_note_of_end(&mut self, connection: &mut Http1) {
        if self.is_ended() {
            connection.is_said = self.sending.is_none() && !self.is_last;
        }
    }
}
