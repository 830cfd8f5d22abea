//! The form of a record: one stored response in one file. Pure functions of
//! bytes; files are the business of `directory`.
//!
//! A head, then the content as it is. The head begins with eight bytes that
//! name the form, its own length and its checksum, so that a file that was
//! torn, truncated or changed by somebody else is refused before anything in
//! it is believed. It ends in the checksums of the content's blocks, each of
//! which is compared before a byte of the block is used. Numbers are little
//! endian; texts have their length before them.

mod blocks;
mod decode;
mod encode;

#[cfg(test)]
mod tests;

use crate::policy::LifetimeSource;

pub(super) use blocks::{BLOCK, Blocks};
pub(super) use decode::{Decoded, Refused, decode, head_length};
pub(super) use encode::{encode, variant};

/// Names the form; the last byte is its version. What another version wrote is
/// refused, and so fetched again.
const MAGIC: [u8; 8] = *b"seawall\x02";

/// Bytes before the part of the head that the checksum is of: the magic, the
/// length of the head and the checksum.
pub(super) const PREFIX: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>();

/// The longest head: enough for every field section that is let in, and for
/// the checksums of 16 GiB.
pub(super) const LONGEST_HEAD: usize = 1 << 20;

/// Sources of a lifetime; the place in this list is what is written.
const SOURCES: [LifetimeSource; 9] = [
    LifetimeSource::None,
    LifetimeSource::SharedMaxAge,
    LifetimeSource::MaxAge,
    LifetimeSource::Expires,
    LifetimeSource::Targeted,
    LifetimeSource::Route,
    LifetimeSource::Heuristic,
    LifetimeSource::Negative,
    LifetimeSource::Default,
];

/// Beside the source of a lifetime: it was ended early.
const ENDED: u8 = 0x80;

/// Any bytes behind a prefix that is right.
#[cfg(fuzzing)]
pub(super) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(PREFIX + bytes.len()).unwrap_or(u32::MAX);
    let sum = xxhash_rust::xxh3::xxh3_64(bytes);
    [&MAGIC[..], &length.to_le_bytes(), &sum.to_le_bytes(), bytes].concat()
}

/// A number that stands for absence in a place of one byte.
const ABSENT: u8 = 0;
/// The same for presence.
const PRESENT: u8 = 1;
