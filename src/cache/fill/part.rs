//! The fill of a part: a 206 to the range that one client asked for goes to
//! that client as it came, and is kept.

use std::sync::Arc;

use super::{Fill, Received, contradicts};
use crate::cache::store::{Sliced, StoredBody};
use crate::exchange::{Body, Response};
use crate::policy::{self, StoredHead, Timing};

impl Fill {
    /// A 206 that may be kept. Of what is to be kept in slices only the head is:
    /// its slices are fetched by those who ask for them from now on.
    pub(super) async fn accept_part(self, mut response: Box<Response>, timing: Timing) -> Received {
        let Some(part) = policy::part_of(&response.fields) else {
            return self.refuse(response, "partial", true).await;
        };
        let (length, rules) = (part.span.length(), &self.asked.rules);
        let fields = response.fields.clone();
        let head =
            StoredHead::new(&self.asked.head(), response.status, fields, timing, rules).with_part(part);
        if let Some((head, sliced)) = self.slices_of(&head, part.complete) {
            let kept = Arc::new(self.response(head, StoredBody::Sliced(Box::new(sliced))));
            let alone = self.alone(&kept.head);
            let stored = self.cache.store.keep(&self.key, &kept, &self.since, alone).await;
            return Received::Passed { response, stored };
        }
        if length > self.max_object() {
            return self.refuse(response, "too-large", true).await;
        }
        if contradicts(&response.body, Some(length)) {
            return self.refuse(response, "length-mismatch", true).await;
        }
        let head = Arc::new(head);
        let stored = match std::mem::take(&mut response.body) {
            Body::Full(bytes) => {
                let (_, stored) = self.keep_whole(&head, &bytes).await;
                response.body = Body::Full(bytes);
                stored
            }
            body => {
                response.body = Body::boxed(self.run(&head, body, Some(length)));
                true
            }
        };
        Received::Passed { response, stored }
    }

    /// The head of the whole that a part is of, if that is to be kept in slices.
    fn slices_of(&self, part: &StoredHead, complete: u64) -> Option<(StoredHead, Sliced)> {
        let head = part.of_whole().filter(|head| self.is_kept_in_slices(head, complete))?;
        Some((head, Sliced::new(complete, self.cache.slice)))
    }
}
