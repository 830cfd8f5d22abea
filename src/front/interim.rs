//! Tells an HTTP/1 client of interim responses (RFC 9110 s15.2) beneath hyper, which
//! sends none but 100: between two messages of its own, before the answer that they
//! come before, or not at all.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;

use crate::fields::section;

/// The most that waits to be written, in bytes; what comes beyond it is dropped.
const ROOM: usize = 32 << 10;

/// The interim responses on their way to one client.
#[derive(Debug, Default)]
pub(super) struct InterimResponses {
    /// The number of the last exchange, which its connection alone changes.
    exchange: AtomicU64,
    /// Looked at before each write, so that nothing is locked where none are.
    are_waiting: AtomicBool,
    /// True while hyper may hold a part of what it began to write.
    is_amid_message: AtomicBool,
    waiting: Mutex<Waiting>,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The number of the last exchange that was waited for.
    exchange: u64,
    /// True until hyper has its answer.
    is_awaited: bool,
    bytes: Vec<u8>,
    written: usize,
}

impl InterimResponses {
    /// The number of the next exchange.
    pub(super) fn next(&self) -> u64 {
        let next = self.exchange.load(Relaxed) + 1;
        self.exchange.store(next, Relaxed);
        next
    }

    /// The client waits for its answer to `exchange` from now on: most are answered at once.
    /// Before anybody is asked who could tell it something.
    pub(super) fn begin(&self, exchange: u64) {
        let mut waiting = self.lock();
        waiting.exchange = exchange;
        if waiting.written == 0 {
            waiting.bytes.clear();
            self.are_waiting.store(false, Relaxed);
        }
        // What has begun of the one before has to leave first.
        waiting.is_awaited = waiting.written == 0;
    }

    /// Takes one on its way, unless there is the answer already, or no room.
    pub(super) fn take(&self, exchange: u64, status: StatusCode, fields: &HeaderMap) {
        let mut waiting = self.lock();
        if !waiting.is_awaited || waiting.exchange != exchange {
            return;
        }
        let length = waiting.bytes.len();
        write_head(status, fields, &mut waiting.bytes);
        if waiting.bytes.len() > ROOM {
            waiting.bytes.truncate(length);
        }
        self.are_waiting.store(!waiting.bytes.is_empty(), Relaxed);
        drop(waiting);
        self.connection.wake();
    }

    /// The answer that was waited for goes to hyper. What waits goes out before it, unless the client has
    /// not taken an earlier answer yet, in the midst of which it can be told nothing.
    pub(super) fn answered(&self) {
        let mut waiting = self.lock();
        waiting.is_awaited = false;
        if self.is_amid_message.load(Relaxed) && waiting.written == 0 {
            waiting.bytes.clear();
            self.are_waiting.store(false, Relaxed);
        }
    }

    /// True while hyper may hold a part of what it began to write.
    pub(super) fn is_amid_message(&self) -> bool {
        self.is_amid_message.load(Relaxed)
    }

    /// Has the connection polled for what comes from now on.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.connection.register(context.waker());
    }

    /// Before hyper writes: ready once nothing has to be written before that.
    pub(super) fn poll_before_write<S: AsyncWrite>(
        &self,
        stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.are_waiting.load(Relaxed) {
            let mut waiting = self.lock();
            // What hyper writes before the answer is the rest of an earlier one.
            if !waiting.is_awaited || waiting.written > 0 {
                ready!(self.poll_write(&mut waiting, stream, context))?;
            }
        }
        self.is_amid_message.store(true, Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Before hyper flushes, which it does when it has written all it had: ready once
    /// all that waits is written.
    pub(super) fn poll_before_flush<S: AsyncWrite>(
        &self,
        stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_amid_message.store(false, Relaxed);
        if self.are_waiting.load(Relaxed) {
            ready!(self.poll_write(&mut self.lock(), stream, context))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<S: AsyncWrite>(
        &self,
        waiting: &mut Waiting,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while waiting.written < waiting.bytes.len() {
            match ready!(stream.as_mut().poll_write(context, &waiting.bytes[waiting.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => waiting.written += taken,
            }
        }
        (waiting.bytes, waiting.written) = (Vec::new(), 0);
        self.are_waiting.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_head(status: StatusCode, fields: &HeaderMap, into: &mut Vec<u8>) {
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        into.extend_from_slice(part.as_bytes());
    }
    section::write(fields, into);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::task::noop_waker;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    fn hints() -> HeaderMap {
        [(http::header::LINK, "</a>".parse().unwrap())].into_iter().collect()
    }

    /// The number of an exchange that waits for its answer.
    fn begun(interim: &InterimResponses) -> u64 {
        let exchange = interim.next();
        interim.begin(exchange);
        exchange
    }

    /// An exchange that waits for its answer, with hints on their way through so many bytes.
    fn told(bytes: usize) -> (InterimResponses, DuplexStream, DuplexStream) {
        let (near, far) = tokio::io::duplex(bytes);
        let interim = InterimResponses::default();
        let exchange = begun(&interim);
        interim.take(exchange, StatusCode::EARLY_HINTS, &hints());
        (interim, near, far)
    }

    /// What hyper does when it wrote `bytes` before it flushes.
    fn write(interim: &InterimResponses, stream: &mut DuplexStream, bytes: &[u8]) -> Poll<()> {
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        ready!(interim.poll_before_write(Pin::new(stream), &mut context)).unwrap();
        assert_eq!(ready!(pin!(stream).poll_write(&mut context, bytes)).unwrap(), bytes.len());
        Poll::Ready(())
    }

    fn flush(interim: &InterimResponses, stream: &mut DuplexStream) -> Poll<()> {
        let waker = noop_waker();
        interim.poll_before_flush(Pin::new(stream), &mut Context::from_waker(&waker)).map(|it| it.unwrap())
    }

    async fn received(near: DuplexStream, mut far: DuplexStream) -> Vec<u8> {
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn they_leave_with_the_next_flush() {
        let (interim, mut near, far) = told(1000);
        assert!(flush(&interim, &mut near).is_ready());
        interim.answered();
        assert!(write(&interim, &mut near, b"answer").is_ready());
        assert_eq!(received(near, far).await, [HINTS, b"answer"].concat());
    }

    #[tokio::test]
    async fn they_leave_before_the_answer() {
        let (interim, mut near, far) = told(1000);
        interim.answered();
        assert!(write(&interim, &mut near, b"answer").is_ready());
        assert_eq!(received(near, far).await, [HINTS, b"answer"].concat());
    }

    #[tokio::test]
    async fn what_comes_after_the_answer_is_dropped() {
        let (mut near, far) = tokio::io::duplex(1000);
        let interim = InterimResponses::default();
        let exchange = begun(&interim);
        interim.answered();
        interim.take(exchange, StatusCode::EARLY_HINTS, &hints());
        let next = begun(&interim);
        interim.take(exchange, StatusCode::EARLY_HINTS, &hints());
        assert_ne!(exchange, next);
        assert!(write(&interim, &mut near, b"answer").is_ready());
        assert!(flush(&interim, &mut near).is_ready());
        assert_eq!(received(near, far).await, b"answer");
    }

    #[tokio::test]
    async fn one_that_is_answered_at_once_is_told_nothing_and_takes_nothing_from_the_one_before() {
        let (interim, mut near, far) = told(1000);
        interim.answered();
        let at_once = interim.next();
        interim.take(at_once, StatusCode::EARLY_HINTS, &hints());
        assert!(write(&interim, &mut near, b"both answers").is_ready());
        assert!(flush(&interim, &mut near).is_ready());
        assert_eq!(received(near, far).await, [HINTS, b"both answers"].concat());
    }

    #[tokio::test]
    async fn nothing_gets_into_the_midst_of_an_earlier_answer() {
        let (mut near, far) = tokio::io::duplex(1000);
        let interim = InterimResponses::default();
        begun(&interim);
        interim.answered();
        assert!(write(&interim, &mut near, b"first ").is_ready());
        let second = begun(&interim);
        interim.take(second, StatusCode::EARLY_HINTS, &hints());
        assert!(write(&interim, &mut near, b"answer ").is_ready());
        interim.answered();
        assert!(write(&interim, &mut near, b"second answer").is_ready());
        assert!(flush(&interim, &mut near).is_ready());
        assert_eq!(received(near, far).await, b"first answer second answer");
    }

    #[tokio::test]
    async fn what_waits_for_one_exchange_is_not_told_in_the_next() {
        let (interim, mut near, far) = told(1000);
        interim.answered();
        begun(&interim);
        assert!(write(&interim, &mut near, b"first answer ").is_ready());
        assert!(flush(&interim, &mut near).is_ready());
        assert_eq!(received(near, far).await, b"first answer ");
        // One that is half written leaves first, and the next exchange has none.
        let (interim, mut near, far) = told(10);
        assert!(flush(&interim, &mut near).is_pending());
        interim.answered();
        let second = begun(&interim);
        interim.take(second, StatusCode::EARLY_HINTS, &hints());
        assert_eq!(interim.lock().bytes, HINTS);
        drop(far);
    }

    #[tokio::test]
    async fn one_that_has_begun_is_written_to_its_end() {
        let (interim, mut near, mut far) = told(10);
        assert!(flush(&interim, &mut near).is_pending());
        interim.answered();
        let mut all = Vec::new();
        while write(&interim, &mut near, b"answer").is_pending() {
            let mut part = [0; 10];
            let length = far.read(&mut part).await.unwrap();
            all.extend_from_slice(&part[..length]);
        }
        all.extend(received(near, far).await);
        assert_eq!(all, [HINTS, b"answer"].concat());
    }

    #[test]
    fn a_client_that_takes_none_holds_no_more_than_there_is_room_for() {
        let interim = InterimResponses::default();
        let exchange = begun(&interim);
        for _ in 0..10_000 {
            interim.take(exchange, StatusCode::EARLY_HINTS, &hints());
        }
        let waiting = interim.lock();
        assert!(waiting.bytes.len() <= ROOM && waiting.bytes.len() > ROOM - HINTS.len());
        assert_eq!(waiting.bytes.len() % HINTS.len(), 0, "only whole ones");
    }
}
