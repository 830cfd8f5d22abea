//! The content of a running fill: one writer, and readers that each take it at
//! their own pace, from the first byte on.
//!
//! While it is kept, all of it stays in memory, so that a slow reader holds up
//! nobody. Once it has outgrown what may be stored only a window stays: the
//! reader that leads sets the writer's pace, and who falls out of the window
//! behind it has to fetch the rest by itself, or is cut off.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::budget::{Budget, Share};
use super::sync::{Mutex, MutexGuard, Notify};

/// How far a stream that is not kept may be ahead of the reader that leads:
/// what each slow client of such a response costs.
pub(super) const AHEAD: u64 = 128 << 10;

/// How far another reader may be behind the one that leads.
pub(super) const BEHIND: u64 = 1 << 20;

/// What a chunk costs besides its bytes: keeps a stream of tiny chunks within
/// the budget.
const CHUNK_OVERHEAD: u64 = 64;

/// Content on its way from an origin server to readers and, if all goes well,
/// to the store.
#[derive(Debug)]
pub(super) struct Stream {
    state: Mutex<State>,
    /// A reader moved or left: the writer may have to go on, or to stop.
    moved: Notify,
    /// The length that was declared at the head.
    length: Option<u64>,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Chunk>,
    end: u64,
    share: Share,
    kept: bool,
    ending: Option<Ending>,
    /// The one that came first is the first.
    readers: Vec<Option<Place>>,
    /// Places that others can have.
    left: Vec<usize>,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn cost(&self) -> u64 {
        self.bytes.len() as u64 + CHUNK_OVERHEAD
    }
}

#[derive(Debug)]
struct Place {
    at: u64,
    can_resume: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Debug)]
enum Ending {
    Whole,
    Cut(Arc<str>),
}

/// What the writer is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Bring more.
    Go,
    /// Wait until a reader has moved.
    Wait,
    /// Stop: nobody reads, and it will not be stored.
    Stop,
}

/// What a reader finds at its place.
#[derive(Debug)]
pub(super) enum Found {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing follows.
    End,
    /// It ended before its end.
    Cut(Arc<str>),
    /// The bytes at this place are gone.
    FellOut,
}

impl Stream {
    /// A stream that nothing has been written to.
    pub(super) fn new(length: Option<u64>, budget: &Arc<Budget>) -> Arc<Self> {
        let state = State {
            chunks: VecDeque::new(),
            end: 0,
            share: budget.share(),
            kept: true,
            ending: None,
            readers: Vec::new(),
            left: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), moved: Notify::new(), length })
    }

    /// The length that was declared, where one was.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Adds `bytes`; false if this takes the running fills over their budget:
    /// then the stream is no longer kept.
    pub(super) fn append(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        let chunk = Chunk { start: state.end, bytes };
        let within = !state.kept || state.share.grow(chunk.cost());
        state.push(chunk);
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if !within {
            self.outgrow();
        }
        within
    }

    /// How many bytes were added.
    pub(super) fn written(&self) -> u64 {
        self.state().end
    }

    /// From now on only a window is kept.
    pub(super) fn outgrow(&self) {
        let mut state = self.state();
        state.kept = false;
        state.trim();
    }

    /// True while all of it is kept.
    pub(super) fn is_kept(&self) -> bool {
        self.state().kept
    }

    /// Everything that was added; `None` if only a window was kept.
    pub(super) fn chunks(&self) -> Option<Vec<Bytes>> {
        let state = self.state();
        state.kept.then(|| state.chunks.iter().map(|chunk| chunk.bytes.clone()).collect())
    }

    /// Ends it well; readers go on in `whole`, the same bytes in one piece.
    pub(super) fn finish(&self, whole: Bytes) {
        self.state().share.release();
        self.finish_held(whole);
    }

    /// The same, and it stays within the budget: nobody else keeps it yet.
    pub(super) fn finish_held(&self, whole: Bytes) {
        let mut state = self.state();
        state.end = whole.len() as u64;
        state.chunks.clear();
        state.chunks.push_back(Chunk { start: 0, bytes: whole });
        Self::end(state, Ending::Whole);
    }

    /// Drops all that was added: who has not read it finds it elsewhere.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.chunks.clear();
        state.share.release();
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// True if somebody has a seat.
    pub(super) fn has_readers(&self) -> bool {
        self.state().readers.iter().any(Option::is_some)
    }

    /// Ends a stream well of which only a window was kept.
    pub(super) fn finish_window(&self) {
        Self::end(self.state(), Ending::Whole);
    }

    /// Ends it before its end; false if it had ended already.
    pub(super) fn cut(&self, reason: &str) -> bool {
        Self::end(self.state(), Ending::Cut(Arc::from(reason)))
    }

    fn end(mut state: MutexGuard<'_, State>, ending: Ending) -> bool {
        let first = state.ending.is_none();
        state.ending.get_or_insert(ending);
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        first
    }

    /// What the writer is to do next.
    pub(super) fn pace(&self) -> Pace {
        let state = self.state();
        if state.kept {
            return Pace::Go;
        }
        match state.lead() {
            None => Pace::Stop,
            Some(lead) if state.end.saturating_sub(lead) >= AHEAD => Pace::Wait,
            Some(_) => Pace::Go,
        }
    }

    /// Resolves when a reader has moved or left. Cancel safe.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// A seat at the first byte, which may be gone already, for a reader that `can_resume`
    /// or cannot do without what comes here.
    pub(super) fn enter(self: &Arc<Self>, can_resume: bool) -> Seat {
        let mut state = self.state();
        let place = Some(Place { at: 0, can_resume, waker: None });
        let reader = match state.left.pop() {
            Some(reader) => {
                state.readers[reader] = place;
                reader
            }
            None => {
                state.readers.push(place);
                state.readers.len() - 1
            }
        };
        drop(state);
        Seat { stream: Arc::clone(self), reader }
    }

    fn take(&self, reader: usize, until: u64, context: &mut Context<'_>) -> Poll<Found> {
        let mut state = self.state();
        let Some(at) = state.place(reader).map(|place| place.at) else { return Poll::Ready(Found::FellOut) };
        if at >= until {
            return Poll::Ready(Found::End);
        }
        if at < state.first() {
            return Poll::Ready(Found::FellOut);
        }
        if let Some(bytes) = state.at(at, until) {
            let windowed = !state.kept;
            state.move_to(reader, at + bytes.len() as u64);
            drop(state);
            if windowed {
                self.moved.notify_one();
            }
            return Poll::Ready(Found::Bytes(bytes));
        }
        match &state.ending {
            Some(Ending::Whole) => Poll::Ready(Found::End),
            Some(Ending::Cut(reason)) => Poll::Ready(Found::Cut(Arc::clone(reason))),
            None => {
                if let Some(place) = state.place(reader) {
                    place.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn leave(&self, reader: usize) {
        let mut state = self.state();
        if state.readers[reader].take().is_some() && reader > 0 {
            state.left.push(reader);
        }
        state.trim();
        drop(state);
        self.moved.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place in a stream; dropping it is the reader's leaving.
#[derive(Debug)]
pub(super) struct Seat {
    stream: Arc<Stream>,
    reader: usize,
}

impl Seat {
    /// The stream it is in.
    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Moves without reading, for a reader that cannot resume what it reads from there.
    pub(super) fn skip(&self, to: u64) {
        let mut state = self.stream.state();
        if let Some(place) = state.place(self.reader) {
            place.can_resume = false;
        }
        state.move_to(self.reader, to);
        drop(state);
        // It may lead now, and wait for what the writer does not know to bring.
        self.stream.moved.notify_one();
    }

    /// Takes what is found next, at most up to the offset `until`.
    pub(super) fn take(&self, until: u64, context: &mut Context<'_>) -> Poll<Found> {
        self.stream.take(self.reader, until, context)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stream.leave(self.reader);
    }
}

impl State {
    fn push(&mut self, chunk: Chunk) {
        self.end = chunk.end();
        self.chunks.push_back(chunk);
        self.trim();
    }

    /// The offset of the first byte that is still there.
    fn first(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    /// The bytes from `at` to the end of their chunk, or to `until`.
    fn at(&self, at: u64, until: u64) -> Option<Bytes> {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= at);
        let chunk = self.chunks.get(index)?;
        let offset = |position: u64| usize::try_from(position - chunk.start).unwrap_or(usize::MAX);
        Some(chunk.bytes.slice(offset(at)..offset(until.min(chunk.end()))))
    }

    fn place(&mut self, reader: usize) -> Option<&mut Place> {
        self.readers.get_mut(reader)?.as_mut()
    }

    fn move_to(&mut self, reader: usize, to: u64) {
        if let Some(place) = self.place(reader) {
            place.at = to;
            self.trim();
        }
    }

    /// Where the reader is that sets the pace: the first that came if it cannot resume,
    /// or else the one that is furthest, which no other holds up.
    fn lead(&self) -> Option<u64> {
        let first = self.readers.first().and_then(Option::as_ref);
        let furthest = || self.readers.iter().flatten().max_by_key(|place| place.at);
        first.filter(|place| !place.can_resume).or_else(furthest).map(|place| place.at)
    }

    /// Drops what nobody needs and what is behind the window.
    fn trim(&mut self) {
        if self.kept {
            return;
        }
        let behind = self.lead().unwrap_or(self.end).saturating_sub(BEHIND);
        let needed = self.readers.iter().flatten().map(|place| place.at).min().unwrap_or(self.end);
        let keep = behind.max(needed);
        while let Some(gone) = self.chunks.pop_front_if(|chunk| chunk.end() <= keep) {
            self.share.shrink(gone.cost());
        }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.readers.iter_mut().flatten().filter_map(|place| place.waker.take()).collect()
    }
}
