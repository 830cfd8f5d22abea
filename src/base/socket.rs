//! A TCP connection as a stream of bytes that costs the system no more than it must.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Clock, SystemClock};

/// A write that waits to be told of room is tried without that once in as long, if its task
/// is woken; as long as it is taken others are tried at once.
const TRIED_EVERY: Duration = Duration::from_millis(250);

/// A TCP connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// When a write that waits began to, or was last tried in vain.
    tried: Option<Instant>,
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self { stream, tried: None }
    }
}

impl Socket {
    /// What comes of a write about which the system has not told anything yet. It tells of
    /// room once a third of what it holds has left, and of that it may hold megabytes for a
    /// peer that was fast once: a slow one takes them for longer than a deadline lasts, and
    /// only a write shows that it takes anything. The system may make room by itself, too,
    /// which is filled at once, so that it does not pass for a peer that takes something
    /// now and then.
    fn poll_untold(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let now = SystemClock.now();
        let tried = self.tried.get_or_insert(now);
        if now.saturating_duration_since(*tried) < TRIED_EVERY {
            return Poll::Pending;
        }
        match SockRef::from(&self.stream).send_vectored(slices) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                *tried = now;
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        }
    }

    fn told(&mut self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if self.tried.is_some() {
            self.tried = None;
        }
        Poll::Ready(written)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => self.told(written),
            Poll::Pending => self.poll_untold(&[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let polled = match slices {
            // By send(2), which takes a way through the system that is shorter than that
            // of writev(2), by a fifth as measured.
            [bytes] => stream.poll_write(context, bytes),
            _ => stream.poll_write_vectored(context, slices),
        };
        match polled {
            Poll::Ready(written) => self.told(written),
            Poll::Pending => self.poll_untold(slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_pieces_arrives_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut socket = Socket::from(near);
        for (pieces, all) in
            [(&["one"][..], "one"), (&["", "two", "three"], "twothree"), (&["four", ""], "four")]
        {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece.as_bytes())).collect();
            let write =
                |context: &mut Context<'_>| Pin::new(&mut socket).poll_write_vectored(context, &slices);
            assert_eq!(poll_fn(write).await.unwrap(), all.len());
            let mut received = vec![0; all.len()];
            far.read_exact(&mut received).await.unwrap();
            assert_eq!(received, all.as_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_is_seen_to_take_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        SockRef::from(&near).set_send_buffer_size(4 << 20).unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut socket = Socket::from(near);
        let piece = [0; 1 << 16];
        let (mut written, mut in_vain) = (0, 0);
        while in_vain < 2 {
            if let Some(sent) = socket.write(&piece).now_or_never() {
                (written, in_vain) = (written + sent.unwrap(), 0);
            } else {
                in_vain += 1;
                tokio::time::advance(TRIED_EVERY).await;
            }
        }
        let mut received = vec![0; written / 8];
        far.read_exact(&mut received).await.unwrap();
        assert!(socket.stream.try_write(&piece).is_err(), "the system has told of room");
        for _ in 0..3 {
            assert!(socket.write(&piece).now_or_never().is_some(), "what it took was not seen");
        }
        while socket.write(&piece).now_or_never().is_some() {}
        received.resize(1 << 19, 0);
        far.read_exact(&mut received).await.unwrap();
        assert!(socket.write(&piece).now_or_never().is_none(), "tried again too soon");
    }
}
