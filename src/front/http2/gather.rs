//! Gathers what HTTP/2 writes: h2 writes and flushes each DATA frame by itself,
//! which would make a TLS record and a system call of each. Here frames add up,
//! and are written once after each poll of their connection, or earlier when
//! they reach a bound. What the client does not take then holds the connection
//! up as it should.
//!
//! It also has a connection read a little at a time, so that what is read is
//! taken by its streams before there is more of it; or not at all for a while, where
//! there is no room for more.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes that are gathered before they must be written; one frame more can be
/// in the buffer.
const GATHERED: usize = 32 * 1024;

/// Bytes that the buffer is made for: what is gathered, and one frame with its head.
const BUFFER: usize = GATHERED + 16 * 1024 + 9;

/// Bytes that are read in one poll. h2 ends a connection on which small DATA frames
/// pile up, and each of them has at least ten bytes: so many are fewer than that.
const READ_AT_ONCE: usize = 16 * 1024;

/// How often a connection that is not to be read asks again whether it is.
const ASKS_AGAIN: Duration = Duration::from_millis(50);

/// A stream whose writes are gathered: one handle for hyper, one for
/// [`Gather::drive`].
pub(in crate::front) struct Gather<S>(Arc<Mutex<Gathered<S>>>);

struct Gathered<S> {
    stream: S,
    buffer: Vec<u8>,
    /// What of the buffer the stream has taken.
    written: usize,
    /// True while the stream has not passed on all that it was given.
    is_held_up: bool,
    /// What may still be read in this poll.
    readable: usize,
    /// While nothing is to be read.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gather<S> {
    pub(in crate::front) fn new(stream: S) -> Self {
        let gathered =
            Gathered { stream, buffer: Vec::new(), written: 0, is_held_up: false, readable: 0, pause: None };
        Self(Arc::new(Mutex::new(gathered)))
    }

    /// Another handle of the same stream.
    pub(in crate::front) fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Polls `connection`, which reads from this stream if that `is_read`, and writes to
    /// it, then writes what it gathered. Ready with `None` when the stream has failed. Cancel safe.
    pub(in crate::front) fn poll_driven<C: Future>(
        &self,
        connection: Pin<&mut C>,
        is_read: bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<C::Output>> {
        self.lock().begin(is_read);
        let polled = connection.poll(context);
        match self.lock().poll_write_out(context) {
            Poll::Ready(Err(_)) if polled.is_pending() => Poll::Ready(None),
            _ => polled.map(Some),
        }
    }

    /// True if there was something to do for the connection and it was not to be read.
    pub(in crate::front) fn is_paused(&self) -> bool {
        self.lock().pause.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathered<S> {
    fn begin(&mut self, is_read: bool) {
        if is_read {
            (self.readable, self.pause) = (READ_AT_ONCE, None);
        } else {
            self.readable = 0;
            self.pause.get_or_insert_with(|| Box::pin(sleep(ASKS_AGAIN)));
        }
    }

    /// What there is no room for is not gathered either, nor more while the client does not
    /// take what was: that is held once, here or by the stream.
    fn is_full(&self) -> bool {
        let most = if self.pause.is_some() { 1 } else { GATHERED };
        self.is_held_up || self.buffer.len() >= most
    }

    /// Wakes the connection for the next poll in which it may read.
    fn poll_next_turn(&mut self, context: &mut Context<'_>) {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return;
            }
            pause.set(sleep(ASKS_AGAIN));
        }
        context.waker().wake_by_ref();
    }

    /// Writes all that is gathered and flushes the stream.
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_write_all(context);
        self.is_held_up = polled.is_pending();
        polled
    }

    fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.written += taken,
            }
        }
        // An idle connection keeps no buffer.
        self.buffer = Vec::new();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gathered = self.lock();
        if gathered.readable == 0 {
            gathered.poll_next_turn(context);
            return Poll::Pending;
        }
        let readable = gathered.readable;
        let stream = Pin::new(&mut gathered.stream);
        let before = into.filled().len();
        if into.remaining() <= readable {
            ready!(stream.poll_read(context, into))?;
        } else {
            let mut part = ReadBuf::new(into.initialize_unfilled_to(readable));
            ready!(stream.poll_read(context, &mut part))?;
            let length = part.filled().len();
            into.advance(length);
        }
        gathered.readable -= into.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = self.lock();
        if gathered.is_full() {
            ready!(gathered.poll_write_out(context))?;
        }
        if gathered.buffer.capacity() == 0 && gathered.pause.is_none() {
            gathered.buffer.reserve(BUFFER);
        }
        let before = gathered.buffer.len();
        for slice in slices {
            // A slice is at most a frame, but nobody promises that.
            let room = (2 * GATHERED).saturating_sub(gathered.buffer.len());
            gathered.buffer.extend_from_slice(&slice[..slice.len().min(room)]);
            if room < slice.len() {
                break;
            }
        }
        Poll::Ready(Ok(gathered.buffer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by [`Gather::poll_driven`], once for all frames of a poll.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.lock();
        ready!(gathered.poll_write_out(context))?;
        Pin::new(&mut gathered.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::base::{Clock, SystemClock};

    /// Runs `connection` as the front does.
    async fn driven<C: Future>(gather: &Gather<DuplexStream>, connection: C) -> Option<C::Output> {
        let mut connection = pin!(connection);
        poll_fn(|context| gather.poll_driven(connection.as_mut(), true, context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_to_be_read_is_read_later() {
        let (near, mut far) = tokio::io::duplex(64);
        let gather = Gather::new(near);
        far.write_all(b"more").await.unwrap();
        let begun = SystemClock.now();
        let mut handle = gather.handle();
        let mut read = pin!(async { handle.read(&mut [0; 8]).await.unwrap() });
        let mut polls = 0;
        let length = poll_fn(|context| {
            assert_eq!(gather.is_paused(), polls > 0);
            polls += 1;
            gather.poll_driven(read.as_mut(), polls > 3, context)
        });
        assert_eq!(length.await, Some(4));
        assert_eq!((polls, gather.is_paused()), (4, false));
        assert!(SystemClock.now() - begun >= 2 * ASKS_AGAIN);
    }

    #[tokio::test]
    async fn frames_of_one_poll_go_out_in_one_write() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let gather = Gather::new(near);
        let mut io = gather.handle();
        let write = async {
            for _ in 0..20 {
                io.write_all(&[7; 1000]).await.unwrap();
                io.flush().await.unwrap();
            }
            assert_eq!(gather.lock().buffer.len(), 20_000, "nothing has left yet");
            std::future::pending::<()>().await;
        };
        let mut received = vec![0; 20_000];
        tokio::select! {
            _ = driven(&gather, write) => unreachable!("it never ends"),
            read = far.read_exact(&mut received) => assert_eq!(read.unwrap(), 20_000),
        }
        assert_eq!(gather.lock().buffer.capacity(), 0, "an idle connection keeps no buffer");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_holds_the_connection_up() {
        let (near, _far) = tokio::io::duplex(1000);
        let gather = Gather::new(near);
        let mut io = gather.handle();
        let mut taken = 0;
        let write = async {
            loop {
                taken += io.write(&[7; 16 * 1024]).await.unwrap();
            }
        };
        let mut write = Box::pin(write);
        for _ in 0..100 {
            let polled = futures_util::poll!(poll_fn(|cx| gather.poll_driven(write.as_mut(), true, cx)));
            assert!(polled.is_pending());
        }
        drop(write);
        assert!(taken <= 1000 + GATHERED + 16 * 1024, "{taken}");
    }

    #[tokio::test]
    async fn what_the_stream_holds_is_not_gathered_again() {
        let (near, _far) = tokio::io::duplex(1000);
        // It takes more than it passes on, as one that encrypts does.
        let gather = Gather::new(tokio::io::BufWriter::with_capacity(1 << 20, near));
        let mut io = gather.handle();
        let mut taken = 0;
        let mut write = Box::pin(async {
            loop {
                taken += io.write(&[7; 16 * 1024]).await.unwrap();
            }
        });
        for _ in 0..100 {
            let polled = futures_util::poll!(poll_fn(|cx| gather.poll_driven(write.as_mut(), true, cx)));
            assert!(polled.is_pending());
        }
        drop(write);
        assert!(taken <= GATHERED + 16 * 1024, "{taken}");
    }

    #[tokio::test]
    async fn only_so_much_is_read_in_one_poll() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(&[7; 3 * READ_AT_ONCE]).await.unwrap();
        let gather = Gather::new(near);
        let mut io = gather.handle();
        let mut taken = 0;
        let mut read = Box::pin(async {
            let mut space = [0; 6000];
            loop {
                taken += io.read(&mut space).await.unwrap();
            }
        });
        for _ in 0..2 {
            let polled = futures_util::poll!(poll_fn(|cx| gather.poll_driven(read.as_mut(), true, cx)));
            assert!(polled.is_pending());
        }
        drop(read);
        assert_eq!(taken, 2 * READ_AT_ONCE);
    }

    #[tokio::test]
    async fn a_stream_that_failed_ends_the_connection() {
        let (near, far) = tokio::io::duplex(1000);
        drop(far);
        let gather = Gather::new(near);
        let mut io = gather.handle();
        let write = async {
            io.write_all(&[7; 100]).await.unwrap();
            std::future::pending::<()>().await;
        };
        assert!(driven(&gather, write).await.is_none());
    }

    proptest! {
        /// The same bytes come out in any pattern of writes and reads.
        #[test]
        fn nothing_is_lost_or_changed(
            writes in prop::collection::vec((1usize..40_000, any::<bool>()), 1..30),
            capacity in 1usize..50_000,
            read in 1usize..50_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(capacity);
                let gather = Gather::new(near);
                let mut io = gather.handle();
                let total: usize = writes.iter().map(|(length, _)| length).sum();
                let sent: Vec<u8> = (0..total).map(|index| (index % 251) as u8).collect();
                let write = async {
                    let mut at = 0;
                    for (length, pauses) in &writes {
                        io.write_all(&sent[at..at + length]).await.unwrap();
                        at += length;
                        if *pauses {
                            tokio::task::yield_now().await;
                        }
                    }
                    io.shutdown().await.unwrap();
                };
                let receive = async {
                    let (mut received, mut buffer) = (Vec::new(), vec![0; read]);
                    loop {
                        match far.read(&mut buffer).await.unwrap() {
                            0 => return received,
                            length => received.extend_from_slice(&buffer[..length]),
                        }
                    }
                };
                let (_, received) = tokio::join!(driven(&gather, write), receive);
                assert!(received == sent);
            });
        }
    }
}
