//! The content of a large record on its way to a client: a block at a time, as
//! the client takes it. A block that is in the page cache is read at once; any
//! other one by a thread that may wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::directory::Access;
use super::file::{FileBody, ReadError};
use super::record::{BLOCK, Blocks};
use super::{READ_WAIT, would_block};
use crate::exchange::BodyError;

/// Reads a part of a record's content.
pub(in crate::cache) struct FileReader {
    body: FileBody,
    at: u64,
    until: u64,
    waiting: Option<BoxFuture<'static, Result<Bytes, BodyError>>>,
}

impl FileBody {
    /// Reads all of it.
    pub(in crate::cache) fn read(self) -> FileReader {
        let until = self.length();
        FileReader { body: self, at: 0, until, waiting: None }
    }

    /// Reads the bytes from `first` to `last`, both included.
    pub(in crate::cache) fn read_part(self, first: u64, last: u64) -> FileReader {
        let until = last.saturating_add(1).min(self.length());
        FileReader { body: self, at: first.min(until), until, waiting: None }
    }

    async fn wait_for_block(self, block: usize) -> Result<Bytes, BodyError> {
        let record = std::sync::Arc::clone(&self.record);
        let read = self.disk.wait(READ_WAIT, move |_| record.block(block, Access::Waiting)).await;
        match read {
            Some(read) => read.map_err(|error| self.cut(&error)),
            None => Err(BodyError::TimedOut { waited: READ_WAIT }),
        }
    }

    fn cut(&self, error: &ReadError) -> BodyError {
        self.disk.unreadable(self.record.id, error);
        BodyError::Shared(error.to_string())
    }
}

impl FileReader {
    fn part(&mut self, block: &Bytes) -> Frame<Bytes> {
        let start = usize::try_from(self.at % BLOCK as u64).unwrap_or_default();
        let left = usize::try_from(self.until - self.at).unwrap_or(usize::MAX);
        let end = start.saturating_add(left).min(block.len());
        self.at += (end - start) as u64;
        Frame::data(block.slice(start..end))
    }
}

impl HttpBody for FileReader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let reader = self.get_mut();
        if reader.at >= reader.until {
            return Poll::Ready(None);
        }
        let read = match &mut reader.waiting {
            Some(waiting) => ready!(waiting.poll_unpin(context)),
            None => {
                let block = Blocks::at(reader.at);
                match reader.body.record.block(block, Access::Cached) {
                    Err(error) if would_block(&error) => {
                        let waiting =
                            reader.waiting.insert(reader.body.clone().wait_for_block(block).boxed());
                        ready!(waiting.poll_unpin(context))
                    }
                    read => read.map_err(|error| reader.body.cut(&error)),
                }
            }
        };
        reader.waiting = None;
        if read.is_err() {
            reader.until = reader.at;
        }
        Poll::Ready(Some(read.map(|block| reader.part(&block))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.until
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.until - self.at)
    }
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("at", &self.at).field("until", &self.until).finish_non_exhaustive()
    }
}
