//! Where the content of a stored response is.

use bytes::Bytes;

use super::disk::FileBody;

/// The content of a stored response. The memory tier keeps none that is on the
/// disk: it would keep a file open.
#[derive(Clone, Debug)]
pub(in crate::cache) enum StoredBody {
    /// In memory, in a buffer of exactly its size.
    Memory(Bytes),
    /// On the disk only.
    File(FileBody),
}

impl StoredBody {
    /// Bytes of memory it takes.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_) => 0,
        }
    }
}
