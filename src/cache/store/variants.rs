//! What is kept under one key: the stored responses among which a request selects, and
//! whether requests wait for one another.

use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::StoredResponse;
use crate::cache::encode::Made;
use crate::fields::coding::Coding;
use crate::policy;

/// The most variants kept under one key; the oldest makes room.
const MOST_VARIANTS: usize = 32;

/// The responses of one key, the newest last. Most keys have one, to which there is
/// nothing in between; a copy of many costs no more than that of one.
#[derive(Clone, Debug, Default)]
enum Responses {
    #[default]
    None,
    One(Arc<StoredResponse>),
    Several(Arc<[Arc<StoredResponse>]>),
}

impl Deref for Responses {
    type Target = [Arc<StoredResponse>];

    fn deref(&self) -> &[Arc<StoredResponse>] {
        match self {
            Self::None => &[],
            Self::One(response) => std::slice::from_ref(response),
            Self::Several(responses) => responses,
        }
    }
}

impl FromIterator<Arc<StoredResponse>> for Responses {
    fn from_iter<T: IntoIterator<Item = Arc<StoredResponse>>>(responses: T) -> Self {
        let mut responses: SmallVec<[_; 1]> = responses.into_iter().collect();
        match responses.len() {
            0 | 1 => responses.pop().map_or(Self::None, Self::One),
            _ => Self::Several(responses.into_iter().collect()),
        }
    }
}

/// Everything that is known under one key. Never changed, only replaced.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct Variants {
    responses: Responses,
    /// Apart, for few have any.
    alone: Option<Arc<Alone>>,
}

/// Until when requests for a key do not wait for one another, after a response
/// that could not be shared (hit-for-miss).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Alone {
    /// That goes for every request.
    pub(in crate::cache) all: Option<Instant>,
    /// That goes for requests to which a response may be personal.
    pub(in crate::cache) personal: Option<Instant>,
}

impl Variants {
    /// These responses, the newest last, with what is said of requests.
    pub(super) fn new(responses: impl IntoIterator<Item = Arc<StoredResponse>>, alone: Alone) -> Self {
        let alone = (alone != Alone::default()).then(|| Arc::new(alone));
        Self { responses: responses.into_iter().collect(), alone }
    }

    /// What is said of requests.
    pub(super) fn alone(&self) -> Alone {
        self.alone.as_deref().copied().unwrap_or_default()
    }

    /// The stored responses, the newest last.
    pub(in crate::cache) fn responses(&self) -> &[Arc<StoredResponse>] {
        &self.responses
    }

    /// True if such requests may wait for one another.
    pub(in crate::cache) fn collapses(&self, personal: bool, now: Instant) -> bool {
        let alone = self.alone();
        let until = if personal { alone.all.max(alone.personal) } else { alone.all };
        until.is_none_or(|until| until <= now)
    }

    /// Only this one.
    pub(in crate::cache) fn one(response: Arc<StoredResponse>) -> Self {
        Self { responses: Responses::One(response), alone: None }
    }

    /// The same with `new` in place of its own older version; `None` if there
    /// is a newer one. What would weigh more than `most` in all is left out,
    /// the oldest first.
    pub(super) fn with(&self, new: Arc<StoredResponse>, alone: Alone, most: u64) -> Option<Self> {
        let is_own = |old: &Arc<StoredResponse>| policy::same_variant(&old.head, &new.head);
        if self.responses.iter().any(|old| is_own(old) && old.received > new.received) {
            return None;
        }
        let others = self.responses.iter().filter(|old| !is_own(old));
        let mut room = most.saturating_sub(new.weight());
        let mut responses: SmallVec<[_; 1]> = others
            .rev()
            .take(MOST_VARIANTS - 1)
            .take_while(|old| {
                let fits = old.weight() <= room;
                room = room.saturating_sub(old.weight());
                fits
            })
            .cloned()
            .collect();
        responses.reverse();
        responses.push(new);
        Some(Self::new(responses, alone))
    }

    pub(super) fn without(&self, gone: &StoredResponse) -> Self {
        Self::new(self.responses.iter().filter(|kept| !kept.is(gone)).cloned(), self.alone())
    }

    /// The same with what was made of the content of `of`, where that content
    /// is; `None` if it is not there.
    pub(super) fn with_encoded(&self, of: &StoredResponse, coding: Coding, made: &Made) -> Option<Self> {
        let has_it = |kept: &Arc<StoredResponse>| kept.body.is(&of.body);
        self.responses.iter().any(has_it).then(|| {
            let with = |kept: &Arc<StoredResponse>| Arc::new(kept.with_encoded(coding, made.clone()));
            let responses = self.responses.iter();
            let responses = responses.map(|kept| if has_it(kept) { with(kept) } else { Arc::clone(kept) });
            Self::new(responses, self.alone())
        })
    }

    pub(super) fn marked(&self, alone: Alone) -> Self {
        let before = self.alone();
        let alone = Alone { all: before.all.max(alone.all), personal: before.personal.max(alone.personal) };
        Self::new(self.responses.iter().cloned(), alone)
    }

    /// The one response that is all there is.
    pub(super) fn only(&self) -> Option<&Arc<StoredResponse>> {
        match &self.responses {
            Responses::One(only) if self.alone.is_none() => Some(only),
            _ => None,
        }
    }

    pub(super) fn has(&self, response: &StoredResponse) -> bool {
        self.responses.iter().any(|kept| kept.is(response))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.alone.is_none()
    }

    pub(super) fn weight(&self) -> u64 {
        self.responses.iter().map(|response| response.weight()).sum()
    }
}
