//! What each core has found of late, by key: it is found there again without a walk
//! through what all cores share, most of which is not in the cache of the processor. It
//! finds what moka would. What stays in memory moka decides; a core only remembers where
//! it was, and the place of what is gone, some hundred bytes, until another is there.
//!
//! Changes are counted, many keys together: what was found is good as long as none has
//! begun since before it was looked for. What makes room is no change, and is found as
//! long as it is being sent to somebody: whoever goes through all keys to change them
//! does not come by it, and counts a change of all.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;

use super::StoredResponse;
use super::sync::{AtomicU64, Ordering, thread_local};

/// A core remembers a key for each so many bytes of the tier, which is a thousandth of
/// them; and of those so few and so many: a power of two.
const REMEMBERED_PER: u64 = 128 << 10;
pub(super) const LEAST_REMEMBERED: u64 = 256;
const MOST_REMEMBERED: u64 = 16 << 10;

/// Counters of changes.
const COUNTERS: usize = 1024;

/// Bytes of the longest key that is remembered, with which a [`Found`] is full.
pub(super) const LONGEST_KEY: usize = 100;

/// So many uses of a key are told to moka one by one, and those after that so many at a
/// time: it has to know what is asked for again and again in order to keep that.
pub(super) const TOLD_TOGETHER: u8 = 8;

/// Once a key was used more often than this, moka is told of it once in so many uses,
pub(super) const OFTEN: u8 = 64;

/// and then of no more than so many: it counts no further.
pub(super) const MOST_TOLD: u8 = 15;

/// What a change adds to its counter once it is over; below are those under way.
const CHANGE: u64 = 1 << 16;

thread_local! {
    static FOUND: RefCell<Box<[Found]>> = RefCell::default();
}

/// What changes in a tier, as far as that has to be known.
#[derive(Debug)]
pub(super) struct Recent {
    /// Seeded at random: a core that had to do with another tier finds nothing of that here.
    hasher: RandomState,
    changes: Box<[AtomicU64]>,
    /// Keys that a core remembers.
    remembered: usize,
}

/// A key that is looked for, while no more than this has changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    key: &'a [u8],
    hash: u64,
    changes: u64,
    remembered: usize,
}

/// A change under way, which is over when this is dropped, however it ends.
#[derive(Debug)]
pub(super) struct Change<'a>(&'a AtomicU64);

/// What was found under a key, in two cache lines that are fetched together.
#[derive(Debug)]
#[repr(align(128))]
struct Found {
    hash: u64,
    changes: u64,
    response: Weak<StoredResponse>,
    key: [u8; LONGEST_KEY],
    length: u8,
    /// How often it was asked for, less how often other keys of its place were.
    uses: u8,
    /// Those of which moka does not know yet.
    untold: u8,
}

const _: () = assert!(size_of::<Found>() == 128);

impl Recent {
    /// Nothing has changed yet in a tier of `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        let changes = std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect();
        let remembered = (capacity / REMEMBERED_PER).clamp(LEAST_REMEMBERED, MOST_REMEMBERED);
        let remembered = 1 << remembered.ilog2();
        Self { hasher: RandomState::default(), changes, remembered }
    }

    /// A key that is looked for from now on.
    pub(super) fn want<'a>(&self, key: &'a [u8]) -> Wanted<'a> {
        let hash = self.hasher.hash_one(key);
        // What has changed up to here is seen by whoever looks for the key after this.
        let changes = self.counter(hash).load(Ordering::Acquire);
        Wanted { key, hash, changes, remembered: self.remembered }
    }

    /// To be held while what is kept under `key` is changed, even if nothing comes of that.
    pub(super) fn change(&self, key: &[u8]) -> Change<'_> {
        Change::begin(self.counter(self.hasher.hash_one(key)))
    }

    /// What is kept under any key may have changed.
    pub(super) fn change_all(&self) {
        for counter in &self.changes {
            counter.fetch_add(CHANGE, Ordering::Release);
        }
    }

    fn counter(&self, hash: u64) -> &AtomicU64 {
        // Of other bits than the place among what a core has found.
        &self.changes[(hash >> 32) as usize % COUNTERS]
    }
}

impl<'a> Change<'a> {
    fn begin(counter: &'a AtomicU64) -> Self {
        // Before anybody sees any of it.
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(CHANGE - 1, Ordering::Release);
    }
}

impl Wanted<'_> {
    /// What this core has found under the key before; `None` also where moka is to be told
    /// that it is asked for.
    pub(super) fn found(&self) -> Option<Arc<StoredResponse>> {
        FOUND.with(|all| {
            let mut all = all.borrow_mut();
            let place = self.place(all.len());
            let found = all.get_mut(place)?;
            let is_good = found.is_of(self) && found.changes == self.changes && !self.is_changing();
            if !is_good || found.uses < TOLD_TOGETHER || found.untold + 1 >= found.told_once_in() {
                return None;
            }
            let response = found.response.upgrade()?;
            found.uses = found.uses.saturating_add(1);
            found.untold += 1;
            Some(response)
        })
    }

    /// Remembers what moka has under the key, which is all that it has there. Says how many
    /// uses of it moka is still to be told of.
    pub(super) fn remember(&self, response: &Arc<StoredResponse>) -> u8 {
        if self.key.len() > LONGEST_KEY {
            return 0;
        }
        FOUND.with(|all| {
            let mut all = all.borrow_mut();
            if all.is_empty() {
                *all = std::iter::repeat_with(Found::default).take(self.remembered).collect();
            }
            let place = self.place(all.len());
            let found = &mut all[place];
            if !found.is_of(self) {
                if found.uses > 0 {
                    found.uses -= 1;
                    return 0;
                }
                found.become_of(self);
            }
            found.uses = found.uses.saturating_add(1);
            found.changes = self.changes;
            // Seldom another one: where it is the same its counts are let alone.
            if !std::ptr::eq(found.response.as_ptr(), Arc::as_ptr(response)) {
                found.response = Arc::downgrade(response);
            }
            // The one that asks moka besides.
            std::mem::take(&mut found.untold).min(MOST_TOLD - 1)
        })
    }

    /// Its place among so many, a power of two; none is right where there are none yet.
    fn place(&self, places: usize) -> usize {
        self.hash as usize & places.wrapping_sub(1)
    }

    fn is_changing(&self) -> bool {
        !self.changes.is_multiple_of(CHANGE)
    }
}

impl Found {
    fn is_of(&self, wanted: &Wanted<'_>) -> bool {
        self.hash == wanted.hash && self.key[..usize::from(self.length)] == *wanted.key
    }

    /// Moka is told of its uses once in so many.
    fn told_once_in(&self) -> u8 {
        if self.uses > OFTEN { OFTEN } else { TOLD_TOGETHER }
    }

    fn become_of(&mut self, wanted: &Wanted<'_>) {
        self.hash = wanted.hash;
        self.key[..wanted.key.len()].copy_from_slice(wanted.key);
        self.length = wanted.key.len() as u8;
        // Moka does not learn of the last uses of a key that others were asked for instead of.
        self.untold = 0;
    }
}

impl Default for Found {
    fn default() -> Self {
        let response = Weak::new();
        Self { hash: 0, changes: 0, response, key: [0; LONGEST_KEY], length: 0, uses: 0, untold: 0 }
    }
}
