//! Content that may not be longer than a limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};

impl Body {
    /// The same content, which fails with [`BodyError::TooLarge`] at the first
    /// byte beyond `limit`.
    #[must_use]
    pub fn limited(self, limit: u64) -> Self {
        Self::boxed(Limited { body: self, limit, left: limit })
    }
}

struct Limited {
    body: Body,
    limit: u64,
    left: u64,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit: this.limit }))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn the_limit_itself_is_allowed() {
        let body = Body::Full(Bytes::from_static(b"12345")).limited(5);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "12345");
    }

    #[tokio::test]
    async fn one_byte_more_is_not() {
        let body = Body::Full(Bytes::from_static(b"12345")).limited(4);
        assert!(matches!(body.collect().await, Err(BodyError::TooLarge { limit: 4 })));
    }
}
