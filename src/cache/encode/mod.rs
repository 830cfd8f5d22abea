//! Stored responses in content codings that are made here: when one is made,
//! by whom, and where it is kept. Which representation a client gets is decided
//! by `policy`.
//!
//! A coding is made when it is first asked for, once for each stored response,
//! and kept beside the content it was made of: what removes the one removes the
//! other. Who asks first waits for it if the content is short, and gets the
//! identity otherwise; so does everybody else until it is there. What is still
//! coming from an origin server goes out as it comes, unless it is short and
//! there at once (`first`).

mod coder;
mod first;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::sync::Semaphore;

use super::Cache;
use super::deliver::Content;
use super::store::{StoredBody, StoredResponse};
use crate::base::allocated;
use crate::fields::coding::Coding;
use crate::policy::{self, CacheKey, CacheRules, Representation, RequestHead};

#[cfg(test)]
pub(in crate::cache) use coder::tests::decode;

/// Longer contents are not encoded.
const LONGEST: usize = 32 << 20;

/// True for a content that is encoded when it is stored and asked for: in one
/// piece, in memory, and not too long.
pub(super) fn is_encodable(content: &Content) -> bool {
    let is_in_memory = !matches!(content, Content::File(_) | Content::Sliced(_));
    is_in_memory && content.length().is_none_or(|length| length <= LONGEST as u64)
}

/// For the coding of a longer content nobody waits.
const WAITED_FOR: usize = 1 << 20;

/// Nobody waits longer.
const WAIT: Duration = Duration::from_secs(1);

/// Contents in a coding, made of one stored content.
#[derive(Clone, Debug, Default)]
pub(super) struct Encoded([Option<Made>; Coding::ALL.len()]);

/// What came of encoding a content.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// The content in that coding.
    Shorter(Bytes),
    /// It would not be shorter.
    NotShorter,
}

impl Encoded {
    /// What was made in this coding.
    pub(super) fn get(&self, coding: Coding) -> Option<&Made> {
        self.0.get(coding as usize)?.as_ref()
    }

    /// The same with what was made.
    pub(super) fn with(&self, coding: Coding, made: Made) -> Self {
        let mut all = self.clone();
        if let Some(place) = all.0.get_mut(coding as usize) {
            *place = Some(made);
        }
        all
    }

    /// Bytes of memory it takes.
    pub(super) fn weight(&self) -> u64 {
        let bytes = self.0.iter().flatten().map(|made| match made {
            Made::Shorter(bytes) => allocated(bytes.len()),
            Made::NotShorter => 0,
        });
        size_of::<Self>() as u64 + bytes.sum::<u64>()
    }
}

/// What is being encoded.
#[derive(Debug)]
pub(super) struct Encoders {
    /// By the address of the content, which is held as long as it is encoded.
    running: Mutex<HashSet<(usize, Coding)>>,
    threads: Arc<Semaphore>,
}

impl Encoders {
    /// None yet; at most half of the machine's cores will encode at a time.
    pub(super) fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self { running: Mutex::default(), threads: Arc::new(Semaphore::new((cores / 2).max(1))) })
    }

    /// Begins, unless somebody has begun or too much is being encoded.
    fn begin(self: &Arc<Self>, content: &Bytes, coding: Coding) -> Option<Turn> {
        let thread = Arc::clone(&self.threads).try_acquire_owned().ok()?;
        let what = (content.as_ptr() as usize, coding);
        let is_first = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
        is_first.then(|| Turn { encoders: Arc::clone(self), what, _thread: thread })
    }
}

/// The right to encode one content.
#[derive(Debug)]
struct Turn {
    encoders: Arc<Encoders>,
    what: (usize, Coding),
    _thread: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.encoders.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

impl Cache {
    /// The coding in which a stored response is asked for and is not there yet.
    pub(super) fn missing_coding(
        &self,
        req: &RequestHead<'_>,
        stored: &StoredResponse,
        rules: &CacheRules,
    ) -> Option<Coding> {
        let StoredBody::Memory(bytes) = &stored.body else { return None };
        if bytes.len() > LONGEST || !(*req.method == Method::GET || *req.method == Method::HEAD) {
            return None;
        }
        match policy::representation(req, &stored.head, Some(bytes.len() as u64), rules) {
            Representation::Encoded(coding) if stored.encoded(coding).is_none() => Some(coding),
            _ => None,
        }
    }

    /// Has a stored response encoded; resolves with it once that is done, or at
    /// once with what there is: also where it is done by somebody else, or would
    /// take long. What has begun goes on without whoever asked.
    pub(super) async fn encoded(
        self: Arc<Self>,
        key: CacheKey,
        stored: Arc<StoredResponse>,
        coding: Coding,
    ) -> Arc<StoredResponse> {
        let StoredBody::Memory(content) = stored.body.clone() else { return stored };
        if stored.encoded(coding).is_some() {
            return stored;
        }
        let Some(turn) = self.encoders.begin(&content, coding) else { return stored };
        let (cache, length, old) = (Arc::clone(&self), content.len(), Arc::clone(&stored));
        let making = self.tasks.spawn(async move {
            // It may have been made between the lookup and now.
            if let Some(fresh) = cache.with_coding(&key, &old, coding).await {
                return Some(fresh);
            }
            let made = make(content, coding).await?;
            cache.count_encoded(length, &made);
            cache.store.memory.add_encoded(&key, &old, coding, &made).await;
            let fresh = Arc::new(old.with_encoded(coding, made));
            // Whoever begins now finds it.
            drop(turn);
            Some(fresh)
        });
        if length > WAITED_FOR {
            return stored;
        }
        match tokio::time::timeout(WAIT, making).await {
            Ok(Ok(Some(fresh))) => fresh,
            Ok(Ok(None) | Err(_)) | Err(_) => stored,
        }
    }
}

impl Cache {
    /// What is kept of the same content, if it is there in the coding.
    async fn with_coding(
        &self,
        key: &CacheKey,
        old: &StoredResponse,
        coding: Coding,
    ) -> Option<Arc<StoredResponse>> {
        let kept = self.store.memory.look_again(key).await?;
        let has_it =
            |stored: &&Arc<StoredResponse>| stored.has_body_of(old) && stored.encoded(coding).is_some();
        let found = kept.responses().iter().find(has_it)?;
        let encoded = found.encoded(coding)?.clone();
        Some(Arc::new(old.with_encoded(coding, encoded)))
    }

    fn count_encoded(&self, length: usize, made: &Made) {
        self.metrics.encodings.increment();
        if let Made::Shorter(bytes) = made {
            self.metrics.encoded_from_bytes.add(length as u64);
            self.metrics.encoded_to_bytes.add(bytes.len() as u64);
        }
    }
}

/// Encodes on a thread of its own.
async fn make(content: Bytes, coding: Coding) -> Option<Made> {
    let encoding = tokio::task::spawn_blocking(move || (content.len(), coder::encode(&content, coding)));
    match encoding.await {
        Ok((length, Ok(encoded))) if encoded.len() < length => {
            // A buffer of exactly its size.
            Some(Made::Shorter(Bytes::from(encoded.into_boxed_slice())))
        }
        Ok((_, Ok(_))) => Some(Made::NotShorter),
        Ok((_, Err(error))) => {
            tracing::warn!(%error, coding = coding.as_str(), "a stored response could not be encoded");
            None
        }
        Err(error) => {
            tracing::error!(%error, coding = coding.as_str(), "encoding a stored response panicked");
            None
        }
    }
}
