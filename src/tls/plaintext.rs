//! The plaintext side of a connection. It reads from the system no more often than it is
//! asked to; what it writes is as tokio-rustls does it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// What a client says, and is told, without its encryption.
#[derive(Debug)]
pub struct Plaintext<S> {
    stream: Box<TlsStream<S>>,
}

impl<S> Plaintext<S> {
    pub(super) fn new(stream: Box<TlsStream<S>>) -> Self {
        Self { stream }
    }

    pub(super) fn stream(&mut self) -> &mut TlsStream<S> {
        &mut self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Plaintext<S> {
    /// Gives what is decrypted already, or else what one more look at the socket brings.
    /// `TlsStream` looks again until the socket has nothing more or `into` is full, which
    /// for a request, that a client sends and then waits, is once in vain each time.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(self.get_mut().stream());
        let before = into.filled().len();
        loop {
            let decrypted = match stream.as_mut().poll_fill_buf(context) {
                // What is there comes first; a failure is met again.
                Poll::Pending | Poll::Ready(Err(_)) if into.filled().len() > before => break,
                polled => ready!(polled)?,
            };
            let length = decrypted.len().min(into.remaining());
            into.put_slice(&decrypted[..length]);
            stream.as_mut().consume(length);
            if length == 0 || into.remaining() == 0 || stream.get_ref().1.wants_read() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Plaintext<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().stream()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().stream()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream()).poll_shutdown(context)
    }
}
