//! Content without what follows it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};

impl Body {
    /// The same content, whose trailers are dropped.
    #[must_use]
    pub fn without_trailers(self) -> Self {
        match self {
            whole @ (Self::Empty | Self::Full(_)) => whole,
            body => Self::boxed(WithoutTrailers(body)),
        }
    }
}

struct WithoutTrailers(Body);

impl HttpBody for WithoutTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = &mut self.get_mut().0;
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn what_follows_the_content_goes() {
        let frames = [Frame::data(Bytes::from_static(b"x")), Frame::trailers(HeaderMap::new())];
        let frames = frames.into_iter().map(Ok::<_, BodyError>);
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let collected = body.without_trailers().collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "x");
    }
}
