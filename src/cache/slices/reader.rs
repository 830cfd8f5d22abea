//! The content of a response in slices on its way to a client, one slice after
//! the other. Dropping it is the client's leaving.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Audience, Place, Slice, SliceError, Slices};
use crate::cache::collapse::FillWatch;
use crate::cache::store::FileReader;
use crate::cache::stream::Found;
use crate::exchange::BodyError;

/// So often a slice is opened at most: it may be found damaged, and the fill
/// that brings it instead may break off.
const MOST_TRIES: usize = 4;

/// Reads some or all of a response in slices.
pub(in crate::cache) struct SliceReader {
    slices: Arc<Slices>,
    at: u64,
    until: u64,
    state: State,
    /// How often the slice at hand was opened.
    tries: usize,
    /// True if what the disk has of it can be used.
    may_be_stored: bool,
    /// Fills that did not bring all of it.
    refused: Vec<Arc<FillWatch>>,
    /// Held, so that fills know of the reader.
    audience: Option<Arc<Audience>>,
}

/// What a reader is doing.
enum State {
    /// The slice is to be opened.
    Before,
    /// It is being opened.
    Opening(BoxFuture<'static, Result<Slice, SliceError>>),
    /// In a slice on the disk.
    Stored(FileReader),
    /// In one that comes.
    Coming(Place),
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl SliceReader {
    /// A reader of all of it, who is counted in `audience`.
    pub(in crate::cache) fn new(slices: &Arc<Slices>, audience: Option<Arc<Audience>>) -> Self {
        Self {
            slices: Arc::clone(slices),
            at: 0,
            until: slices.layout.length,
            state: State::Before,
            tries: 0,
            may_be_stored: true,
            refused: Vec::new(),
            audience,
        }
    }

    /// Another reader of all of it, in the same audience.
    pub(in crate::cache) fn again(&self) -> Self {
        Self::new(&self.slices, self.audience.clone())
    }

    /// One that has a seat in the first slice already.
    pub(in crate::cache) fn seated(mut self, place: Place) -> Self {
        self.state = State::Coming(place);
        self
    }

    /// The length of all of it.
    pub(in crate::cache) fn complete_length(&self) -> u64 {
        self.slices.layout.length
    }

    /// How much is left to read.
    fn left(&self) -> u64 {
        self.until - self.at
    }

    /// Only the bytes from `first` to `last`, both included.
    pub(in crate::cache) fn part(mut self, first: u64, last: u64) -> Self {
        if self.at != first {
            self.state = State::Before;
        }
        self.until = last.saturating_add(1).min(self.slices.layout.length);
        self.at = first.min(self.until);
        self
    }

    /// Opens the first slice it needs; says whether that is on the disk.
    pub(super) async fn begin(&mut self) -> Result<bool, SliceError> {
        let slice = self.open().await?;
        let is_stored = matches!(slice, Slice::Stored(_));
        self.enter(slice);
        Ok(is_stored)
    }

    fn open(&mut self) -> BoxFuture<'static, Result<Slice, SliceError>> {
        self.tries += 1;
        let (slices, refused) = (Arc::clone(&self.slices), self.refused.clone());
        slices.open(self.slices.layout.at(self.at), self.may_be_stored, refused).boxed()
    }

    fn enter(&mut self, slice: Slice) {
        let start = self.start();
        let (from, to) = (self.at - start, self.end() - start);
        self.state = match slice {
            Slice::Stored(body) => State::Stored(body.read_part(from, to - 1)),
            Slice::Coming(place) => {
                place.0.skip(from);
                State::Coming(place)
            }
        };
    }

    /// Where the slice at hand begins.
    fn start(&self) -> u64 {
        self.slices.part(self.slices.layout.at(self.at)).start
    }

    /// Where the reading of the slice at hand ends.
    fn end(&self) -> u64 {
        self.slices.part(self.slices.layout.at(self.at)).end.min(self.until)
    }

    fn pass(&mut self, bytes: Bytes) -> Polled {
        let end = self.end();
        self.at += bytes.len() as u64;
        if self.at >= end {
            self.state = State::Before;
            self.tries = 0;
            self.may_be_stored = true;
            self.refused.clear();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn fail(&mut self, reason: &dyn fmt::Display) -> Polled {
        self.until = self.at;
        Poll::Ready(Some(Err(BodyError::Shared(reason.to_string()))))
    }
}

impl HttpBody for SliceReader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let reader = self.get_mut();
        while reader.at < reader.until {
            let (start, end) = (reader.start(), reader.end());
            match &mut reader.state {
                State::Before if reader.tries >= MOST_TRIES => return reader.fail(&SliceError::GivenUp),
                State::Before => reader.state = State::Opening(reader.open()),
                State::Opening(opening) => match ready!(opening.poll_unpin(context)) {
                    Ok(slice) => reader.enter(slice),
                    Err(error) => return reader.fail(&error),
                },
                State::Stored(stored) => match ready!(Pin::new(stored).poll_frame(context)) {
                    Some(Ok(frame)) => return reader.pass(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) | None => {
                        reader.may_be_stored = false;
                        reader.state = State::Before;
                    }
                },
                State::Coming((seat, fill)) => match ready!(seat.take(end - start, context)) {
                    Found::Bytes(bytes) => return reader.pass(bytes),
                    Found::End | Found::Cut(_) | Found::FellOut => {
                        reader.refused.extend(fill.take());
                        reader.state = State::Before;
                    }
                },
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.until
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl fmt::Debug for SliceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceReader")
            .field("at", &self.at)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
