//! The interim responses (RFC 9110 s15.2) on their way to the client of one stream,
//! which is told of them when the stream is next polled.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::server::SendResponse;
use http::{HeaderMap, Response, StatusCode};

use crate::exchange::InterimClient;
use crate::fields::section;

/// The most that one stream is told, in bytes as HTTP/2 counts them (RFC 9113 s6.5.2),
/// whether its client has taken it or not; what comes beyond it is dropped.
const ROOM: usize = 32 << 10;

/// The interim responses of one stream.
#[derive(Debug, Default)]
pub(super) struct InterimResponses {
    /// Looked at before each answer, so that nothing is locked where none are.
    are_waiting: AtomicBool,
    waiting: Mutex<Waiting>,
    stream: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    is_over: bool,
    /// Bytes of all so far.
    taken: usize,
    heads: Vec<Response<()>>,
}

impl InterimResponses {
    /// Has the stream polled for what comes from now on.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.stream.register(context.waker());
    }

    /// True if there is something to send.
    pub(super) fn are_waiting(&self) -> bool {
        self.are_waiting.load(Relaxed)
    }

    /// Sends what waits, on a stream that was not reset.
    pub(super) fn send(&self, respond: &mut SendResponse<Bytes>) {
        if !self.are_waiting.swap(false, Relaxed) {
            return;
        }
        let heads = std::mem::take(&mut self.lock().heads);
        for head in heads {
            if let Err(error) = respond.send_informational(head) {
                tracing::debug!(error = &error as &dyn std::error::Error, "no interim response was sent");
            }
        }
    }

    /// Takes no more: the answer is there, or nobody waits for it.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.is_over = true;
        waiting.heads = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterimClient for InterimResponses {
    fn tell(&self, _: u64, status: StatusCode, fields: &HeaderMap) {
        // The status is a line as well.
        let size = section::size(fields) + 64;
        let mut waiting = self.lock();
        if waiting.is_over || waiting.taken + size > ROOM {
            return;
        }
        waiting.taken += size;
        let mut head = Response::new(());
        (*head.status_mut(), *head.headers_mut()) = (status, fields.clone());
        waiting.heads.push(head);
        self.are_waiting.store(true, Relaxed);
        drop(waiting);
        self.stream.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints() -> HeaderMap {
        [(http::header::LINK, "</a>".parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn no_more_is_told_than_there_is_room_for() {
        let interim = InterimResponses::default();
        for _ in 0..10_000 {
            interim.tell(0, StatusCode::EARLY_HINTS, &hints());
            // What was sent, and may be waiting for the client, counts as well.
            if interim.lock().heads.len() == 10 {
                interim.lock().heads.clear();
            }
        }
        let waiting = interim.lock();
        assert!(waiting.taken <= ROOM && waiting.taken > ROOM - 200, "{}", waiting.taken);
        assert!(waiting.heads.len() < 10);
    }

    #[test]
    fn what_comes_after_the_answer_is_dropped() {
        let interim = InterimResponses::default();
        interim.end();
        interim.tell(0, StatusCode::EARLY_HINTS, &hints());
        assert!(interim.lock().heads.is_empty());
    }
}
