//! The first response: if it is short and all of it is there soon, its client
//! gets it in a coding, too; else as it comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::{Made, WAITED_FOR};
use crate::cache::deliver::Content;
use crate::cache::fetch::Miss;
use crate::cache::fill::Shared;
use crate::cache::reader::Reader;
use crate::fields::coding::Coding;
use crate::policy::{self, Representation, StoredHead};

/// How long a client waits for the rest of a short content: it would have to
/// wait for that anyway, though not for its first byte.
const REST_WAIT: Duration = Duration::from_millis(100);

/// A short content that is stored, or will be.
#[derive(Debug)]
pub(in crate::cache) struct Short {
    head: Arc<StoredHead>,
    coding: Coding,
    /// Reads what is still to come.
    rest: Option<Reader>,
}

impl Miss {
    /// The coding in which the client would like a response that is being stored,
    /// if it is worth waiting for, or one that was confirmed.
    pub(in crate::cache) fn short(&self, shared: &Shared) -> Option<Short> {
        let is_worth_it = |length: &u64| shared.confirmed || shared.stored && *length <= WAITED_FOR as u64;
        let length = shared.content.length().filter(is_worth_it);
        let coding = match policy::representation(
            &self.asked.head(),
            &shared.head,
            Some(length?),
            &self.asked.rules,
        ) {
            Representation::Encoded(coding) => coding,
            Representation::Only | Representation::Identity => return None,
        };
        let rest = match &shared.content {
            Content::Whole(_) | Content::Stored(_) => None,
            Content::Running(reader) => Some(reader.again()?),
            Content::File(_) | Content::Sliced(_) => return None,
        };
        Some(Short { head: Arc::clone(&shared.head), coding, rest })
    }

    /// The content in that coding; `None` if it is not there soon.
    pub(in crate::cache) async fn encoded_first(&self, short: Short) -> Option<(Coding, Bytes)> {
        let Short { head, coding, rest } = short;
        if let Some(rest) = rest {
            tokio::time::timeout(REST_WAIT, whole(rest)).await.ok()??;
        }
        let kept = self.cache.store.memory.look_again(&self.plan.key).await?;
        let stored = kept.responses().iter().find(|stored| stored.head.has_fields_of(&head))?;
        let encoding = Arc::clone(&self.cache).encoded(self.plan.key.clone(), Arc::clone(stored), coding);
        match encoding.await.encoded(coding)? {
            Made::Shorter(bytes) => Some((coding, bytes.clone())),
            Made::NotShorter => None,
        }
    }
}

/// Waits for the end; `None` if it is cut.
async fn whole(mut rest: Reader) -> Option<()> {
    while let Some(frame) = rest.frame().await {
        frame.ok()?;
    }
    Some(())
}
