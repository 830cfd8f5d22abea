//! Brings the content of a fill from the origin server to its readers and, if
//! all of it came, to the store. It is a task of the cache's own: no client's
//! leaving stops what can be stored.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::Cache;
use super::collapse::FillGuard;
use super::store::{Alone, Generation, StoredBody, StoredResponse};
use super::stream::{Pace, Stream};
use crate::exchange::Body;
use crate::policy::{CacheKey, StoredHead};
use crate::telemetry::metrics::Limit;

/// Bytes that are copied before other tasks have their turn.
const COPIED_AT_ONCE: usize = 1 << 20;

/// The second half of a fill.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) cache: Arc<Cache>,
    pub(super) key: CacheKey,
    /// When it began, as long as it is to be stored.
    pub(super) since: Option<Generation>,
    pub(super) head: Arc<StoredHead>,
    pub(super) received: Instant,
    pub(super) alone: Alone,
    pub(super) guard: Option<FillGuard>,
    pub(super) stream: Arc<Stream>,
    pub(super) max_object: u64,
}

/// How the content ended.
enum End {
    /// All of it came; these last bytes were not given out yet.
    Whole(Bytes),
    /// It broke off.
    Cut(String),
    /// Nobody wants it any more.
    Abandoned,
}

impl Pump {
    /// Runs until the content has ended.
    pub(super) async fn run(mut self, body: Body) {
        match self.bring(body).await {
            End::Whole(last) => self.complete(last).await,
            End::Cut(reason) => self.cut(&reason),
            End::Abandoned => {}
        }
    }

    async fn bring(&mut self, mut body: Body) -> End {
        // The byte that makes a declared length full is held back until the end
        // is certain: a client that has all of it finds it stored.
        let mut last = Bytes::new();
        loop {
            match self.stream.pace() {
                Pace::Go => {}
                Pace::Wait => {
                    self.stream.moved().await;
                    continue;
                }
                Pace::Stop => return End::Abandoned,
            }
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = self.stream.moved() => continue,
            };
            let bytes = match frame.map(|frame| frame.map(Frame::into_data)) {
                None => return self.ended(last),
                Some(Err(error)) => return End::Cut(error.to_string()),
                Some(Ok(Err(_trailers))) => continue,
                Some(Ok(Ok(bytes))) => bytes,
            };
            let total = self.stream.written() + (last.len() + bytes.len()) as u64;
            match self.stream.length() {
                _ if bytes.is_empty() => {}
                Some(length) if total > length => return End::Cut("it is longer than declared".to_owned()),
                Some(length) if total == length => last = bytes,
                _ => self.add(bytes).await,
            }
        }
    }

    fn ended(&self, last: Bytes) -> End {
        let total = self.stream.written() + last.len() as u64;
        match self.stream.length() {
            Some(length) if total < length => End::Cut("it is shorter than declared".to_owned()),
            _ => End::Whole(last),
        }
    }

    async fn add(&mut self, bytes: Bytes) {
        let was_kept = self.stream.is_kept();
        let within_budget = self.stream.append(bytes);
        if was_kept && (!within_budget || self.stream.written() > self.max_object) {
            self.stream.outgrow();
            if within_budget {
                self.cache.metrics.limit(Limit::MaxObject);
            }
            // Nobody else is to wait for it, no purge for its end; and it ends the fill, not
            // the exchange.
            self.guard = None;
            self.since = None;
            self.cache.store.mark(&self.key, self.cache.alone(false)).await;
        }
    }

    async fn complete(&self, last: Bytes) {
        let (Some(chunks), Some(since)) = (self.stream.chunks(), &self.since) else {
            self.stream.append(last);
            self.stream.finish_window();
            return;
        };
        let body = joined(&chunks, &last).await;
        let (head, received) = (StoredHead::clone(&self.head), self.received);
        let stored = Arc::new(StoredResponse::new(head, StoredBody::Memory(body.clone()), received, since));
        let stored = self.cache.put_together(&self.key, stored, self.max_object).await;
        if self.cache.store.keep(&self.key, &stored, since, self.alone).await {
            self.cache.metrics.fills_stored.increment();
        }
        self.stream.finish(body);
    }

    fn cut(&self, reason: &str) {
        if self.stream.cut(reason) {
            self.cache.metrics.fills_failed.increment();
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // Whatever happened to the task, no reader waits for more.
        self.cut("it was given up");
    }
}

/// The same bytes in one buffer of exactly their size, copied in steps that
/// hold up no other task of this core for long.
pub(super) async fn joined(chunks: &[Bytes], last: &[u8]) -> Bytes {
    let length = chunks.iter().map(Bytes::len).sum::<usize>() + last.len();
    let mut whole = Vec::with_capacity(length);
    let mut since_yield = 0;
    for chunk in chunks.iter().map(|chunk| &chunk[..]).chain([last]) {
        whole.extend_from_slice(chunk);
        since_yield += chunk.len();
        if since_yield > COPIED_AT_ONCE {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
    }
    Bytes::from(whole)
}
