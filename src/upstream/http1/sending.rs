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
use crate::fields::list::tokens;
use crate::fields::section;
use crate::upstream::stream::OriginStream;
use crate::upstream::upload::{ContentFailed, RequestContent};

/// What of the content was not taken yet.
#[derive(Debug)]
enum Unsent {
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
    unsent: Unsent,
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
            unsent: Unsent::of(&head.headers),
            has_begun: false,
            state: State::UnderWay,
        }
    }

    /// True if all of it was sent.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// True if some of it is left to send.
    pub(super) fn is_under_way(&self) -> bool {
        self.state == State::UnderWay
    }

    /// True if the server takes no more of it, and did not take all.
    pub(super) fn is_untaken(&self) -> bool {
        self.state == State::Untaken
    }

    /// True if some of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The content, if nothing was sent and none of it was taken.
    pub(super) fn into_unsent(self) -> Option<RequestContent> {
        (!self.has_begun && !self.is_content_touched).then_some(self.content)
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
                    self.content = RequestContent::NONE;
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
        while self.data.is_empty() && self.behind.is_empty() && !matches!(self.unsent, Unsent::Nothing) {
            let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
            self.is_content_touched = true;
            self.put(frame.transpose()?)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Puts some content, or its end, behind what is to be written.
    fn put(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), ContentFailed> {
        let unsent = std::mem::replace(&mut self.unsent, Unsent::Nothing);
        match (unsent, frame.map(Frame::into_data)) {
            (Unsent::Nothing, _) => {}
            (unsent, Some(Ok(data))) if data.is_empty() => self.unsent = unsent,
            (Unsent::Length(left), Some(Ok(mut data))) => {
                data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                if left > data.len() as u64 {
                    self.unsent = Unsent::Length(left - data.len() as u64);
                }
                self.data = data;
            }
            // It is shorter than the head says.
            (Unsent::Length(_), _) => return Err(ContentFailed),
            (Unsent::Chunks(announced), Some(Ok(data))) => self.put_chunk(data, announced),
            (Unsent::Chunks(announced), end) => {
                let trailers = end.and_then(|frame| frame.err()?.into_trailers().ok()).unwrap_or_default();
                self.put_last_chunk(&those_of(trailers, &announced));
            }
        }
        Ok(())
    }

    /// A chunk, and with it the last one where nothing comes behind it.
    fn put_chunk(&mut self, data: Bytes, announced: Vec<HeaderName>) {
        let _written = write!(self.room_before(), "{:x}\r\n", data.len());
        self.data = data;
        if self.content.is_end_stream() {
            self.behind = b"\r\n0\r\n\r\n";
        } else {
            self.behind = b"\r\n";
            self.unsent = Unsent::Chunks(announced);
        }
    }

    fn put_last_chunk(&mut self, trailers: &HeaderMap) {
        let before = self.room_before();
        before.extend_from_slice(b"0\r\n");
        section::write(trailers, before);
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

impl Unsent {
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
    let names = fields.get_all(TRAILER).iter().flat_map(tokens);
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// Those of the trailers that are expected.
fn those_of(mut trailers: HeaderMap, announced: &[HeaderName]) -> HeaderMap {
    let others: Vec<_> = trailers.keys().filter(|name| !announced.contains(name)).cloned().collect();
    for name in others {
        trailers.remove(name);
    }
    trailers
}
