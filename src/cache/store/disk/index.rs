//! Which records there are, how large and how much used: what a lookup asks
//! before any file, and what says which record makes room.
//!
//! It is a clock (second chance): a hand goes round and takes a use from each
//! record it passes, and the first that has none left goes. It needs no list
//! that a hit would have to change. Names are hashes, so that the order in
//! which the hand passes them is by chance.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::name::{KeyId, LEAVES, Leaf, Name, RecordId};
use crate::telemetry::Metrics;

/// Locks that share the names out among themselves.
pub(super) const SHARDS: usize = 64;

/// The most records of one key; the oldest makes room.
const MOST_VARIANTS: usize = 32;

/// More uses than this are not counted.
const MOST_USES: u8 = 3;

/// Records the hand passes before another shard's turn comes.
const STEPS: usize = 64;

/// Files take whole blocks of this size.
const FILE_BLOCK: u64 = 4 << 10;

/// All records of a directory, as far as it was read.
#[derive(Debug)]
pub(super) struct Index {
    shards: Box<[Mutex<Shard>]>,
    /// Leaves whose records an earlier process wrote down, or that were read.
    known: Box<[AtomicBool]>,
    /// Leaves that were read: no record of them is unknown.
    read: Box<[AtomicBool]>,
    bytes: AtomicU64,
    turn: AtomicUsize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Shard {
    records: BTreeMap<Name, Entry>,
    hand: Option<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    size: u64,
    /// Orders what was stored by this process; 0 for what was found.
    sequence: u64,
    uses: u8,
}

/// What is told of a record from one process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: Name,
    /// Bytes that it takes.
    pub(super) size: u64,
    /// How often it was used, as far as that is counted.
    pub(super) uses: u8,
}

impl Index {
    /// Of a directory of which nothing is known.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            known: flags(),
            read: flags(),
            bytes: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            metrics,
        }
    }

    /// True if the records of the leaf are known as far as a lookup has to know
    /// them: what is missing is a miss.
    pub(super) fn is_known(&self, leaf: Leaf) -> bool {
        self.known[usize::from(leaf.0)].load(Ordering::Acquire)
    }

    /// True if no record of the leaf is unknown.
    pub(super) fn is_read(&self, leaf: Leaf) -> bool {
        self.read[usize::from(leaf.0)].load(Ordering::Acquire)
    }

    /// Takes in what an earlier process wrote down.
    pub(super) fn restore(&self, listed: impl IntoIterator<Item = Listed>) {
        let mut by_shard: Vec<Vec<(Name, Entry)>> = vec![Vec::new(); SHARDS];
        for Listed { name, size, uses } in listed {
            let entry = Entry { size, sequence: 0, uses: uses.min(MOST_USES) };
            by_shard[shard_of(name.key)].push((name, entry));
        }
        for (shard, entries) in self.shards.iter().zip(by_shard) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = entries.iter().map(|(_, entry)| entry.size).sum();
            self.account(entries.len(), bytes, true);
            shard.records = entries.into_iter().collect();
        }
        self.known.iter().for_each(|known| known.store(true, Ordering::Release));
    }

    /// What a later process has to know of each record; `None` if not all are
    /// known.
    pub(super) fn listed(&self) -> Option<Vec<Listed>> {
        if !self.known.iter().all(|known| known.load(Ordering::Acquire)) {
            return None;
        }
        let mut listed = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let records = shard.records.iter();
            listed.extend(records.map(|(name, entry)| Listed {
                name: *name,
                size: entry.size,
                uses: entry.uses,
            }));
        }
        Some(listed)
    }

    /// Takes the records in that were found in a leaf, with the lengths of those
    /// that were not known; what was not found is known no more, unless it was
    /// stored since.
    pub(super) fn add_read(&self, leaf: Leaf, found: &[(Name, Option<u64>)]) {
        let first = Name { key: KeyId::first_of(leaf), variant: 0 };
        let last = Name { key: KeyId::last_of(leaf), variant: u64::MAX };
        let are_there: HashSet<Name, RandomState> = found.iter().map(|(name, _)| *name).collect();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let is_gone = |(name, entry): &(&Name, &Entry)| entry.sequence == 0 && !are_there.contains(name);
            let gone: Vec<Name> =
                shard.records.range(first..=last).filter(is_gone).map(|(name, _)| *name).collect();
            gone.into_iter().for_each(|name| {
                self.take(&mut shard, name);
            });
        }
        for (name, length) in found {
            let mut shard = self.shard(name.key);
            if let Some(length) = length
                && !shard.records.contains_key(name)
            {
                let size = on_disk(*length);
                shard.records.insert(*name, Entry { size, sequence: 0, uses: 1 });
                self.account(1, size, true);
            }
        }
        self.known[usize::from(leaf.0)].store(true, Ordering::Release);
        self.read[usize::from(leaf.0)].store(true, Ordering::Release);
    }

    /// True if a record of this name is known.
    pub(super) fn knows(&self, name: Name) -> bool {
        self.shard(name.key).records.contains_key(&name)
    }

    /// The records of a key that are known.
    pub(super) fn of(&self, key: KeyId) -> Vec<RecordId> {
        let shard = self.shard(key);
        shard.of(key).map(|(name, entry)| RecordId { name: *name, sequence: entry.sequence }).collect()
    }

    /// Some records of a shard, in the order of their names: those that follow
    /// on `after`, `most` at most.
    pub(super) fn after(&self, shard: usize, after: Option<Name>, most: usize) -> Vec<RecordId> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Unbounded, Excluded);
        let records = shard.records.range((from, Unbounded)).take(most);
        records.map(|(name, entry)| RecordId { name: *name, sequence: entry.sequence }).collect()
    }

    /// True if this is still the record of its name.
    pub(super) fn has(&self, id: RecordId) -> bool {
        let shard = self.shard(id.name.key);
        shard.records.get(&id.name).is_some_and(|entry| entry.sequence == id.sequence)
    }

    /// Counts a use; true if the record had been used before.
    pub(super) fn count_use(&self, name: Name) -> bool {
        let mut shard = self.shard(name.key);
        let Some(entry) = shard.records.get_mut(&name) else { return false };
        let again = entry.uses > 1;
        entry.uses = (entry.uses + 1).min(MOST_USES);
        again
    }

    /// True if a record of this name is known that was stored later.
    pub(super) fn is_outdated(&self, name: Name, sequence: u64) -> bool {
        self.shard(name.key).records.get(&name).is_some_and(|entry| entry.sequence > sequence)
    }

    /// Takes in a record that was stored; returns those of its key that are too
    /// many, which it knows no more.
    pub(super) fn insert(&self, name: Name, length: u64, sequence: u64) -> Vec<Name> {
        let mut shard = self.shard(name.key);
        let size = on_disk(length);
        if let Some(old) = shard.records.insert(name, Entry { size, sequence, uses: 1 }) {
            self.account(1, old.size, false);
        }
        self.account(1, size, true);
        let mut too_many = Vec::new();
        while shard.of(name.key).count() > MOST_VARIANTS {
            let oldest = shard.of(name.key).min_by_key(|(_, entry)| entry.sequence).map(|(name, _)| *name);
            let Some(oldest) = oldest else { break };
            self.take(&mut shard, oldest);
            too_many.push(oldest);
        }
        too_many
    }

    /// Knows a record no more; false if it did not.
    pub(super) fn remove(&self, name: Name) -> bool {
        self.take(&mut self.shard(name.key), name)
    }

    /// Knows no record any more; says how many there were. All leaves count as
    /// read, for nothing is in them.
    pub(super) fn clear(&self) -> u64 {
        let mut cleared = 0;
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = std::mem::take(&mut *shard).records;
            cleared += gone.len() as u64;
            self.account(gone.len(), gone.values().map(|entry| entry.size).sum(), false);
        }
        self.known.iter().chain(&self.read).for_each(|is_so| is_so.store(true, Ordering::Release));
        cleared
    }

    /// The record that makes room, known no more; `None` where there is none.
    pub(super) fn evict(&self) -> Option<Name> {
        while self.bytes() > 0 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[turn].lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(name) = shard.pass_hand() {
                self.take(&mut shard, name);
                return Some(name);
            }
        }
        None
    }

    /// Bytes that the records take on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn take(&self, shard: &mut Shard, name: Name) -> bool {
        let gone = shard.records.remove(&name);
        if let Some(entry) = &gone {
            self.account(1, entry.size, false);
        }
        gone.is_some()
    }

    fn account(&self, records: usize, bytes: u64, came: bool) {
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX) * if came { 1 } else { -1 };
        if came {
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        } else {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        self.metrics.disk_bytes.add(signed(bytes));
        self.metrics.disk_objects.add(signed(records as u64));
    }

    fn shard(&self, key: KeyId) -> MutexGuard<'_, Shard> {
        self.shards[shard_of(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn of(&self, key: KeyId) -> impl Iterator<Item = (&Name, &Entry)> {
        self.records.range(Name::all_of(key))
    }

    /// Moves the hand on to the first record without a use, or some steps.
    fn pass_hand(&mut self) -> Option<Name> {
        for _ in 0..STEPS.min(self.records.len()) {
            let from = self.hand.map_or(Unbounded, Excluded);
            let Some((name, entry)) = self.records.range_mut((from, Unbounded)).next() else {
                self.hand = None;
                continue;
            };
            self.hand = Some(*name);
            if entry.uses == 0 {
                return Some(*name);
            }
            entry.uses -= 1;
        }
        None
    }
}

fn shard_of(key: KeyId) -> usize {
    // The leaf is the beginning of the hash; these are other bits of it.
    usize::try_from(key.0 % SHARDS as u128).unwrap_or_default()
}

fn flags() -> Box<[AtomicBool]> {
    std::iter::repeat_with(AtomicBool::default).take(usize::from(LEAVES)).collect()
}

/// What a file of this length takes.
pub(super) fn on_disk(length: u64) -> u64 {
    length.div_ceil(FILE_BLOCK).saturating_mul(FILE_BLOCK)
}
