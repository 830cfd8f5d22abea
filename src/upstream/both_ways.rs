//! A response that comes while its request is still being sent. A task goes on with both,
//! so that a client that reads slowly, or nothing before it has said all, does not hold up
//! what it sends. Of the response no more than two pieces are taken ahead of the reader.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::select;
use tokio::sync::mpsc;

use super::content::ResponseContent;
use crate::base::Tasks;
use crate::exchange::BodyError;

/// What is next of the content, or `None` at its end: what ends without that was cut.
type Next = Option<Result<Frame<Bytes>, BodyError>>;

/// The content as its reader has it.
pub(super) struct BothWays {
    frames: mpsc::Receiver<Next>,
    /// What is left, if that is known.
    left: Option<u64>,
    is_over: bool,
}

impl BothWays {
    /// Has a task take `content` from the connection, until its end or that of its reader.
    pub(super) fn begin(content: ResponseContent, tasks: &Tasks) -> Self {
        let (reader, frames) = mpsc::channel(1);
        let left = content.size_hint().exact();
        tasks.spawn(take(content, reader));
        Self { frames, left, is_over: false }
    }
}

async fn take(mut content: ResponseContent, reader: mpsc::Sender<Next>) {
    loop {
        let place = {
            let mut place = pin!(reader.reserve());
            let wait = poll_fn(|context| {
                content.poll_send(context);
                place.as_mut().poll(context)
            });
            wait.await
        };
        let Ok(place) = place else { return };
        let frame = select! {
            biased;
            () = reader.closed() => return,
            frame = content.frame() => frame,
        };
        let is_end = frame.is_none();
        place.send(frame);
        if is_end {
            return;
        }
    }
}

impl HttpBody for BothWays {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Next> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(this.frames.poll_recv(context)).unwrap_or(Some(Err(BodyError::Cut)));
        this.is_over = !matches!(frame, Some(Ok(_)));
        if let (Some(left), Some(Ok(frame))) = (&mut this.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_without_its_end_was_cut() {
        for is_ended in [false, true] {
            let (reader, frames) = mpsc::channel(2);
            reader.send(Some(Ok(Frame::data(Bytes::from_static(b"hi"))))).await.unwrap();
            if is_ended {
                reader.send(None).await.unwrap();
            }
            drop(reader);
            let content = BothWays { frames, left: None, is_over: false };
            assert_eq!(content.collect().await.is_ok(), is_ended);
        }
    }
}
