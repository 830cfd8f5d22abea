//! The purges under way, and the epochs that say which responses they are
//! about: those that were asked for before them, whether they are stored by
//! then or not. It reads and deletes nothing; the tiers ask it what may come
//! out of them and go in.
//!
//! A purge holds from the moment at which it is entered. It leaves once each
//! tier was gone through and nothing is under way any more that began before
//! that was done: then nothing is left for it to cover.

pub(in crate::cache::store) mod form;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::SystemTime;

use http::HeaderName;
use smallvec::SmallVec;

use super::sync::{ArcSwap, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, RwLock, watch};
use super::{StoredResponse, Variants};
use crate::policy::{self, CacheKey, StoredHead};
use table::Table;

pub(in crate::cache) use table::{Selector, Verdict};

/// The most that the purges under way may name together.
pub(in crate::cache) const MOST_SELECTORS: usize = 10_000;

/// So many purges of everything are taken beyond that: whoever finds the others
/// refused can still have that.
const MORE_OF_EVERYTHING: usize = 100;

/// The purges under way.
#[derive(Debug)]
pub(in crate::cache) struct Purges {
    /// The epoch of the newest purge under way; 0 if there is none.
    newest: AtomicU64,
    /// How many times purges have left.
    departures: AtomicU64,
    term: ArcSwap<Term>,
    table: RwLock<Table>,
    state: Mutex<State>,
    /// True if a purge waits for what is under way.
    lingers: AtomicBool,
    tags_field: HeaderName,
}

/// An epoch, held by everything that began in it and is still under way.
#[derive(Debug)]
pub(in crate::cache) struct Term {
    epoch: u64,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    terms: Vec<Weak<Term>>,
    under_way: BTreeMap<u64, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    order: Order,
    progress: watch::Sender<Progress>,
    /// Once both tiers were gone through: it waits for what began before this.
    leaves_at: Option<u64>,
}

/// What a purge is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Order {
    /// What it names.
    pub(in crate::cache) selectors: Arc<[Selector]>,
    /// Since when what it covers is stale; `None`: that is gone.
    pub(in crate::cache) stale_from: Option<SystemTime>,
}

impl Order {
    fn is_of_everything(&self) -> bool {
        matches!(&*self.selectors, [Selector::Prefix(prefix)] if prefix.is_empty())
    }
}

/// How far a purge has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Progress {
    /// What it did to each tier, in the order of [`Tier`].
    pub(in crate::cache) tiers: [Swept; 2],
}

/// What a purge did to a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Swept {
    /// Stored responses that were removed or made stale.
    pub(in crate::cache) responses: u64,
    /// True once all of it was gone through.
    pub(in crate::cache) whole: bool,
}

/// One of the tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Tier {
    /// Memory.
    Memory,
    /// The disk.
    Disk,
}

/// A purge that was entered.
#[derive(Debug)]
pub(in crate::cache) struct Entered {
    /// Its epoch.
    pub(in crate::cache) epoch: u64,
    /// Tells how far it has come.
    pub(in crate::cache) progress: watch::Receiver<Progress>,
}

impl Term {
    /// What began in it was asked for after the purges up to this one.
    pub(in crate::cache) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Progress {
    /// True once each tier was gone through.
    pub(in crate::cache) fn is_complete(&self) -> bool {
        self.tiers.iter().all(|tier| tier.whole)
    }

    /// What was done to a tier.
    pub(in crate::cache) fn of(&mut self, tier: Tier) -> &mut Swept {
        &mut self.tiers[tier as usize]
    }
}

impl Purges {
    /// None yet. Tags are read from `tags_field`, and from Cache-Tag.
    pub(in crate::cache) fn new(tags_field: HeaderName) -> Self {
        let first = Arc::new(Term { epoch: 0 });
        let state = State { terms: vec![Arc::downgrade(&first)], ..State::default() };
        Self {
            newest: AtomicU64::new(0),
            departures: AtomicU64::new(0),
            term: ArcSwap::new(first),
            table: RwLock::default(),
            state: Mutex::new(state),
            lingers: AtomicBool::new(false),
            tags_field,
        }
    }

    /// The field that has tags besides Cache-Tag.
    pub(in crate::cache) fn tags_field(&self) -> &HeaderName {
        &self.tags_field
    }

    /// The epoch now. While it is held, no purge leaves that would cover what
    /// began in it.
    pub(in crate::cache) fn term(&self) -> Arc<Term> {
        if self.lingers.load(Ordering::Relaxed) {
            self.let_leave(&mut self.state());
        }
        self.term.load_full()
    }

    /// Enters a purge: from now on it holds. `None` where too much is under way.
    /// Tiers that are not there are said to be `empty`.
    pub(in crate::cache) fn enter(&self, order: Order, empty: &[Tier]) -> Option<Entered> {
        let mut state = self.state();
        let named: usize = state.under_way.values().map(|other| other.order.selectors.len()).sum();
        let more = if order.is_of_everything() { MORE_OF_EVERYTHING } else { 0 };
        if named + order.selectors.len() > MOST_SELECTORS + more {
            return None;
        }
        let epoch = state.epoch + 1;
        Some(self.enter_at(&mut state, epoch, order, empty))
    }

    /// Enters the purges that an earlier process left under way, and goes on
    /// with the epochs after `last`.
    pub(in crate::cache) fn restore(&self, last: u64, orders: impl IntoIterator<Item = (u64, Order)>) {
        let mut state = self.state();
        for (epoch, order) in orders {
            // Where a process goes on with what it left itself.
            if state.under_way.contains_key(&epoch) {
                continue;
            }
            self.enter_at(&mut state, epoch, order, &[Tier::Memory]);
        }
        let last = last.max(state.epoch);
        self.begin_term(&mut state, last);
    }

    fn enter_at(&self, state: &mut State, epoch: u64, order: Order, empty: &[Tier]) -> Entered {
        let mut begun = Progress::default();
        empty.iter().for_each(|tier| begun.of(*tier).whole = true);
        let (sender, progress) = watch::channel(begun);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for selector in &*order.selectors {
            table.enter(selector, epoch, order.stale_from);
        }
        drop(table);
        state.under_way.insert(epoch, UnderWay { order, progress: sender, leaves_at: None });
        self.newest.fetch_max(epoch, Ordering::AcqRel);
        self.begin_term(state, epoch);
        Entered { epoch, progress }
    }

    fn begin_term(&self, state: &mut State, epoch: u64) {
        state.epoch = epoch;
        let term = Arc::new(Term { epoch });
        state.terms.retain(|term| term.strong_count() > 0);
        state.terms.push(Arc::downgrade(&term));
        self.term.store(term);
    }

    /// How many times purges have left. What is judged by those under way holds only
    /// if none has left since before it was looked for: that one may have covered
    /// it, and has gone through the tiers by now.
    #[inline]
    pub(in crate::cache) fn departures(&self) -> u64 {
        self.departures.load(Ordering::Acquire)
    }

    /// True if a purge is under way that might cover what was asked for in
    /// `epoch`.
    #[inline]
    pub(in crate::cache) fn may_cover(&self, epoch: u64) -> bool {
        self.newest.load(Ordering::Acquire) > epoch
    }

    /// What becomes of a response that was asked for in `epoch`.
    pub(in crate::cache) fn judge(&self, key: &[u8], head: &StoredHead, epoch: u64) -> Verdict {
        if !self.may_cover(epoch) {
            return Verdict::Kept;
        }
        let tags = policy::tags(head, &self.tags_field);
        self.table.read().unwrap_or_else(PoisonError::into_inner).judge(key, tags, epoch)
    }

    /// True if what is being fetched for `key` since `epoch`, with this head as
    /// far as it is known, will be covered.
    pub(in crate::cache) fn covers(&self, key: &CacheKey, head: Option<&StoredHead>, epoch: u64) -> bool {
        let verdict = match head {
            Some(head) => self.judge(key.as_bytes(), head, epoch),
            None if !self.may_cover(epoch) => return false,
            None => {
                let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
                table.judge(key.as_bytes(), std::iter::empty(), epoch)
            }
        };
        verdict != Verdict::Kept
    }

    /// The head as it counts now; `None` if it is gone.
    pub(in crate::cache) fn head(
        &self,
        key: &[u8],
        head: &Arc<StoredHead>,
        epoch: u64,
    ) -> Option<Arc<StoredHead>> {
        let stale = self.stale(key, head, epoch)?;
        Some(stale.map_or_else(|| Arc::clone(head), Arc::new))
    }

    /// What counts in place of the head, if anything does; `None` if it is gone.
    fn stale(&self, key: &[u8], head: &StoredHead, epoch: u64) -> Option<Option<StoredHead>> {
        match self.judge(key, head, epoch) {
            Verdict::Kept => Some(None),
            Verdict::Stale { from, .. } => Some(head.stale_from(from)),
            Verdict::Gone { .. } => None,
        }
    }

    /// The response as it counts now; `None` if it is gone.
    pub(in crate::cache) fn response(
        &self,
        key: &[u8],
        response: &Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        let stale = self.stale(key, &response.head, response.epoch)?;
        Some(stale.map_or_else(|| Arc::clone(response), |head| Arc::new(response.under(head))))
    }

    /// What is kept under `key`, as it counts now.
    pub(in crate::cache) fn variants(&self, key: &[u8], kept: Variants) -> Variants {
        if !kept.responses().iter().any(|response| self.may_cover(response.epoch)) {
            return kept;
        }
        let responses = kept.responses().iter().filter_map(|response| self.response(key, response));
        Variants::new(responses, kept.alone())
    }

    /// What is to be kept under `key`, and what the purges did to it; `None` if
    /// nothing has to be done.
    pub(in crate::cache) fn sweep(&self, key: &[u8], kept: &Variants) -> Option<(Variants, Vec<u64>)> {
        if !kept.responses().iter().any(|response| self.may_cover(response.epoch)) {
            return None;
        }
        let mut by_whom = Vec::new();
        let mut responses = SmallVec::<[_; 1]>::with_capacity(kept.responses().len());
        for response in kept.responses() {
            let stale = match self.judge(key, &response.head, response.epoch) {
                Verdict::Kept => None,
                Verdict::Gone { by } => {
                    by_whom.push(by);
                    continue;
                }
                Verdict::Stale { from, by } => response.head.stale_from(from).inspect(|_| by_whom.push(by)),
            };
            responses.push(stale.map_or_else(|| Arc::clone(response), |head| Arc::new(response.under(head))));
        }
        (!by_whom.is_empty()).then(|| (Variants::new(responses, kept.alone()), by_whom))
    }

    /// Counts responses that were removed or made stale, each for the purge of
    /// its epoch.
    pub(in crate::cache) fn count(&self, by_whom: &[u64], tier: Tier) {
        let state = self.state();
        for purge in by_whom.iter().filter_map(|epoch| state.under_way.get(epoch)) {
            // Who waits for the purge waits for its end.
            purge.progress.send_if_modified(|progress| {
                progress.of(tier).responses += 1;
                false
            });
        }
    }

    /// The purges for which a tier is still to be gone through.
    pub(in crate::cache) fn unswept(&self, tier: Tier) -> Vec<(u64, Order)> {
        self.those(|purge| !purge.progress.borrow().tiers[tier as usize].whole)
    }

    /// All that are under way: also those for which all tiers were gone through, while
    /// something that they cover may still be kept.
    pub(in crate::cache) fn under_way(&self) -> Vec<(u64, Order)> {
        self.let_leave(&mut self.state());
        self.those(|_| true)
    }

    fn those(&self, wanted: impl Fn(&UnderWay) -> bool) -> Vec<(u64, Order)> {
        let state = self.state();
        let those = state.under_way.iter().filter(|(_, purge)| wanted(purge));
        those.map(|(epoch, purge)| (*epoch, purge.order.clone())).collect()
    }

    /// A tier was gone through for the purge of `epoch`, from beginning to end
    /// since it was entered.
    pub(in crate::cache) fn swept(&self, epoch: u64, tier: Tier) {
        let mut state = self.state();
        let next = state.epoch + 1;
        let Some(purge) = state.under_way.get_mut(&epoch) else { return };
        purge.progress.send_modify(|progress| progress.of(tier).whole = true);
        if purge.progress.borrow().is_complete() && purge.leaves_at.is_none() {
            purge.leaves_at = Some(next);
            self.begin_term(&mut state, next);
            self.lingers.store(true, Ordering::Relaxed);
            self.let_leave(&mut state);
        }
    }

    /// Takes out the purges for which nothing is under way any more.
    fn let_leave(&self, state: &mut State) {
        let terms = state.terms.iter().filter_map(Weak::upgrade);
        let oldest = terms.map(|term| term.epoch).min().unwrap_or(state.epoch);
        let leaving: Vec<u64> = state
            .under_way
            .iter()
            .filter(|(_, purge)| purge.leaves_at.is_some_and(|at| at <= oldest))
            .map(|(epoch, _)| *epoch)
            .collect();
        if !leaving.is_empty() {
            // Before they are out: who does not meet them any more sees this.
            self.departures.fetch_add(1, Ordering::AcqRel);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for epoch in leaving {
            if let Some(purge) = state.under_way.remove(&epoch) {
                purge.order.selectors.iter().for_each(|selector| table.leave(selector, epoch));
            }
        }
        drop(table);
        let newest = state.under_way.keys().next_back().copied().unwrap_or(0);
        self.newest.store(newest, Ordering::Release);
        let lingers = state.under_way.values().any(|purge| purge.leaves_at.is_some());
        self.lingers.store(lingers, Ordering::Relaxed);
    }

    /// How many purges are under way.
    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        self.state().under_way.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
