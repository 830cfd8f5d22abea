//! Slices of large contents: records like all others, only that nothing
//! selects among them and their head says nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::file::FileBody;
use super::name::KeyId;
use super::write::Storing;
use super::{Disk, WRITE_WAIT};
use crate::cache::store::StoredBody;
use crate::cache::store::generations::Generation;
use crate::fields::cache_control::ResponseDirectives;
use crate::policy::{CacheKey, FreshnessLifetime, HeadParts, LifetimeSource, StoredHead};

impl Disk {
    /// The slice that is kept under `key`, to be read as it is sent; `None` if
    /// there is none of this length or the disk does not say in time. Cancel
    /// safe.
    pub(in crate::cache) async fn slice(self: &Arc<Self>, key: &CacheKey, length: u64) -> Option<FileBody> {
        let record = self.find(key).await.into_iter().next()?.into_record();
        self.index.count_use(record.id.name);
        let body = FileBody { record, disk: Arc::clone(self) };
        (body.length() == length).then_some(body)
    }

    /// True if a slice is known to be kept under `key`, as far as that can be
    /// told without waiting.
    pub(in crate::cache) fn knows_slice(&self, key: &CacheKey) -> bool {
        !self.reading.rests() && !self.index.of(KeyId::of(key)).is_empty()
    }

    /// True unless writing failed just now.
    pub(in crate::cache) fn takes_slices(&self) -> bool {
        !self.writing.rests()
    }

    /// Keeps a slice, unless its key was invalidated after `since`; says
    /// whether it is found from now on. Waits a few seconds at most, while the
    /// writing itself goes on to its end.
    pub(in crate::cache) async fn keep_slice(
        self: &Arc<Self>,
        key: &CacheKey,
        bytes: Bytes,
        since: &Generation,
    ) -> bool {
        let (head, body) = (Arc::new(head()), StoredBody::Memory(bytes));
        let storing = Storing {
            key: key.clone(),
            head,
            body,
            since: since.clone(),
            epoch: since.epoch(),
            instead: None,
        };
        let Some(writing) = self.queue_up(storing) else { return false };
        matches!(tokio::time::timeout(WRITE_WAIT, self.tasks.spawn(writing)).await, Ok(Ok(true)))
    }
}

/// The head of every slice.
fn head() -> StoredHead {
    StoredHead::from_parts(HeadParts {
        status: StatusCode::PARTIAL_CONTENT,
        fields: HeaderMap::new(),
        directives: ResponseDirectives::default(),
        selecting: Some(Vec::new()),
        lifetime: FreshnessLifetime { duration: Duration::ZERO, source: LifetimeSource::None },
        initial_age: Duration::ZERO,
        made: SystemTime::UNIX_EPOCH,
        received: SystemTime::UNIX_EPOCH,
        is_ended: false,
    })
}
