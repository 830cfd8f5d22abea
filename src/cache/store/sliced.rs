//! A large content in slices: where each lies and what it is kept under. It
//! knows nothing of which slices there are.

use std::ops::Range;

use crate::base::random_id;
use crate::policy::CacheKey;

/// Bytes of a slice; only the last one of a content is shorter.
pub(in crate::cache) const SLICE: u64 = 8 << 20;

/// How a content is cut into slices. Each is a record of its own, fetched,
/// stored and evicted on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Sliced {
    /// Bytes of the whole content.
    pub(in crate::cache) length: u64,
    /// Bytes of a slice.
    pub(in crate::cache) slice: u64,
    /// Names this one content among all that were ever kept under a key: the
    /// slices of one that was replaced, invalidated or purged are never found
    /// again, whatever its validator.
    pub(in crate::cache) id: u128,
}

impl Sliced {
    /// A new content of `length` bytes, of which no slice is stored.
    pub(in crate::cache) fn new(length: u64, slice: u64) -> Self {
        Self { length, slice: slice.max(1), id: random_id() }
    }

    /// As it was written; `None` unless it has slices.
    pub(super) fn from_parts(length: u64, slice: u64, id: u128) -> Option<Self> {
        (slice > 0).then_some(Self { length, slice, id })
    }

    /// The number of the slice that has the byte at `offset`.
    pub(in crate::cache) fn at(self, offset: u64) -> u64 {
        offset / self.slice
    }

    /// Where a slice lies; empty behind the end.
    pub(in crate::cache) fn range(self, number: u64) -> Range<u64> {
        let start = number.saturating_mul(self.slice).min(self.length);
        start..start.saturating_add(self.slice).min(self.length)
    }

    /// What a slice of a response that is kept under `key` is kept under: no
    /// key of a response has a third NUL.
    pub(in crate::cache) fn key(self, key: &CacheKey, number: u64) -> CacheKey {
        let mut bytes = key.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        CacheKey::new(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_slice_has_a_key_of_its_own() {
        let key = CacheKey::new(b"https\0a.test\0/");
        let [one, other] = [(), ()].map(|()| Sliced::new(100, 10));
        let keys: BTreeSet<_> = [one, other]
            .iter()
            .flat_map(|sliced| (0..10).map(|number| sliced.key(&key, number).as_bytes().to_vec()))
            .collect();
        assert_eq!(keys.len(), 20);
    }

    proptest! {
        #[test]
        fn slices_lie_one_after_the_other(length in 0..10_000_u64, slice in 1..200_u64) {
            let sliced = Sliced::new(length, slice);
            let (mut at, mut number) = (0, 0);
            while at < length {
                let range = sliced.range(number);
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > at && range.end - at <= slice);
                prop_assert_eq!((sliced.at(range.start), sliced.at(range.end - 1)), (number, number));
                (at, number) = (range.end, number + 1);
            }
            prop_assert_eq!(at, length);
            prop_assert!(sliced.range(number).is_empty());
            prop_assert!(sliced.range(u64::MAX).is_empty());
        }
    }
}
