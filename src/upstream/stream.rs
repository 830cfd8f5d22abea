//! The bytes between the edge and an origin server, cleartext or TLS. Notes
//! what went over them, which is the only exact account of how far a request
//! had come when its connection failed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::DropGuard;

use super::open::OpenConnection;
use super::read_ahead::ReadAhead;
use crate::base::Socket;
use crate::exchange::RequestProgress;

/// What went over a connection since the last request on it began.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicBool,
    received: AtomicBool,
    /// The same as `received`, for whoever asks whether the server is there.
    spoken: AtomicBool,
}

impl Traffic {
    /// A request begins.
    pub(super) fn restart(&self) {
        self.sent.store(false, Relaxed);
        self.received.store(false, Relaxed);
    }

    /// Notes that something came.
    pub(super) fn note_received(&self) {
        self.received.store(true, Relaxed);
        self.spoken.store(true, Relaxed);
    }

    /// True if something came since this was asked last.
    pub(super) fn take_spoken(&self) -> bool {
        self.spoken.swap(false, Relaxed)
    }

    /// True if something came since that was last taken note of.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Relaxed)
    }

    /// The same, and takes note of it.
    pub(super) fn take_received(&self) -> bool {
        self.received.swap(false, Relaxed)
    }

    /// How far the request has come.
    pub(super) fn progress(&self) -> RequestProgress {
        if self.received.load(Relaxed) {
            RequestProgress::Answered
        } else if self.sent.load(Relaxed) {
            RequestProgress::Sent
        } else {
            RequestProgress::NotSent
        }
    }
}

/// A connection within this machine; that of a test may be all memory.
#[cfg(not(test))]
pub(super) type Local = UnixStream;
#[cfg(test)]
pub(super) type Local = Either<UnixStream, tokio::io::DuplexStream>;

/// What carries the bytes: TCP or a Unix socket, or TLS over TCP.
pub(super) type Transport = Either<Either<Socket, Local>, Box<TlsStream<Socket>>>;

/// A connection to an origin server.
#[derive(Debug)]
pub(super) struct OriginStream {
    transport: Take<Transport>,
    traffic: Arc<Traffic>,
    /// What bounds a read; without it there is no bound.
    read_ahead: Option<ReadAhead>,
    /// Dropped once the server has said something, or will not any more.
    heard: Option<DropGuard>,
    /// Counts it until it is closed, hence the last field.
    open: Option<OpenConnection>,
}

impl OriginStream {
    /// One of HTTP/1.1, which notes in `traffic` what goes over `transport`, reads no more
    /// at once than `read_ahead` says, and is counted by `open`.
    pub(super) fn new(
        transport: Transport,
        traffic: Arc<Traffic>,
        read_ahead: ReadAhead,
        open: Option<OpenConnection>,
    ) -> Self {
        let transport = transport.take(0);
        Self { transport, traffic, read_ahead: Some(read_ahead), heard: None, open }
    }

    /// One of HTTP/2, which notes the same, cancels `heard` once the server has said
    /// something, or will not any more, and is counted by `open`.
    pub(super) fn telling(
        transport: Transport,
        traffic: Arc<Traffic>,
        heard: DropGuard,
        open: Option<OpenConnection>,
    ) -> Self {
        let transport = transport.take(u64::MAX);
        Self { transport, traffic, read_ahead: None, heard: Some(heard), open }
    }

    /// The most that is read at once now, in bytes.
    pub(super) fn most_read(&self) -> usize {
        self.read_ahead.as_ref().map_or(usize::MAX, ReadAhead::most)
    }

    /// Has it count no more among the connections that are open.
    pub(super) fn count_no_more(&mut self) {
        self.open = None;
    }

    fn note_sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(count)) if count > 0) {
            self.traffic.sent.store(true, Relaxed);
        }
        written
    }
}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let most = self.most_read();
        self.transport.set_limit(u64::try_from(most).unwrap_or(u64::MAX));
        let read = ready!(Pin::new(&mut self.transport).poll_read(context, buffer));
        self.heard = None;
        read?;
        if buffer.filled().len() > before {
            self.traffic.note_received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.transport.get_mut()).poll_write(context, bytes);
        self.note_sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.transport.get_mut()).poll_write_vectored(context, slices);
        self.note_sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.transport.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.transport.get_mut()).poll_shutdown(context)
    }
}
