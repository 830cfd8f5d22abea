//! Where the content of a stored response is.

use bytes::Bytes;

use super::Sliced;
use super::disk::FileBody;
use crate::base::allocated;

/// The content of a stored response. The memory tier keeps none that is in a
/// file: it would keep the file open.
#[derive(Clone, Debug)]
pub(in crate::cache) enum StoredBody {
    /// In memory, in a buffer of exactly its size.
    Memory(Bytes),
    /// On the disk only.
    File(FileBody),
    /// In slices, of which some are on the disk and the others are fetched when
    /// they are asked for; apart, for few are.
    Sliced(Box<Sliced>),
}

impl StoredBody {
    /// True for the same bytes in the same place.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(one), Self::Memory(other)) => {
                one.as_ptr() == other.as_ptr() && one.len() == other.len()
            }
            (Self::File(one), Self::File(other)) => one.is(other),
            (Self::Sliced(one), Self::Sliced(other)) => one == other,
            (Self::Memory(_) | Self::File(_) | Self::Sliced(_), _) => false,
        }
    }

    /// How long it is.
    pub(in crate::cache) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(body) => body.length(),
            Self::Sliced(sliced) => sliced.length,
        }
    }

    /// What of it is in memory: all or nothing.
    pub(in crate::cache) fn in_memory(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(_) | Self::Sliced(_) => &[],
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Memory(bytes) => allocated(bytes.len()),
            Self::File(_) | Self::Sliced(_) => 0,
        }
    }
}
