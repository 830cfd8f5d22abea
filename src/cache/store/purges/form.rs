//! How purges are written down, so that they hold for the next process. Pure
//! functions of bytes; the file is the business of the disk tier.
//!
//! Entries one after the other, each with its length, the complement of that,
//! and its checksum before it. An entry that was not written to its end was
//! never answered, and is left out. Anything else that is not as it was written
//! makes the whole unusable: which purges it held nobody knows. Numbers are
//! little endian; texts have their length before them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::{Order, Selector};

/// Names the form; the last byte is its version.
pub(in crate::cache::store) const MAGIC: [u8; 8] = *b"purges\0\x01";

/// Bytes before the content of an entry.
const PREFIX: usize = 2 * size_of::<u32>() + size_of::<u64>();

const EPOCH: u8 = 0;
const PURGE: u8 = 1;

const KEY: u8 = 0;
const PREFIX_OF_KEYS: u8 = 1;
const TAG: u8 = 2;

/// It is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of purges is damaged")]
pub(in crate::cache::store) struct Damaged;

/// What was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache::store) struct Noted {
    /// No epoch up to this one is begun again.
    pub(in crate::cache::store) last_epoch: u64,
    /// The purges, each with its epoch.
    pub(in crate::cache::store) purges: Vec<(u64, Order)>,
    /// So many bytes are whole entries.
    pub(in crate::cache::store) length: usize,
}

/// An entry that says which epochs are not begun again: those up to `last`.
pub(in crate::cache::store) fn epoch(last: u64) -> Vec<u8> {
    let mut content = vec![EPOCH];
    content.extend_from_slice(&last.to_le_bytes());
    entry(&content)
}

/// An entry for a purge.
pub(in crate::cache::store) fn purge(epoch: u64, order: &Order) -> Vec<u8> {
    let mut content = vec![PURGE];
    content.extend_from_slice(&epoch.to_le_bytes());
    let from = order.stale_from.map(|from| from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    content.push(u8::from(from.is_some()));
    let from = from.unwrap_or_default();
    content.extend_from_slice(&from.as_secs().to_le_bytes());
    content.extend_from_slice(&from.subsec_nanos().to_le_bytes());
    for selector in &*order.selectors {
        let (kind, text) = match selector {
            Selector::Key(key) => (KEY, key),
            Selector::Prefix(prefix) => (PREFIX_OF_KEYS, prefix),
            Selector::Tag(tag) => (TAG, tag),
        };
        content.push(kind);
        content.extend_from_slice(&length(text).to_le_bytes());
        content.extend_from_slice(text);
    }
    entry(&content)
}

/// Any bytes as the contents of entries that are whole, one a line.
#[cfg(fuzzing)]
pub(in crate::cache::store) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let entries = bytes.split(|byte| *byte == b'\n').flat_map(entry);
    MAGIC.into_iter().chain(epoch(0)).chain(entries).collect()
}

fn entry(content: &[u8]) -> Vec<u8> {
    let length = length(content);
    let mut entry = Vec::with_capacity(PREFIX + content.len());
    entry.extend_from_slice(&length.to_le_bytes());
    entry.extend_from_slice(&(!length).to_le_bytes());
    entry.extend_from_slice(&xxh3_64(content).to_le_bytes());
    entry.extend_from_slice(content);
    entry
}

/// A purge is far below 4 GiB: what it may name is bounded.
fn length(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// Reads what was written down.
pub(in crate::cache::store) fn read(bytes: &[u8]) -> Result<Noted, Damaged> {
    let mut rest = Reader(bytes);
    if rest.number() != Some(MAGIC) {
        return Err(Damaged);
    }
    let mut noted = Noted { length: MAGIC.len(), ..Noted::default() };
    while let Some(content) = rest.entry()? {
        Reader(content).note(&mut noted).ok_or(Damaged)?;
        noted.length += PREFIX + content.len();
    }
    // An epoch is written down before anything else is.
    if noted.length == MAGIC.len() { Err(Damaged) } else { Ok(noted) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next entry; `None` at the end, also where the last one
    /// was not written to its end.
    fn entry(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        // What a file was to have, and a loss of power took, is zero.
        if self.0.len() < PREFIX || self.0.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let (Some(length), Some(complement), Some(sum)) =
            (self.number().map(u32::from_le_bytes), self.number().map(u32::from_le_bytes), self.number())
        else {
            return Ok(None);
        };
        if length != !complement {
            return Err(Damaged);
        }
        let Some((content, rest)) = usize::try_from(length).ok().and_then(|end| self.0.split_at_checked(end))
        else {
            return Ok(None);
        };
        self.0 = rest;
        if xxh3_64(content).to_le_bytes() == sum { Ok(Some(content)) } else { Err(Damaged) }
    }

    fn note(&mut self, noted: &mut Noted) -> Option<()> {
        let [kind] = self.number()?;
        let epoch = self.number().map(u64::from_le_bytes)?;
        noted.last_epoch = noted.last_epoch.max(epoch);
        match kind {
            EPOCH => self.0.is_empty().then_some(()),
            PURGE => {
                noted.purges.push((epoch, self.order()?));
                Some(())
            }
            _ => None,
        }
    }

    fn order(&mut self) -> Option<Order> {
        let [is_soft] = self.number()?;
        let (seconds, nanos) =
            (self.number().map(u64::from_le_bytes)?, self.number().map(u32::from_le_bytes)?);
        let from = (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))?;
        let from = SystemTime::UNIX_EPOCH.checked_add(from)?;
        let mut selectors = Vec::new();
        while !self.0.is_empty() {
            let [kind] = self.number()?;
            let length = usize::try_from(self.number().map(u32::from_le_bytes)?).ok()?;
            let (text, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            selectors.push(match kind {
                KEY => Selector::Key(text.into()),
                PREFIX_OF_KEYS => Selector::Prefix(text.into()),
                TAG => Selector::Tag(text.into()),
                _ => return None,
            });
        }
        Some(Order { selectors: Arc::from(selectors), stale_from: (is_soft != 0).then_some(from) })
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn order() -> impl Strategy<Value = Order> {
        let text = || vec(any::<u8>(), 0..20).prop_map(Vec::into_boxed_slice);
        let selector = prop_oneof![
            text().prop_map(Selector::Key),
            text().prop_map(Selector::Prefix),
            text().prop_map(Selector::Tag),
        ];
        let time = (0..1_u64 << 40, 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        (vec(selector, 0..4), proptest::option::of(time))
            .prop_map(|(selectors, stale_from)| Order { selectors: selectors.into(), stale_from })
    }

    fn file(purges: &[(u64, Order)]) -> Vec<u8> {
        let mut file = [&MAGIC[..], &epoch(9)].concat();
        purges.iter().for_each(|(epoch, order)| file.extend(purge(*epoch, order)));
        file
    }

    proptest! {
        #[test]
        fn what_is_noted_is_read(purges in vec((any::<u64>(), order()), 0..5)) {
            let file = file(&purges);
            let last_epoch = purges.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0).max(9);
            prop_assert_eq!(read(&file), Ok(Noted { last_epoch, purges, length: file.len() }));
        }

        /// Cut anywhere, or with zeros at the end: what was whole is there.
        #[test]
        fn what_was_not_written_to_its_end_is_left_out(
            purges in vec((any::<u64>(), order()), 1..4),
            cut in any::<prop::sample::Index>(),
            zeros in 0..40_usize,
        ) {
            let whole = file(&purges[..purges.len() - 1]);
            let all = file(&purges);
            let cut = whole.len() + cut.index(all.len() - whole.len());
            let kept = Ok(read(&whole).unwrap());
            prop_assert_eq!(&read(&all[..cut]), &kept);
            prop_assert_eq!(&read(&[&whole[..], &vec![0; zeros]].concat()), &kept);
        }

        #[test]
        fn what_was_changed_is_refused_or_left_out(
            purges in vec((any::<u64>(), order()), 1..4),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut changed = file(&purges);
            let at = place.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert_eq!(read(&changed), Err(Damaged));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
            let _ = read(&[&MAGIC[..], &bytes].concat());
            let _ = read(&[&MAGIC[..], &entry(&bytes)].concat());
        }
    }

    /// Whose checksum is right all the same.
    #[test]
    fn a_time_that_is_none_is_damage() {
        let purge = |seconds: u64, nanos: u32| {
            [&[PURGE][..], &[9; 8], &[1], &seconds.to_le_bytes(), &nanos.to_le_bytes()].concat()
        };
        for (seconds, nanos, is_time) in [
            (1, 999_999_999, true),
            (1, 1_000_000_000, false),
            (u64::MAX, u32::MAX, false),
            (u64::MAX, 0, false),
        ] {
            let file = [&MAGIC[..], &epoch(9), &entry(&purge(seconds, nanos))].concat();
            assert_eq!(read(&file).is_ok(), is_time, "{seconds} {nanos}");
        }
    }

    #[test]
    fn an_empty_file_is_damaged() {
        for bytes in [&b""[..], &MAGIC, &MAGIC[..5]] {
            assert_eq!(read(bytes), Err(Damaged));
        }
    }
}
