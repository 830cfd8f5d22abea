//! A request on its way to an origin server by HTTP/1.1: its head, and its content as it
//! comes, in as few writes as that allows.

use std::io::{self, Cursor, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, request};
use http_body::{Body as HttpBody, Frame};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_write_buf;

use super::{Http1Error, head};
use crate::upstream::stream::OriginStream;
use crate::upstream::upload::{ContentFailed, RequestContent};

/// What of the content is still to be taken.
#[derive(Debug)]
enum Remaining {
    /// So many bytes, as the head says.
    Length(u64),
    /// Chunks, and behind them those trailers that the head announces.
    Chunks(Vec<HeaderName>),
    Nothing,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Whole,
    /// The server takes no more of it, whatever it answers.
    Untaken,
}

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Sending {
    /// What is written next: the head, or what comes before a chunk,
    before: Cursor<Vec<u8>>,
    /// some content,
    data: Bytes,
    /// and what comes behind a chunk.
    behind: &'static [u8],
    content: RequestContent,
    is_content_touched: bool,
    remaining: Remaining,
    has_begun: bool,
    state: State,
}

impl Sending {
    /// The request with this head and the content that it frames.
    pub(super) fn new(head: &request::Parts, content: RequestContent) -> Self {
        Self {
            before: Cursor::new(head::write(head)),
            data: Bytes::new(),
            behind: b"",
            content,
            is_content_touched: false,
            remaining: Remaining::of(&head.headers),
            has_begun: false,
            state: State::UnderWay,
        }
    }

    /// True if all of it was sent.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// True if some of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The content, if none of it was taken.
    pub(super) fn into_untouched(self) -> Option<RequestContent> {
        (!self.is_content_touched).then_some(self.content)
    }

    /// Sends what can be sent. Ready once nothing is left, or the server takes no more: it
    /// may have answered all the same, if it took any. Fails if the client's content does.
    pub(super) fn poll(
        &mut self,
        stream: &mut OriginStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        if self.state == State::UnderWay {
            self.state = match ready!(self.poll_whole(stream, context)) {
                Ok(()) => State::Whole,
                Err(Http1Error::Io(error)) if self.has_begun => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a request was not taken whole"
                    );
                    State::Untaken
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_whole(
        &mut self,
        stream: &mut OriginStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        loop {
            // Content that is there goes out with what is before it.
            let is_waited_for = self.poll_content(context)?.is_pending();
            let mut piece = (&mut self.before).chain(&mut self.data).chain(&mut self.behind);
            if piece.has_remaining() {
                if ready!(poll_write_buf(Pin::new(&mut *stream), context, &mut piece))? == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                self.has_begun = true;
            } else {
                ready!(Pin::new(&mut *stream).poll_flush(context))?;
                return if is_waited_for { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes some content, if any is left and there is place for it.
    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ContentFailed>> {
        while self.data.is_empty() && self.behind.is_empty() && !matches!(self.remaining, Remaining::Nothing)
        {
            let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
            self.is_content_touched = true;
            self.put(frame.transpose()?)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Puts some content, or its end, behind what is to be written.
    fn put(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), ContentFailed> {
        let remaining = std::mem::replace(&mut self.remaining, Remaining::Nothing);
        match (remaining, frame.map(Frame::into_data)) {
            (Remaining::Nothing, _) => {}
            (remaining, Some(Ok(data))) if data.is_empty() => self.remaining = remaining,
            (Remaining::Length(left), Some(Ok(mut data))) => {
                data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                if left > data.len() as u64 {
                    self.remaining = Remaining::Length(left - data.len() as u64);
                }
                self.data = data;
            }
            // It is shorter than the head says.
            (Remaining::Length(_), _) => return Err(ContentFailed),
            (Remaining::Chunks(announced), Some(Ok(data))) => {
                let before = self.room_before();
                let _written = write!(before, "{:x}\r\n", data.len());
                self.behind = b"\r\n0\r\n\r\n";
                if !self.content.is_end_stream() {
                    self.behind = b"\r\n";
                    self.remaining = Remaining::Chunks(announced);
                }
                self.data = data;
            }
            (Remaining::Chunks(announced), trailers) => {
                let trailers = trailers.and_then(|frame| frame.err()?.into_trailers().ok());
                let trailers = trailers.map(|trailers| those_of(trailers, &announced)).unwrap_or_default();
                let before = self.room_before();
                before.extend_from_slice(b"0\r\n");
                head::write_fields(&trailers, before);
            }
        }
        Ok(())
    }

    /// Where more can be put before the data.
    fn room_before(&mut self) -> &mut Vec<u8> {
        if !self.before.has_remaining() {
            self.before.set_position(0);
            self.before.get_mut().clear();
        }
        self.before.get_mut()
    }
}

impl Remaining {
    fn of(fields: &HeaderMap) -> Self {
        if fields.contains_key(TRANSFER_ENCODING) {
            return Self::Chunks(announced(fields));
        }
        let length = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.filter(|length| *length > 0).map_or(Self::Nothing, Self::Length)
    }
}

/// The trailers that `Trailer` announces (RFC 9110 s6.6.2).
fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let lines = fields.get_all(TRAILER).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// Those of the trailers that are expected.
fn those_of(mut trailers: HeaderMap, announced: &[HeaderName]) -> HeaderMap {
    let others: Vec<_> = trailers.keys().filter(|name| !announced.contains(name)).cloned().collect();
    for name in others {
        trailers.remove(name);
    }
    trailers
}
