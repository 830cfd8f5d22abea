//! A client's stream that is lent: whoever has it gives it back by being dropped. So an
//! HTTP/1 connection that rests keeps nothing of hyper, which holds 16 KiB for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// So many bytes are read to see that there are any.
const FIRST: usize = 64;

/// Where a stream is that is not lent.
#[derive(Debug)]
pub(super) struct Home<S>(Arc<Mutex<Option<S>>>);

/// A stream in use.
#[derive(Debug)]
pub(super) struct Lent<S> {
    /// Taken out only when this is dropped.
    stream: Option<S>,
    /// What was read of it before.
    first: [u8; FIRST],
    length: usize,
    home: Arc<Mutex<Option<S>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Home<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    /// Waits until there is something to read, and lends the stream; `None` when it has
    /// ended, or somebody has it. Cancel safe.
    pub(super) async fn lend_when_readable(&self) -> Option<Lent<S>> {
        let home = Arc::clone(&self.0);
        let stream = home.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut lent = Lent { stream: Some(stream), first: [0; FIRST], length: 0, home };
        let read = lent.stream.as_mut()?.read(&mut lent.first).await;
        lent.length = read.ok().filter(|length| *length > 0)?;
        Some(lent)
    }

    /// Ends the stream, if nobody has it.
    pub(super) async fn close(&self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut stream) = stream {
            let _ = stream.shutdown().await;
        }
    }
}

impl<S: Unpin> Lent<S> {
    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = std::mem::take(&mut self.length);
        if length == 0 {
            return self.stream()?.poll_read(context, into);
        }
        let (now, later) = self.first[..length].split_at(length.min(into.remaining()));
        into.put_slice(now);
        let later = length - later.len()..length;
        self.length = later.len();
        self.first.copy_within(later, 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn what_was_read_to_see_it_is_read_again() {
        let (near, mut far) = duplex(1000);
        let home = Home::new(near);
        for length in [1, FIRST - 1, FIRST, FIRST + 1, 300] {
            let sent: Vec<u8> = (0..length).map(|index| index as u8).collect();
            far.write_all(&sent).await.unwrap();
            let mut lent = home.lend_when_readable().await.unwrap();
            let mut received = vec![0; length];
            for part in received.chunks_mut(7) {
                lent.read_exact(part).await.unwrap();
            }
            assert_eq!(received, sent);
            lent.write_all(b"answer").await.unwrap();
            let mut answer = [0; 6];
            far.read_exact(&mut answer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_stream_is_lent_to_one_at_a_time() {
        let (near, mut far) = duplex(1000);
        let home = Home::new(near);
        far.write_all(b"ab").await.unwrap();
        let lent = home.lend_when_readable().await.unwrap();
        assert!(home.lend_when_readable().await.is_none());
        home.close().await;
        drop(lent);
        far.write_all(b"c").await.unwrap();
        assert!(home.lend_when_readable().await.is_some());
    }

    #[tokio::test]
    async fn who_stops_waiting_has_not_read_anything() {
        let (near, mut far) = duplex(1000);
        let home = Home::new(near);
        assert!(home.lend_when_readable().now_or_never().is_none());
        far.write_all(b"a").await.unwrap();
        let mut lent = home.lend_when_readable().await.unwrap();
        assert_eq!(lent.read_u8().await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn a_stream_that_ended_is_not_lent_and_is_closed() {
        let (near, mut far) = duplex(1000);
        let home = Home::new(near);
        far.shutdown().await.unwrap();
        assert!(home.lend_when_readable().await.is_none());
        home.close().await;
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    }
}
