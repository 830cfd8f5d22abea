//! The content of a request that came over HTTP/2, as it comes. The client is given
//! as much window again as is taken, never before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::interim::InterimResponses;
use crate::exchange::{BodyError, InterimClient};

/// Content on its way in.
pub(super) struct Received {
    stream: RecvStream,
    /// What of it is still to come, where the head says how much there is; h2 holds the
    /// client to it (RFC 9113 s8.1.1).
    left: Option<u64>,
    has_data: bool,
    /// Who waits to be told that it is asked for (RFC 9110 s10.1.1), and how.
    expects: Option<Arc<InterimResponses>>,
}

impl Received {
    /// The content of a request with these fields, whose client is told things by `interim`.
    pub(super) fn new(stream: RecvStream, fields: &HeaderMap, interim: &Arc<InterimResponses>) -> Self {
        let length = fields.get(CONTENT_LENGTH).map(HeaderValue::to_str);
        let left = length.and_then(|length| length.ok()?.parse().ok());
        let expects = fields.contains_key(EXPECT).then(|| Arc::clone(interim));
        Self { stream, left, has_data: true, expects }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let polled = self.stream.poll_data(context);
        if let Some(client) = self.expects.take()
            && polled.is_pending()
        {
            client.tell(0, StatusCode::CONTINUE, &HeaderMap::new());
        }
        let data = match ready!(polled) {
            Some(Ok(data)) => data,
            end => return Poll::Ready(end),
        };
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        let released = self.stream.flow_control().release_capacity(data.len());
        Poll::Ready(Some(released.map(|()| data)))
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.has_data {
            match ready!(this.poll_data(context)) {
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

fn failed(error: h2::Error) -> BodyError {
    BodyError::Stream(Box::new(error))
}
