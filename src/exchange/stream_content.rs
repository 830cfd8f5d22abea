//! The content of a message that comes over HTTP/2. The sender is given as much window
//! again as is taken, never before.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::BodyError;

/// Content on its way in.
#[derive(Debug)]
pub struct StreamContent {
    stream: RecvStream,
    /// What of it is still to come, where the head says how much there is; h2 holds the
    /// sender to it (RFC 9113 s8.1.1).
    left: Option<u64>,
    has_data: bool,
}

impl StreamContent {
    /// That of a message with these fields.
    pub fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        let length = fields.get(CONTENT_LENGTH).map(http::HeaderValue::to_str);
        let left = length.and_then(|length| length.ok()?.parse().ok());
        Self { stream, left, has_data: true }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = loop {
            match ready!(self.stream.poll_data(context)) {
                // It says nothing, and no window bounds how many there are.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => break data,
                end => return Poll::Ready(end),
            }
        };
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        let released = self.stream.flow_control().release_capacity(data.len());
        Poll::Ready(Some(released.map(|()| data)))
    }
}

impl HttpBody for StreamContent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.has_data {
            match ready!(this.poll_data(context)) {
                // Whatever became of the stream behind its last byte, the content is whole.
                Some(Err(_)) if this.left == Some(0) => return Poll::Ready(None),
                Some(data) => return Poll::Ready(Some(data.map(Frame::data).map_err(failed))),
                None => this.has_data = false,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(context));
        Poll::Ready(trailers.map_err(failed).transpose().map(|it| it.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A stream that is reset without an error is cut all the same (RFC 9113 s8.1).
fn failed(error: h2::Error) -> BodyError {
    match error.reason() {
        Some(Reason::NO_ERROR) => BodyError::Cut,
        _ => BodyError::Stream(Box::new(error)),
    }
}
