//! A client's connection as a stream of bytes that tells its pace what it reads
//! and writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::Pace;

pin_project_lite::pin_project! {
    /// A stream that tells its pace.
    pub(super) struct Paced<S> {
        #[pin]
        stream: S,
        pace: Arc<Pace>,
    }
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = into.filled().len();
        let polled = this.stream.poll_read(context, into);
        if polled.is_ready() && into.filled().len() > before {
            this.pace.read(&into.filled()[before..])?;
        }
        polled
    }
}

impl<S: AsyncWrite> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let polled = this.stream.poll_write(context, bytes);
        note_write(this.pace, &polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let polled = this.stream.poll_write_vectored(context, slices);
        note_write(this.pace, &polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let polled = this.stream.poll_flush(context);
        match polled {
            Poll::Pending => this.pace.blocked(),
            Poll::Ready(_) => this.pace.wrote(0),
        }
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let polled = this.stream.poll_shutdown(context);
        if polled.is_pending() {
            this.pace.blocked();
        }
        polled
    }
}

fn note_write(pace: &Pace, polled: &Poll<io::Result<usize>>) {
    match polled {
        Poll::Pending => pace.blocked(),
        Poll::Ready(Ok(bytes)) => pace.wrote(*bytes),
        Poll::Ready(Err(_)) => {}
    }
}
