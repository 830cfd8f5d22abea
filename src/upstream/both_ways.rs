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

/// The content as its reader has it.
pub(super) struct BothWays {
    frames: mpsc::Receiver<Result<Frame<Bytes>, BodyError>>,
    /// What is left, if that is known.
    left: Option<u64>,
}

impl BothWays {
    /// Has a task take `content` from the connection, until its end or that of its reader.
    pub(super) fn begin(content: ResponseContent, tasks: &Tasks) -> Self {
        let (reader, frames) = mpsc::channel(1);
        let left = content.size_hint().exact();
        tasks.spawn(take(content, reader));
        Self { frames, left }
    }
}

async fn take(mut content: ResponseContent, reader: mpsc::Sender<Result<Frame<Bytes>, BodyError>>) {
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
        match frame {
            Some(frame) => place.send(frame),
            None => return,
        }
    }
}

impl HttpBody for BothWays {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.frames.poll_recv(context));
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
