//! Several contents one after the other, each of a length that was known
//! before. One that is not as long as it was to be cuts the whole: what follows
//! it would come at the wrong place.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::exchange::{Body, BodyError};

/// The contents that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Chain {
    links: VecDeque<Link>,
}

#[derive(Debug)]
struct Link {
    body: Body,
    left: u64,
}

impl Chain {
    /// Adds `body`, which is to have `length` bytes.
    pub(super) fn push(&mut self, body: impl Into<Body>, length: u64) {
        if length > 0 {
            self.links.push_back(Link { body: body.into(), left: length });
        }
    }

    /// How many bytes are left.
    pub(super) fn length(&self) -> u64 {
        self.links.iter().map(|link| link.left).sum()
    }

    fn cut(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.links.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl HttpBody for Chain {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let chain = self.get_mut();
        loop {
            let Some(link) = chain.links.front_mut() else { return Poll::Ready(None) };
            match ready!(Pin::new(&mut link.body).poll_frame(context)) {
                None if link.left == 0 => {
                    chain.links.pop_front();
                }
                None => return chain.cut(BodyError::Shared("a part of it was too short".to_owned())),
                Some(Err(error)) => return chain.cut(error),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let Some(left) = link.left.checked_sub(bytes.len() as u64) else {
                        return chain.cut(BodyError::Shared("a part of it was too long".to_owned()));
                    };
                    link.left = left;
                    if left == 0 && link.body.is_end_stream() {
                        chain.links.pop_front();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.links.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn read(links: &[(&'static str, u64)]) -> Result<Bytes, BodyError> {
        let mut chain = Chain::default();
        for (text, length) in links {
            chain.push(Bytes::from_static(text.as_bytes()), *length);
        }
        assert_eq!(chain.length(), links.iter().map(|(_, length)| length).sum::<u64>());
        Ok(Body::boxed(chain).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn a_chain_is_as_long_as_its_links_or_cut() {
        assert_eq!(read(&[]).await.unwrap(), "");
        assert_eq!(read(&[("ab", 2), ("", 0), ("cde", 3)]).await.unwrap(), "abcde");
        assert!(read(&[("ab", 2), ("cd", 3), ("e", 1)]).await.is_err());
        assert!(read(&[("ab", 1), ("cd", 2)]).await.is_err());
    }
}
