//! The fill of a response that is kept in slices: its head is stored at once,
//! and its content slice by slice as it comes.

use std::sync::Arc;

use super::{Fill, Received, Shared, contradicts};
use crate::cache::collapse::OpenedContent;
use crate::cache::deliver::Content;
use crate::cache::slices::{Audience, SlicePump, SliceReader, Slices, Source};
use crate::cache::store::{Alone, Sliced, StoredBody};
use crate::exchange::Response;
use crate::policy::{self, StoredHead, Timing};

impl Fill {
    /// The head of a storable response whose content, of this length, is to be
    /// kept in slices: it is too large for one piece, and its parts can be
    /// fetched one by one.
    pub(super) fn head_of_slices(
        &self,
        response: &Response,
        length: Option<u64>,
        timing: Timing,
    ) -> Option<(Arc<StoredHead>, Sliced)> {
        let (length, rules) = (length?, &self.asked.rules);
        if !self.is_large(length) || contradicts(&response.body, Some(length)) {
            return None;
        }
        let fields = response.fields.clone();
        let head = StoredHead::new(&self.asked.head(), response.status, fields, timing, rules);
        let sliced = Sliced::new(length, self.cache.slice);
        policy::is_fetched_in_parts(&head).then(|| (Arc::new(head), sliced))
    }

    /// True if a response with this head and so many bytes is kept in slices.
    pub(super) fn is_kept_in_slices(&self, head: &StoredHead, length: u64) -> bool {
        self.is_large(length) && policy::is_fetched_in_parts(head)
    }

    /// True if content of this length is kept in slices, where there is a place
    /// for them.
    fn is_large(&self, length: u64) -> bool {
        let in_one_piece = self.cache.slice.min(self.cache.max_object);
        length > in_one_piece && length <= self.asked.rules.max_object && self.cache.store.takes_slices()
    }

    /// Stores the head, and lets the content run.
    pub(super) async fn open_slices(
        self,
        response: Box<Response>,
        head: Arc<StoredHead>,
        sliced: Sliced,
    ) -> Received {
        let Response { status, fields, body, facts, .. } = *response;
        let alone = self.alone(&head);
        let kept = Arc::new(self.response(StoredHead::clone(&head), StoredBody::Sliced(Box::new(sliced))));
        let stored = self.cache.store.keep(&self.key, &kept, &self.since, alone).await;
        let slices = Slices::new(&self.cache, &self.asked, &self.key, &head, sliced);
        let audience = Arc::new(Audience);
        let first = slices.lead_first();
        let reader = SliceReader::new(&slices, Some(Arc::clone(&audience))).seated(first.enter());
        self.tell_opened(&head, OpenedContent::Slices(sliced, Arc::downgrade(&audience)), status);
        if alone != Alone::default()
            && let Some(guard) = &self.guard
        {
            guard.close();
        }
        let source = Source::new(body, 0..sliced.length);
        let pump = SlicePump { slices, first, whole: self.guard, audience: Arc::downgrade(&audience) };
        self.cache.tasks.spawn(pump.run(source));
        Received::Opened(Box::new(Shared {
            head,
            age: false,
            fields: Some(fields),
            content: Content::Sliced(reader),
            facts,
            fwd_status: status,
            stored,
            confirmed: false,
        }))
    }
}
