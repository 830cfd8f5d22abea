//! One request for one slice, up to the head of its response.

use std::sync::{Arc, Weak};

use http::Method;

use super::pump::{SlicePump, Source};
use super::{Coming, Place, SliceError, Slices};
use crate::cache::collapse::{FillGuard, Outcome};
use crate::cache::fill::declared_length;
use crate::policy::{self, PartAnswer};

/// Asks for a slice, and resolves with a place in what comes once it is known
/// to be of the same representation. Where that has changed, what is kept of it
/// is forgotten.
pub(super) async fn fetch(
    slices: Arc<Slices>,
    number: u64,
    guard: Option<FillGuard>,
) -> Result<Place, SliceError> {
    let cache = &slices.cache;
    let tell = |outcome| guard.iter().for_each(|guard| guard.tell(Outcome::clone(&outcome)));
    cache.metrics.fills.increment();
    let (part, key) = (slices.part(number), slices.layout.key(&slices.key, number));
    let since = cache.store.generation(&key);
    let mut req = slices.asked.request();
    req.method = Method::GET;
    policy::ask_for_part(&slices.head, &part, Arc::make_mut(&mut req.fields));
    let response = match Arc::clone(&slices.asked.origin).fetch(req).await {
        Ok(response) => response,
        Err(error) => {
            cache.metrics.fills_failed.increment();
            let error = Arc::new(error);
            tell(Outcome::Failed(Arc::clone(&error)));
            return Err(SliceError::Fetch(error));
        }
    };
    let (status, length) = (response.status, slices.layout.length);
    let declared = declared_length(&response);
    let source = match policy::part_answer(&slices.head, length, &part, (status, &response.fields), declared)
    {
        PartAnswer::Part => Source::new(response.body, part),
        // It knows no ranges, after all: what comes before is passed over.
        PartAnswer::Whole => Source::new(response.body, 0..length),
        PartAnswer::Unavailable => {
            tell(Outcome::Unshared { status, personal: true });
            return Err(SliceError::Unavailable(status));
        }
        PartAnswer::Changed => {
            slices.forget().await;
            tell(Outcome::Unshared { status, personal: false });
            return Err(SliceError::Changed);
        }
    };
    let first = Coming::new(&slices, number, key, since, guard);
    let place = first.enter();
    let tasks = cache.tasks.clone();
    tasks.spawn(SlicePump { slices, first, whole: None, audience: Weak::new() }.run(source));
    Ok(place)
}
