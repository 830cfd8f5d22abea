//! The ends of a tunnel: what was a connection of HTTP/1.1 (RFC 9110 s7.8), or a stream
//! of HTTP/2 (RFC 8441), as two directions of bytes. It joins none.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use h2::{Reason, RecvStream, SendStream};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What is given to a stream of HTTP/2 at once, in bytes.
const PIECE: usize = 8 << 10;

/// The origin server's end of a tunnel.
pub struct Tunnel {
    /// Its bytes.
    pub end: OpenEnd,
    /// What carries and counts them: held as long as they pass.
    pub carrier: Box<dyn Any + Send>,
}

/// One end of a tunnel.
pub struct OpenEnd {
    /// What comes from there.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What goes there.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Ends when the whole is given up there, which `reader` and `writer` may not see.
    pub leaves: BoxFuture<'static, ()>,
}

impl OpenEnd {
    /// What a connection becomes once the protocols are changed. Cancel safe.
    pub async fn of_upgrade(upgrade: OnUpgrade) -> io::Result<Self> {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        Ok(Self::of_connection(Bytes::new(), TokioIo::new(upgraded)))
    }

    /// The end at which a connection is, from which `first` came before.
    pub fn of_connection(first: Bytes, connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(connection);
        let reader = AsyncReadExt::chain(io::Cursor::new(first), reader);
        let leaves = std::future::pending().boxed();
        Self { reader: Box::new(reader), writer: Box::new(writer), leaves }
    }

    /// The end at which a stream of HTTP/2 is. What is not written to its end is reset, for
    /// what waits to be sent would wait on; behind an end it is left to be sent.
    pub fn of_stream(receiving: RecvStream, sending: SendStream<Bytes>) -> Self {
        let sending = Shared(Arc::new(Mutex::new(sending)));
        let leaving = sending.clone();
        Self {
            reader: Box::new(Reader { stream: receiving, data: Bytes::new() }),
            writer: Box::new(Writer { stream: sending, is_over: false }),
            // Who has ended its direction is not read from any more, and has the other one
            // all the same.
            leaves: poll_fn(move |context| leaving.lock().poll_reset(context).map(|_| ())).boxed(),
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("end", &self.end).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenEnd").finish_non_exhaustive()
    }
}

struct Reader {
    stream: RecvStream,
    /// What is left of the last frame.
    data: Bytes,
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.data.is_empty() {
            match ready!(this.stream.poll_data(context)) {
                Some(data) => this.data = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.data.len().min(into.remaining());
        into.put_slice(&this.data[..length]);
        this.data.advance(length);
        let released = this.stream.flow_control().release_capacity(length);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<SendStream<Bytes>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SendStream<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    stream: Shared,
    is_over: bool,
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.lock();
        // No more than is there: what is reserved is kept from other streams.
        stream.reserve_capacity(bytes.len().min(PIECE));
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(context)) {
                Some(capacity) => capacity.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let length = bytes.len().min(stream.capacity());
        let sent = stream.send_data(Bytes::copy_from_slice(&bytes[..length]), false);
        Poll::Ready(sent.map(|()| length).map_err(io::Error::other))
    }

    /// h2 sends as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_over = true;
        Poll::Ready(self.stream.lock().send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_over {
            self.stream.lock().send_reset(Reason::CANCEL);
        }
    }
}
