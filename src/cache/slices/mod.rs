//! Large responses, kept in slices: one that is on the disk is read from there,
//! and any other one is fetched by one request for all who want it. What comes
//! has to be of the very representation whose head was kept, or nothing of it
//! is used.

mod answer;
mod fetch;
mod pump;
mod reader;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinError;

use super::Cache;
use super::asked::Asked;
use super::collapse::{FillGuard, FillWatch, Opened, OpenedContent, Outcome, Role, Seeker};
use super::store::{FileBody, Sliced};
use super::stream::Seat;
use crate::exchange::FetchError;
use crate::policy::{Alike, CacheKey, StoredHead};

pub(super) use answer::content;
pub(super) use pump::{Coming, SlicePump, Source};
pub(super) use reader::SliceReader;

/// The longest that a reader waits for the head of another one's request for a
/// slice.
const HEAD_WAIT: Duration = Duration::from_secs(60);

/// After as many fills that came to nothing a reader waits for no other one.
const MOST_GIVEN_UP: usize = 3;

/// Who reads a response while it is fetched holds this: the fetching ends once
/// nobody does.
#[derive(Debug)]
pub(super) struct Audience;

/// A response that is kept in slices, and how those are fetched that are not
/// there.
#[derive(Debug)]
pub(super) struct Slices {
    cache: Arc<Cache>,
    asked: Arc<Asked>,
    key: CacheKey,
    head: StoredHead,
    layout: Sliced,
}

/// A slice that can be read.
#[derive(Debug)]
enum Slice {
    /// It is on the disk.
    Stored(FileBody),
    /// This fill brings it.
    Coming(Place),
}

/// A reader's place in a slice that comes, and what others know the fill by.
type Place = (Seat, Option<Arc<FillWatch>>);

/// Why a slice cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SliceError {
    /// The origin servers gave no answer.
    #[error("a slice could not be fetched")]
    Fetch(#[source] Arc<FetchError>),
    /// They cannot answer now.
    #[error("a slice was answered with {0}")]
    Unavailable(StatusCode),
    /// The representation is another one now: what is kept of it is forgotten.
    #[error("it has changed")]
    Changed,
    /// It is not there, and the client wants nothing that is not.
    #[error("a slice is not stored")]
    OnlyIfCached,
    /// Fetching it did not go on.
    #[error("a slice was begun too often")]
    GivenUp,
    /// Fetching it panicked.
    #[error("a slice was lost to a panic")]
    Panicked(#[source] JoinError),
}

impl Slices {
    /// The slices of the response with this head, kept under `key`; what is not
    /// there is fetched as `asked` was.
    pub(super) fn new(
        cache: &Arc<Cache>,
        asked: &Arc<Asked>,
        key: &CacheKey,
        head: &StoredHead,
        layout: Sliced,
    ) -> Arc<Self> {
        let (cache, asked) = (Arc::clone(cache), Arc::clone(asked));
        Arc::new(Self { cache, asked, key: key.clone(), head: head.clone(), layout })
    }

    /// Opens a slice: on the disk if it `may` be there, else by following or
    /// leading a fill that is not among `refused`. Cancel safe: a fill goes on.
    async fn open(
        self: Arc<Self>,
        number: u64,
        may_be_stored: bool,
        mut refused: Vec<Arc<FillWatch>>,
    ) -> Result<Slice, SliceError> {
        let key = self.layout.key(&self.key, number);
        for _ in 0..MOST_GIVEN_UP {
            if may_be_stored && let Some(stored) = self.stored(&key, number).await {
                return Ok(Slice::Stored(stored));
            }
            let fill = match self.cache.fills.join(&key, self.seeker(&refused)) {
                Role::Follower(fill) => fill,
                // The fill that brought it may have ended since it was looked for.
                Role::Leader(guard) => match self.stored(&key, number).await.filter(|_| may_be_stored) {
                    Some(stored) => return Ok(Slice::Stored(stored)),
                    None => return self.lead(number, Some(guard)).await,
                },
                Role::Alone => return self.lead(number, None).await,
            };
            match tokio::time::timeout(HEAD_WAIT, fill.outcome()).await {
                Ok(Outcome::Opened(Opened { content: OpenedContent::Running(stream), .. })) => {
                    return Ok(Slice::Coming((stream.enter(false), Some(fill))));
                }
                Ok(Outcome::Failed(error)) => return Err(SliceError::Fetch(error)),
                Ok(Outcome::Unshared { status, personal: true }) => {
                    return Err(SliceError::Unavailable(status));
                }
                Ok(Outcome::Unshared { personal: false, .. }) => return Err(SliceError::Changed),
                Ok(Outcome::Opened(_) | Outcome::GivenUp) | Err(_) => refused.push(fill),
            }
        }
        Err(SliceError::GivenUp)
    }

    async fn stored(&self, key: &CacheKey, number: u64) -> Option<FileBody> {
        let part = self.part(number);
        self.cache.store.slice(key, part.end - part.start).await
    }

    async fn lead(self: &Arc<Self>, number: u64, guard: Option<FillGuard>) -> Result<Slice, SliceError> {
        let fetching = fetch::fetch(Arc::clone(self), number, guard);
        match self.cache.tasks.spawn(fetching).await {
            Ok(place) => Ok(Slice::Coming(place?)),
            Err(panicked) => Err(SliceError::Panicked(panicked)),
        }
    }

    /// Takes the lead in bringing the first slice of a response that nobody else
    /// knows of yet.
    pub(super) fn lead_first(&self) -> Coming {
        let key = self.layout.key(&self.key, 0);
        let since = self.cache.store.generation(&key);
        let guard = match self.cache.fills.join(&key, self.seeker(&[])) {
            Role::Leader(guard) => Some(guard),
            Role::Follower(_) | Role::Alone => None,
        };
        Coming::new(self, 0, key, since, guard)
    }

    /// Takes the lead in bringing a slice, unless it is there or somebody else
    /// brings it.
    pub(super) fn take_lead(&self, number: u64) -> Option<Coming> {
        let key = self.layout.key(&self.key, number);
        let since = self.cache.store.generation(&key);
        if self.cache.store.knows_slice(&key) {
            return None;
        }
        match self.cache.fills.join(&key, self.seeker(&[])) {
            Role::Leader(guard) => Some(Coming::new(self, number, key, since, Some(guard))),
            Role::Follower(_) | Role::Alone => None,
        }
    }

    /// A slice is of one response, whoever asks for it.
    fn seeker<'a>(&'a self, refused: &'a [Arc<FillWatch>]) -> Seeker<'a> {
        Seeker { fields: &self.asked.fields, alike: Alike::default(), refused, may_lead: true }
    }

    /// Forgets the response: it is another one now.
    async fn forget(&self) {
        self.cache.store.forget_sliced(&self.key, &self.head, self.layout).await;
    }

    /// Where a slice lies.
    fn part(&self, number: u64) -> Range<u64> {
        self.layout.range(number)
    }
}
