//! One record that is open: its head was read and checked, its content is read
//! block by block and each block checked before a byte of it is used.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::sync::OnceCell;

use super::directory::Access;
use super::name::RecordId;
use super::record::{self, BLOCK, Blocks, Decoded, PREFIX, Refused};
use crate::cache::store::Sliced;
use crate::policy::{CacheKey, StoredHead};

/// A record up to this length is read at once, head and content.
const AT_ONCE: u64 = 64 << 10;

/// Bytes of a longer one that are read first: most heads.
pub(super) const HEAD_READ: usize = 4 << 10;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is not what was written: it has to go.
    #[error("a damaged record")]
    Damaged(#[from] Refused),
    /// The disk failed, or would have to be waited for.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open record. Its file stays what it is even if it is replaced, evicted
/// or purged meanwhile.
#[derive(Debug)]
pub(super) struct RecordFile {
    pub(super) id: RecordId,
    pub(super) blocks: Blocks,
    /// How the content is kept in other records, if it is.
    pub(super) sliced: Option<Sliced>,
    /// It was asked for after the purges up to this one.
    pub(super) epoch: u64,
    file: File,
    head_length: u64,
    /// The content, if all of it came with the head.
    first: Option<Bytes>,
    /// The content, once it was loaded for one of those who share the record.
    pub(super) loaded: OnceCell<Bytes>,
}

impl RecordFile {
    /// Reads the head of a file, which has to be that of a response kept under
    /// `key`.
    pub(super) fn open(
        file: File,
        id: RecordId,
        key: &CacheKey,
        access: Access,
    ) -> Result<(Self, StoredHead), ReadError> {
        let (record, head, found) = Self::open_any(file, id, AT_ONCE, access)?;
        if found[..] != *key.as_bytes() {
            return Err(Refused::Foreign.into());
        }
        Ok((record, head))
    }

    /// Reads the head of a file, and the key it says it is kept under; of a file
    /// that is not longer than `at_once` the content, too.
    pub(super) fn open_any(
        file: File,
        id: RecordId,
        at_once: u64,
        access: Access,
    ) -> Result<(Self, StoredHead, Box<[u8]>), ReadError> {
        let length = file.metadata()?.len();
        let all = usize::try_from(length).unwrap_or(usize::MAX);
        let first_read = if length <= at_once { all } else { all.min(HEAD_READ) };
        let mut start = read_at(&file, 0, first_read, access)?;
        let prefix = start.get(..PREFIX).ok_or(Refused::Length)?;
        let head_length = record::head_length(prefix)?;
        if head_length > start.len() {
            start = read_at(&file, 0, head_length, access)?;
        }
        let bytes = start.get(..head_length).ok_or(Refused::Length)?;
        let Decoded { key, epoch, head, sliced, blocks } = record::decode(bytes)?;
        let head_length = head_length as u64;
        if record::variant(&head) != id.name.variant {
            return Err(Refused::Foreign.into());
        }
        if length != head_length + blocks.length() {
            return Err(Refused::Length.into());
        }
        let first = (start.len() == all).then(|| start.slice(bytes.len()..));
        let loaded = OnceCell::new();
        Ok((Self { id, blocks, sliced, epoch, file, head_length, first, loaded }, head, key))
    }

    /// A block of the content.
    pub(super) fn block(&self, block: usize, access: Access) -> Result<Bytes, ReadError> {
        let range = self.blocks.range(block);
        let length = usize::try_from(range.end - range.start).unwrap_or(BLOCK);
        let read = match &self.first {
            // Only a content of one block comes with the head.
            Some(first) => first.clone(),
            None => read_at(&self.file, self.head_length + range.start, length, access)?,
        };
        if self.blocks.holds(block, &read) { Ok(read) } else { Err(Refused::Checksum.into()) }
    }

    /// All of the content, in a buffer of exactly its size.
    pub(super) fn whole(&self, access: Access) -> Result<Bytes, ReadError> {
        if self.blocks.count() == 1 && self.first.is_none() {
            return self.block(0, access);
        }
        let mut whole = Vec::with_capacity(usize::try_from(self.blocks.length()).unwrap_or_default());
        for block in 0..self.blocks.count() {
            whole.extend_from_slice(&self.block(block, access)?);
        }
        Ok(whole.into())
    }

    /// Copies the content behind what was written to `target`, inside the
    /// kernel where it can.
    pub(super) fn copy_to(&self, mut target: &File) -> io::Result<()> {
        let mut from = self.head_length;
        let end = from + self.blocks.length();
        while from < end {
            let left = usize::try_from(end - from).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(&self.file, Some(&mut from), target, None, left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    let block = read_at(&self.file, from, left.min(BLOCK), Access::Waiting)?;
                    io::Write::write_all(&mut target, &block)?;
                    from += block.len() as u64;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Reads as many bytes as there are, `length` at most.
fn read_at(file: &File, offset: u64, length: usize, access: Access) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(length);
    let mut read = 0;
    while read < length {
        let at = offset + read as u64;
        let taken = match access {
            Access::Waiting => file.read_at(&mut buffer[read..], at),
            Access::Cached => cached_at(file, at, &mut buffer[read..]),
        };
        match taken {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(read);
    Ok(buffer.freeze())
}

/// Reads what is in memory, without waiting for the disk.
fn cached_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    match preadv2(file, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT) {
        // Not every file system can tell.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        read => Ok(read?),
    }
}

/// The content of a record, shared by those who read it.
#[derive(Clone, Debug)]
pub(in crate::cache) struct FileBody {
    pub(super) record: Arc<RecordFile>,
    pub(super) disk: Arc<super::Disk>,
}

impl FileBody {
    /// True for the content of the same record.
    pub(in crate::cache) fn is(&self, other: &Self) -> bool {
        self.record.id == other.record.id
    }

    /// How long it is.
    pub(in crate::cache) fn length(&self) -> u64 {
        self.record.blocks.length()
    }
}
