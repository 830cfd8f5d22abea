//! The content of a request that came over HTTP/2, as it comes, with what a client waits
//! for that asks whether to send it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http::header::EXPECT;
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::interim::InterimResponses;
use crate::exchange::{BodyError, InterimClient, StreamContent};

/// Content on its way in.
pub(super) struct Received {
    content: StreamContent,
    /// Who waits to be told that it is asked for (RFC 9110 s10.1.1), and how.
    expects: Option<Arc<InterimResponses>>,
}

impl Received {
    /// The content of a request with these fields, whose client is told things by `interim`.
    pub(super) fn new(stream: RecvStream, fields: &HeaderMap, interim: &Arc<InterimResponses>) -> Self {
        let expects = fields.contains_key(EXPECT).then(|| Arc::clone(interim));
        Self { content: StreamContent::new(stream, fields), expects }
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
        let polled = Pin::new(&mut this.content).poll_frame(context);
        if let Some(client) = this.expects.take()
            && polled.is_pending()
        {
            client.tell(0, StatusCode::CONTINUE, &HeaderMap::new());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
