//! Which purges that are under way cover a stored response: a pure function of
//! its key, its tags and the epoch in which it was asked for.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::time::SystemTime;

use foldhash::fast::RandomState;

/// What a purge names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Selector {
    /// One key, byte for byte.
    Key(Box<[u8]>),
    /// All keys that begin with this.
    Prefix(Box<[u8]>),
    /// All responses that have this tag.
    Tag(Box<[u8]>),
}

/// What purges make of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Verdict {
    /// None covers it.
    Kept,
    /// It counts as stale from this time on.
    Stale {
        /// When the earliest of them came.
        from: SystemTime,
        /// The epoch of that one.
        by: u64,
    },
    /// It is there no more.
    Gone {
        /// The epoch of the purge that covers it.
        by: u64,
    },
}

/// What the purges under way name.
#[derive(Debug, Default)]
pub(super) struct Table {
    keys: HashMap<Box<[u8]>, Marks, RandomState>,
    prefixes: BTreeMap<Box<[u8]>, Marks>,
    tags: HashMap<Box<[u8]>, Marks, RandomState>,
}

/// The purges that name the same, the oldest first.
type Marks = Vec<Mark>;

#[derive(Clone, Copy, Debug)]
struct Mark {
    epoch: u64,
    /// Since when what it covers is stale; `None`: that is gone.
    stale_from: Option<SystemTime>,
}

impl Table {
    /// Enters a purge, which has to be newer than all that are in it.
    pub(super) fn enter(&mut self, selector: &Selector, epoch: u64, stale_from: Option<SystemTime>) {
        let marks = match selector {
            Selector::Key(key) => self.keys.entry(key.clone()).or_default(),
            Selector::Prefix(prefix) => self.prefixes.entry(prefix.clone()).or_default(),
            Selector::Tag(tag) => self.tags.entry(tag.clone()).or_default(),
        };
        if stale_from.is_none() {
            marks.clear();
        }
        marks.push(Mark { epoch, stale_from });
    }

    /// Takes a purge out, unless a newer one has taken its place.
    pub(super) fn leave(&mut self, selector: &Selector, epoch: u64) {
        fn strike(marks: &mut Marks, epoch: u64) -> bool {
            marks.retain(|mark| mark.epoch != epoch);
            marks.is_empty()
        }
        match selector {
            Selector::Key(key) => {
                if self.keys.get_mut(key).is_some_and(|marks| strike(marks, epoch)) {
                    self.keys.remove(key);
                }
            }
            Selector::Prefix(prefix) => {
                if self.prefixes.get_mut(prefix).is_some_and(|marks| strike(marks, epoch)) {
                    self.prefixes.remove(prefix);
                }
            }
            Selector::Tag(tag) => {
                if self.tags.get_mut(tag).is_some_and(|marks| strike(marks, epoch)) {
                    self.tags.remove(tag);
                }
            }
        }
    }

    /// What becomes of a response that was asked for in `epoch`.
    pub(super) fn judge<'a>(&self, key: &[u8], tags: impl Iterator<Item = &'a [u8]>, epoch: u64) -> Verdict {
        let mut verdict = Verdict::Kept;
        let mut consider = |marks: &Marks| {
            for mark in marks.iter().filter(|mark| mark.epoch > epoch) {
                verdict = verdict.and(mark);
            }
        };
        self.keys.get(key).into_iter().for_each(&mut consider);
        self.prefixes_of(key).for_each(&mut consider);
        if !self.tags.is_empty() {
            tags.filter_map(|tag| self.tags.get(tag)).for_each(&mut consider);
        }
        verdict
    }

    /// The marks of all prefixes of `key`, the longest first. A prefix of the
    /// key is not greater than the key; and between one that is none and what it
    /// has in common with the key there is none either.
    fn prefixes_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Marks> {
        let mut upper: Option<Bound<&[u8]>> = Some(Included(key));
        std::iter::from_fn(move || {
            loop {
                let found = self.prefixes.range::<[u8], _>((Unbounded, upper?)).next_back();
                let Some((prefix, marks)) = found else {
                    upper = None;
                    continue;
                };
                let common = key.iter().zip(prefix).take_while(|(one, other)| one == other).count();
                if common == prefix.len() {
                    upper = Some(Excluded(&key[..common]));
                    return Some(marks);
                }
                upper = Some(Included(&key[..common]));
            }
        })
    }
}

impl Verdict {
    /// The verdict once another purge covers the response, too.
    fn and(self, mark: &Mark) -> Self {
        match (self, mark.stale_from) {
            (Self::Gone { .. }, _) => self,
            (_, None) => Self::Gone { by: mark.epoch },
            (Self::Stale { from, .. }, Some(other)) if from <= other => self,
            (_, Some(from)) => Self::Stale { from, by: mark.epoch },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn selector() -> impl Strategy<Value = Selector> {
        prop_oneof![
            "[ab]{0,4}".prop_map(|text| Selector::Key(text.into_bytes().into())),
            "[ab]{0,4}".prop_map(|text| Selector::Prefix(text.into_bytes().into())),
            "[ab]{1,2}".prop_map(|text| Selector::Tag(text.into_bytes().into())),
        ]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(Vec<Selector>, bool),
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (vec(selector(), 1..4), any::<bool>()).prop_map(|(what, soft)| Step::Enter(what, soft)),
            1 => (0..30_usize).prop_map(Step::Leave),
        ]
    }

    struct Naive {
        selectors: Vec<Selector>,
        epoch: u64,
        stale_from: Option<SystemTime>,
    }

    impl Naive {
        fn covers(&self, key: &[u8], tags: &[&[u8]]) -> bool {
            self.selectors.iter().any(|selector| match selector {
                Selector::Key(one) => **one == *key,
                Selector::Prefix(prefix) => key.starts_with(prefix),
                Selector::Tag(tag) => tags.contains(&&**tag),
            })
        }
    }

    proptest! {
        /// What a list of purges says that is gone through one by one.
        #[test]
        fn the_table_says_what_a_list_says(
            steps in vec(step(), 0..20),
            responses in vec(("[ab]{0,5}", vec("[ab]{1,2}", 0..3), 0..20_u64), 1..10),
        ) {
            let (mut table, mut list) = (Table::default(), Vec::<Naive>::new());
            for (epoch, step) in (1..).zip(steps) {
                match step {
                    Step::Enter(selectors, soft) => {
                        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
                        let stale_from = soft.then_some(time);
                        selectors.iter().for_each(|selector| table.enter(selector, epoch, stale_from));
                        list.push(Naive { selectors, epoch, stale_from });
                    }
                    Step::Leave(at) if at < list.len() => {
                        // As they do, the oldest first: what is left covers no less.
                        for gone in list.drain(..=at) {
                            gone.selectors.iter().for_each(|selector| table.leave(selector, gone.epoch));
                        }
                    }
                    Step::Leave(_) => {}
                }
            }
            for (key, tags, epoch) in &responses {
                let tags: Vec<&[u8]> = tags.iter().map(String::as_bytes).collect();
                let found = table.judge(key.as_bytes(), tags.iter().copied(), *epoch);
                let covering = |hard: bool| {
                    let purges = list.iter().filter(|purge| purge.epoch > *epoch);
                    let mut purges = purges.filter(|purge| purge.covers(key.as_bytes(), &tags));
                    purges.find(|purge| purge.stale_from.is_none() == hard)
                };
                match found {
                    Verdict::Gone { by } => {
                        prop_assert!(covering(true).is_some());
                        prop_assert!(list.iter().any(|purge| purge.epoch == by));
                    }
                    Verdict::Stale { from, by } => {
                        prop_assert!(covering(true).is_none());
                        let first = covering(false).unwrap();
                        prop_assert_eq!((Some(from), by), (first.stale_from, first.epoch));
                    }
                    Verdict::Kept => prop_assert!(covering(true).is_none() && covering(false).is_none()),
                }
            }
            for purge in list.drain(..) {
                purge.selectors.iter().for_each(|selector| table.leave(selector, purge.epoch));
            }
            prop_assert!(table.keys.is_empty() && table.prefixes.is_empty() && table.tags.is_empty());
        }
    }
}
