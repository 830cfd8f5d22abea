//! A client's connection as a stream of bytes that tells its pace what it reads
//! and writes, and that is closed so that the client can read the last of it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::pace::Pace;

/// How long a client that is still sending has to read the last response.
const LINGERING: Duration = Duration::from_secs(5);

pin_project_lite::pin_project! {
    /// A stream that tells its pace.
    pub(super) struct Paced<S> {
        #[pin]
        stream: S,
        pace: Arc<Pace>,
        lingering: Option<Pin<Box<Sleep>>>,
    }
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace, lingering: None }
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

impl<S: AsyncRead + AsyncWrite> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut this = self.project();
        ready!(before_write(this.pace, this.stream.as_mut(), context))?;
        let polled = this.stream.poll_write(context, bytes);
        note_write(this.pace, &polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut this = self.project();
        ready!(before_write(this.pace, this.stream.as_mut(), context))?;
        let polled = this.stream.poll_write_vectored(context, slices);
        note_write(this.pace, &polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let polled = match this.pace.interim.poll_before_flush(this.stream.as_mut(), context)? {
            Poll::Ready(()) => this.stream.poll_flush(context),
            Poll::Pending => Poll::Pending,
        };
        match polled {
            Poll::Pending => this.pace.blocked(),
            Poll::Ready(_) => this.pace.flushed(),
        }
        polled
    }

    /// Closes the sending side and, where the client is still sending, reads on
    /// for a while: closing at once would have the system send a reset, at which
    /// the client may lose the response (RFC 9112 s9.6).
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if this.lingering.is_none() {
            let polled = this.stream.as_mut().poll_shutdown(context);
            if polled.is_pending() {
                this.pace.blocked();
            }
            ready!(polled)?;
            this.pace.wrote(0);
            if !this.pace.is_amid_request() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = || Box::pin(tokio::time::sleep(LINGERING));
        let lingering = this.lingering.get_or_insert_with(until);
        // Before reading, as a client that sends without a pause leaves no time after.
        if lingering.as_mut().poll(context).is_pending() {
            ready!(discard(this.stream, context));
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads until the client ends.
fn discard<S: AsyncRead>(mut stream: Pin<&mut S>, context: &mut Context<'_>) -> Poll<()> {
    let mut space = [MaybeUninit::uninit(); 4096];
    loop {
        let mut discarded = ReadBuf::uninit(&mut space);
        let read = ready!(stream.as_mut().poll_read(context, &mut discarded));
        if read.is_err() || discarded.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

fn before_write<S: AsyncWrite>(
    pace: &Pace,
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let polled = pace.interim.poll_before_write(stream, context);
    if polled.is_pending() {
        pace.blocked();
    }
    polled
}

fn note_write(pace: &Pace, polled: &Poll<io::Result<usize>>) {
    match polled {
        Poll::Pending => pace.blocked(),
        Poll::Ready(Ok(bytes)) => pace.wrote(*bytes),
        Poll::Ready(Err(_)) => {}
    }
}
