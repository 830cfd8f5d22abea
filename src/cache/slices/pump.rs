//! Brings the content of a large response from the origin server, a slice at a
//! time: to its readers as it comes, and to the disk when a slice is whole. No
//! more than one slice is in memory.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::{Audience, Place, Slices};
use crate::cache::collapse::{FillGuard, Opened, OpenedContent, Outcome};
use crate::cache::pump::joined;
use crate::cache::store::Generation;
use crate::cache::stream::{Pace, Stream};
use crate::exchange::Body;
use crate::policy::CacheKey;

/// A content that comes, and how far it has come.
#[derive(Debug)]
pub(in crate::cache) struct Source {
    body: Body,
    at: u64,
    end: u64,
    /// What came and was not taken yet.
    rest: Bytes,
}

impl Source {
    /// A body that has these bytes of the whole.
    pub(in crate::cache) fn new(body: Body, part: Range<u64>) -> Self {
        Self { body, at: part.start, end: part.end, rest: Bytes::new() }
    }

    /// The next bytes, up to the offset `until` at most, which is ahead; fails
    /// where there are fewer or more in all than declared. Cancel safe.
    async fn next(&mut self, until: u64) -> Result<Bytes, String> {
        while self.rest.is_empty() {
            self.rest = self.frame().await?.ok_or("it is shorter than declared")?;
            if self.rest.len() as u64 > self.end - self.at {
                return Err("it is longer than declared".to_owned());
            }
        }
        let most = usize::try_from(until - self.at).unwrap_or(usize::MAX);
        let next = self.rest.split_to(most.min(self.rest.len()));
        self.at += next.len() as u64;
        Ok(next)
    }

    /// Makes sure that nothing follows.
    async fn finish(&mut self) -> Result<(), String> {
        while let Some(more) = self.frame().await? {
            if !more.is_empty() {
                return Err("it is longer than declared".to_owned());
            }
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, String> {
        match self.body.frame().await {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some(Frame::into_data(frame).unwrap_or_default())),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

/// A slice on its way. Dropped before it is whole, it is cut: whoever still
/// reads it gets it elsewhere.
#[derive(Debug)]
pub(in crate::cache) struct Coming {
    number: u64,
    key: CacheKey,
    since: Generation,
    stream: Arc<Stream>,
    /// Others can join it.
    guard: Option<FillGuard>,
}

/// Why a slice was not brought to its end.
enum End {
    /// It broke off.
    Cut(String),
    /// Nobody wants it any more.
    Abandoned,
}

impl Coming {
    /// A slice of which nothing has come.
    pub(super) fn new(
        slices: &Slices,
        number: u64,
        key: CacheKey,
        since: Generation,
        guard: Option<FillGuard>,
    ) -> Self {
        let part = slices.part(number);
        let stream = Stream::new(Some(part.end - part.start), &slices.cache.budget);
        Self { number, key, since, stream, guard }
    }

    /// A place for somebody who reads it.
    pub(in crate::cache) fn enter(&self) -> Place {
        (self.stream.enter(false), self.guard.as_ref().map(FillGuard::watch))
    }

    /// Lets others read it.
    fn open(&self, slices: &Slices) {
        if let Some(guard) = &self.guard {
            guard.tell(Outcome::Opened(Opened {
                head: Arc::new(slices.head.clone()),
                content: OpenedContent::Running(Arc::clone(&self.stream)),
                fwd_status: slices.head.status,
                since: self.since.clone(),
            }));
        }
    }

    /// True if somebody reads it or waits for it.
    fn is_wanted(&self) -> bool {
        self.stream.has_readers() || self.guard.as_ref().is_some_and(FillGuard::is_awaited)
    }

    async fn bring(&self, source: &mut Source, part: &Range<u64>) -> Result<Bytes, End> {
        while source.at < part.start {
            if !self.stream.has_readers() {
                return Err(End::Abandoned);
            }
            source.next(part.start).await.map_err(End::Cut)?;
        }
        while source.at < part.end {
            match self.stream.pace() {
                Pace::Go => {}
                Pace::Wait => {
                    self.stream.moved().await;
                    continue;
                }
                Pace::Stop => return Err(End::Abandoned),
            }
            let bytes = tokio::select! {
                biased;
                bytes = source.next(part.end) => bytes.map_err(End::Cut)?,
                () = self.stream.moved() => continue,
            };
            if source.at == source.end {
                // Held back until the end is certain.
                source.finish().await.map_err(End::Cut)?;
                return Ok(bytes);
            }
            self.stream.append(bytes);
        }
        Ok(Bytes::new())
    }

    /// Has it stored, if all of it was kept; says whether it is.
    async fn complete(&self, slices: &Slices, last: Bytes) -> bool {
        let Some(chunks) = self.stream.chunks() else {
            self.stream.append(last);
            self.stream.finish_window();
            return false;
        };
        let whole = joined(&chunks, &last).await;
        drop(chunks);
        self.stream.finish_held(whole.clone());
        let kept = slices.cache.store.keep_slice(&self.key, whole, &self.since).await;
        if kept {
            slices.cache.metrics.fills_stored.increment();
            self.stream.clear();
        }
        kept
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.stream.cut("it was given up");
    }
}

/// The fetching of one slice or of several in a row.
#[derive(Debug)]
pub(in crate::cache) struct SlicePump {
    pub(in crate::cache) slices: Arc<Slices>,
    /// The first slice that is wanted.
    pub(in crate::cache) first: Coming,
    /// The fill of the whole response: others join it as long as it runs.
    pub(in crate::cache) whole: Option<FillGuard>,
    /// While somebody is in it, it goes on to the end; else only as far as a
    /// slice is read.
    pub(in crate::cache) audience: Weak<Audience>,
}

impl SlicePump {
    /// Runs until `source` has ended or nobody wants more of it.
    pub(in crate::cache) async fn run(self, mut source: Source) {
        let Self { slices, first, whole: _joinable, audience } = self;
        let mut number = first.number;
        let mut coming = Some(first);
        loop {
            let part = slices.part(number);
            let last = match bring(&slices, coming.as_ref(), &mut source, &part).await {
                Ok(last) => last,
                Err(End::Cut(reason)) => {
                    slices.cache.metrics.fills_failed.increment();
                    if let Some(coming) = coming {
                        coming.stream.cut(&reason);
                    }
                    return;
                }
                Err(_) => return,
            };
            number += 1;
            let has_next = part.end < source.end;
            // Before this one ends: who reads on waits for this fill.
            let next = if has_next { slices.take_lead(number) } else { None };
            let (kept, is_read) = match coming {
                Some(coming) => (coming.complete(&slices, last).await, coming.is_wanted()),
                None => (true, false),
            };
            let is_read = is_read || next.as_ref().is_some_and(Coming::is_wanted);
            if !has_next || !(is_read || kept && audience.strong_count() > 0) {
                return;
            }
            coming = next;
        }
    }
}

/// Brings a slice, or passes over one that somebody else brought.
async fn bring(
    slices: &Slices,
    coming: Option<&Coming>,
    source: &mut Source,
    part: &Range<u64>,
) -> Result<Bytes, End> {
    match coming {
        Some(coming) => {
            coming.open(slices);
            coming.bring(source, part).await
        }
        None => {
            while source.at < part.end {
                source.next(part.end).await.map_err(End::Cut)?;
            }
            Ok(Bytes::new())
        }
    }
}
