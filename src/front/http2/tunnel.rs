//! The two directions of a stream that has become a tunnel (RFC 8441), as streams of
//! bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::front::observe::PIECE;
use crate::front::tunnel::OpenEnd;

/// The client's end of the tunnel that a stream has become.
pub(super) fn open(receiving: RecvStream, sending: SendStream<Bytes>) -> OpenEnd {
    let sending = Shared(Arc::new(Mutex::new(sending)));
    let leaving = sending.clone();
    OpenEnd {
        reader: Box::new(Reader { stream: receiving, data: Bytes::new() }),
        writer: Box::new(sending),
        // A client that has ended its direction is not read from any more, and has the
        // other one all the same.
        leaves: poll_fn(move |context| leaving.lock().poll_reset(context).map(|_| ())).boxed(),
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

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.lock();
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

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.lock().send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
