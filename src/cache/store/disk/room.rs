//! What room a file system has, and how much of it the disk tier leaves to
//! others.

use std::io;

use rustix::fd::OwnedFd;
use rustix::fs::fstatvfs;

/// Free space of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes, free and in all.
    bytes: (u64, u64),
    /// Files, free and in all; no file system without a limit has any.
    files: (u64, u64),
}

/// What stays free of a file system for others: a hundredth, but of a small
/// one more, and of a large one no more than anybody needs.
#[derive(Clone, Copy, Debug)]
struct Reserve {
    least: u64,
    most: u64,
}

const FREE_BYTES: Reserve = Reserve { least: 64 << 20, most: 4 << 30 };
const FREE_FILES: Reserve = Reserve { least: 1 << 12, most: 1 << 20 };

impl Reserve {
    /// Of `all`: never more than a twentieth.
    fn of(self, all: u64) -> u64 {
        (all / 100).clamp(self.least, self.most).min(all / 20)
    }
}

impl Room {
    /// That of the file system of an open directory.
    pub(super) fn of(directory: &OwnedFd) -> io::Result<Self> {
        let found = fstatvfs(directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self {
            bytes: (bytes(found.f_bavail), bytes(found.f_blocks)),
            files: (found.f_favail, found.f_files),
        })
    }

    /// True if there is room for a file of so many bytes, and enough stays free.
    pub(super) fn has(self, bytes: u64) -> bool {
        let has = |(free, all): (u64, u64), reserve: Reserve, more: u64| {
            all == 0 || free > reserve.of(all).saturating_add(more)
        };
        has(self.bytes, FREE_BYTES, bytes) && has(self.files, FREE_FILES, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_every_file_system_stays_free() {
        let gib = |gib: u64| gib << 30;
        for (all, free) in [(1 << 20, (1 << 20) / 20), (gib(1), gib(1) / 20), (gib(2), 64 << 20)] {
            assert_eq!(FREE_BYTES.of(all), free);
        }
        assert_eq!((FREE_BYTES.of(gib(100)), FREE_BYTES.of(gib(10_000))), (gib(1), gib(4)));
        let room = |free: u64, files: u64| Room { bytes: (free, gib(100)), files: (files, 10_000_000) };
        assert!(room(gib(2), 200_000).has(gib(1) - 1));
        assert!(!room(gib(2), 200_000).has(gib(1)), "of bytes");
        assert!(!room(gib(2), 100_001).has(1), "of files");
        assert!(!room(gib(2), 200_000).has(u64::MAX));
        let unlimited = Room { bytes: (gib(2), gib(100)), files: (0, 0) };
        assert!(unlimited.has(1), "a file system that has no limit of files");
    }
}
