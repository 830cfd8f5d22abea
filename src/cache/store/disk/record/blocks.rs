//! The checksums of a content, block by block: a part of it can be read and
//! checked without the rest.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a block; only the last one is shorter.
pub(in super::super) const BLOCK: usize = 256 << 10;

/// The length of a content and the checksum of each of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Blocks {
    length: u64,
    sums: Arc<[u64]>,
}

impl Blocks {
    /// Those of `content`.
    pub(in super::super) fn of(content: &[u8]) -> Self {
        let sums = content.chunks(BLOCK).map(xxh3_64).collect();
        Self { length: content.len() as u64, sums }
    }

    /// As they were written; `None` unless there are as many sums as blocks.
    pub(super) fn from_parts(length: u64, sums: Arc<[u64]>) -> Option<Self> {
        (length.div_ceil(BLOCK as u64) == sums.len() as u64).then_some(Self { length, sums })
    }

    /// The length of the content.
    pub(in super::super) fn length(&self) -> u64 {
        self.length
    }

    /// How many blocks there are.
    pub(in super::super) fn count(&self) -> usize {
        self.sums.len()
    }

    /// The block that has the byte at `offset`.
    pub(in super::super) fn at(offset: u64) -> usize {
        usize::try_from(offset / BLOCK as u64).unwrap_or(usize::MAX)
    }

    /// Where a block lies in the content.
    pub(in super::super) fn range(&self, block: usize) -> Range<u64> {
        let start = (block as u64).saturating_mul(BLOCK as u64).min(self.length);
        start..(start + BLOCK as u64).min(self.length)
    }

    /// Are these the bytes of the block?
    pub(in super::super) fn holds(&self, block: usize, bytes: &[u8]) -> bool {
        let range = self.range(block);
        bytes.len() as u64 == range.end - range.start
            && self.sums.get(block).is_some_and(|sum| *sum == xxh3_64(bytes))
    }

    pub(super) fn sums(&self) -> &[u64] {
        &self.sums
    }
}
