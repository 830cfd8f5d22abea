//! What the file of a record is called: by the key it is kept under and the
//! variant it is, so that it is found without an index.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};

use crate::policy::CacheKey;

/// How many directories the files are shared out among. A million records make
/// 250 files in each; two levels of 256 would be 65,536 directories, each with
/// a block and an inode of its own.
pub(super) const LEAVES: u16 = 1 << 12;

/// Bits of a key's hash that do not say in which leaf its files are.
const WITHIN_LEAF: u32 = u128::BITS - LEAVES.ilog2();

/// Half of the SHA-256 of a key: nobody can choose keys that share one. The
/// whole key is in the record all the same, and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(pub(super) u128);

impl KeyId {
    /// That of `key`.
    pub(super) fn of(key: &CacheKey) -> Self {
        let digest = digest(&SHA256, key.as_bytes());
        let half = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u128::from_be_bytes(half))
    }

    /// The directory its files are in.
    pub(super) fn leaf(self) -> Leaf {
        Leaf(u16::try_from(self.0 >> WITHIN_LEAF).unwrap_or_default())
    }

    /// The least one whose files are in `leaf`.
    pub(super) fn first_of(leaf: Leaf) -> Self {
        Self(u128::from(leaf.0) << WITHIN_LEAF)
    }

    /// The greatest one.
    pub(super) fn last_of(leaf: Leaf) -> Self {
        Self(Self::first_of(leaf).0 | ((1 << WITHIN_LEAF) - 1))
    }
}

/// One of the [`LEAVES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf(pub(super) u16);

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03x}", self.0)
    }
}

/// The name of a record; its text is the path of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    /// Whose response it is.
    pub(super) key: KeyId,
    /// Which of them, as `record::variant` says.
    pub(super) variant: u64,
}

impl Name {
    /// The name of a file found in `leaf`; `None` if it is none of ours.
    pub(super) fn parse(leaf: Leaf, file: &[u8]) -> Option<Self> {
        let (key, variant) = std::str::from_utf8(file).ok()?.split_once('-')?;
        let key = KeyId(u128::from_str_radix(key, 16).ok()?);
        let name = Self { key, variant: u64::from_str_radix(variant, 16).ok()? };
        (key.leaf() == leaf && name.file().as_bytes() == file).then_some(name)
    }

    /// The names that records of a key may have.
    pub(super) fn all_of(key: KeyId) -> RangeInclusive<Self> {
        Self { key, variant: 0 }..=Self { key, variant: u64::MAX }
    }

    /// The name within its leaf.
    pub(super) fn file(self) -> String {
        format!("{:032x}-{:016x}", self.key.0, self.variant)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.leaf(), self.file())
    }
}

/// One record among all that ever had its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct RecordId {
    pub(super) name: Name,
    /// Orders what was stored by this process; 0 for what it found.
    pub(super) sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again() {
        let key = KeyId::of(&CacheKey::new(b"https\0a.test\0/"));
        let name = Name { key, variant: 0x12 };
        let (leaf, file) = (key.leaf(), name.file());
        assert_eq!(name.to_string(), format!("{leaf}/{file}"));
        assert_eq!(Name::parse(leaf, file.as_bytes()), Some(name));
        assert_eq!(Name::parse(Leaf(leaf.0 ^ 1), file.as_bytes()), None);
        for foreign in [&b"index.html"[..], b"", b"-", b"\xff-1", file.to_uppercase().as_bytes()] {
            assert_eq!(Name::parse(leaf, foreign), None);
        }
        assert_eq!(Name::parse(leaf, format!("+{}", &file[1..]).as_bytes()), None);
    }

    #[test]
    fn keys_are_spread_over_all_leaves() {
        assert_eq!(KeyId(0).leaf(), Leaf(0));
        assert_eq!(KeyId(u128::MAX).leaf(), Leaf(LEAVES - 1));
        for leaf in [0, 1, 0x7ff, LEAVES - 1].map(Leaf) {
            let (first, last) = (KeyId::first_of(leaf), KeyId::last_of(leaf));
            assert_eq!((first.leaf(), last.leaf()), (leaf, leaf));
            assert!(first.0.checked_sub(1).is_none_or(|before| KeyId(before).leaf() != leaf));
            assert!(last.0.checked_add(1).is_none_or(|after| KeyId(after).leaf() != leaf));
        }
    }
}
