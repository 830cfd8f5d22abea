//! A client's connection as a stream of bytes that tells its pace what it reads
//! and writes, and that is closed so that the client can read the last of it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::pace::Pace;

/// How long a client that is still sending has to read the last response.
const LINGERING: Duration = Duration::from_secs(5);

/// How long it has in all where it takes the last responses bit by bit: over HTTP/2 it says
/// so, and a closed connection would answer with a reset.
const LONGEST_LINGERING: Duration = Duration::from_secs(30);

pin_project_lite::pin_project! {
    /// A stream that tells its pace.
    pub(super) struct Paced<S> {
        #[pin]
        stream: S,
        pace: Arc<Pace>,
        lingering: Option<Lingering>,
    }
}

/// Until when a client may go on.
struct Lingering {
    timer: Pin<Box<Sleep>>,
    last: Instant,
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
            if !this.pace.is_amid_request() && this.pace.is_http1() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| {
            let now = this.pace.clock_now();
            Lingering { timer: Box::pin(tokio::time::sleep(LINGERING)), last: now + LONGEST_LINGERING }
        });
        loop {
            // Before reading, as a client that sends without a pause leaves no time after.
            if lingering.timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if !ready!(discard(this.stream.as_mut(), context)) {
                return Poll::Ready(Ok(()));
            }
            if !this.pace.is_http1() {
                let until = this.pace.clock_now() + LINGERING;
                lingering.timer.as_mut().reset(until.min(lingering.last));
            }
        }
    }
}

/// Reads what there is; false at the client's end.
fn discard<S: AsyncRead>(stream: Pin<&mut S>, context: &mut Context<'_>) -> Poll<bool> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut discarded = ReadBuf::uninit(&mut space);
    let read = ready!(stream.poll_read(context, &mut discarded));
    Poll::Ready(read.is_ok() && !discarded.filled().is_empty())
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
