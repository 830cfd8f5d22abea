//! The directory of the disk tier: one process at a time, records that appear
//! whole or not at all, and a purge that is one rename. What is in a record it
//! does not know.
//!
//! ```text
//! CACHEDIR.TAG      says that all of this may be deleted; the lock
//! new/              records being written; emptied at the start
//! records/3f2/...   records, by their names
//! purged-...        what a purge set aside, until it is deleted
//! purges            purges that are under way
//! index             what is in records/, from a clean stop to the next start
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use rustix::fd::OwnedFd;
use rustix::fs::{self as at, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::name::{Leaf, Name};
use super::room::Room;

/// What every tool knows a cache by that backups may leave out
/// (the Cache Directory Tagging Specification).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# The disk cache of Seawall.\n";
const TAG_FILE: &str = "CACHEDIR.TAG";
const NEW: &str = "new";
const RECORDS: &str = "records";
/// What takes the place of the records in a purge.
const NEXT: &str = "next";
const PURGED: &str = "purged-";

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const CREATE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error("another process uses it")]
    InUse,
    #[error("it holds other files than a cache's; give the cache an empty directory")]
    NotOurs,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for DirectoryError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// May the disk be waited for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// No: only what is in memory is taken. What is not is
    /// [`io::ErrorKind::WouldBlock`].
    Cached,
    /// Yes; not on a thread that serves others.
    Waiting,
}

/// An open directory, locked for as long as it is, or until it is left to another
/// process.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    root: OwnedFd,
    new: OwnedFd,
    held: RwLock<Option<Held>>,
    serial: AtomicU64,
    sweeping: Mutex<()>,
}

/// What is there as long as the directory is ours.
#[derive(Debug)]
struct Held {
    records: OwnedFd,
    _lock: File,
}

/// Nothing is changed in a directory that is another process's by now.
#[derive(Debug, thiserror::Error)]
#[error("the directory was left to another process")]
struct Left;

/// True of an error that says no more than that the directory was left.
pub(super) fn is_of_left(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Left>)
}

impl Directory {
    /// Opens or makes it. Of a file system that is full or read-only this is an
    /// error; what a crash left half done is cleared away.
    pub(super) fn open(path: &Path) -> Result<Self, DirectoryError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = lock(path)?;
        let root = at::openat(CWD, path, DIRECTORY, Mode::empty())?;
        let new = subdirectory(&root, NEW)?;
        for (file, _) in entries(&new)? {
            let _ = at::unlinkat(&new, file, AtFlags::empty());
        }
        let records = subdirectory(&root, RECORDS)?;
        Ok(Self {
            path: path.to_owned(),
            root,
            new,
            held: RwLock::new(Some(Held { records, _lock: lock })),
            serial: AtomicU64::new(0),
            sweeping: Mutex::default(),
        })
    }

    /// A record that nobody sees yet.
    pub(super) fn begin(&self) -> io::Result<NewRecord<'_>> {
        // A process that left the directory may still have records here that it began.
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:x}-{serial:x}", std::process::id());
        let file = at::openat(&self.new, name.as_str(), CREATE, Mode::RUSR | Mode::WUSR)?;
        Ok(NewRecord { directory: self, name, file: File::from(file) })
    }

    /// The records as they are; no purge comes between while this is held.
    pub(super) fn records(&self) -> Records<'_> {
        Records(self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves it to another process: waits for what is being done here, and has
    /// everything fail from then on.
    pub(super) fn leave(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes away all records at once, also from a process that is started
    /// after this one was killed; then has them `forgotten`, before anybody sees
    /// those that are stored next, and in any case.
    pub(super) fn set_aside<T>(&self, forgotten: impl FnOnce() -> T) -> (io::Result<()>, T) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let aside = match held.as_mut() {
            Some(held) => self.replace_records(&mut held.records),
            None => Err(io::Error::other(Left)),
        };
        (aside, forgotten())
    }

    fn replace_records(&self, records: &mut OwnedFd) -> io::Result<()> {
        // Made first: a disk that is full leaves everything as it was.
        let next = subdirectory(&self.root, NEXT)?;
        loop {
            // Never a name that is being swept now.
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            match at::renameat(&self.root, RECORDS, &self.root, format!("{PURGED}{serial}")) {
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                renamed => {
                    renamed?;
                    break;
                }
            }
        }
        *records = next;
        at::renameat(&self.root, NEXT, &self.root, RECORDS)?;
        // No request waits for this: a purge outlives a loss of power, too.
        Ok(at::fsync(&self.root)?)
    }

    /// Opens a file beside the records to read it; `None` if there is none.
    pub(super) fn open_file(&self, name: &str) -> io::Result<Option<File>> {
        self.open_with(name, READ)
    }

    /// Opens a file beside the records and has it `written` to.
    pub(super) fn write_to_file(
        &self,
        name: &str,
        written: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let _held = self.records().held()?;
        let opened = self.open_with(name, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW)?;
        written(&opened.ok_or(io::ErrorKind::NotFound)?)
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<Option<File>> {
        match at::openat(&self.root, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(Some(File::from(opened?))),
        }
    }

    /// Takes the file of this name away, for good; `None` if there is none. Waits
    /// for the disk.
    pub(super) fn take_file(&self, name: &str) -> io::Result<Option<File>> {
        let opened = self.open_file(name)?;
        if opened.is_some() {
            at::unlinkat(&self.root, name, AtFlags::empty())?;
            at::fsync(&self.root)?;
        }
        Ok(opened)
    }

    /// Puts a file beside the records. After a loss of power it may be there in
    /// part, or not at all.
    pub(super) fn put_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let _held = self.records().held()?;
        let mut new = self.begin()?;
        new.file.write_all(content)?;
        at::renameat(&self.new, new.name.as_str(), &self.root, name)?;
        new.name.clear();
        Ok(())
    }

    /// Puts a file beside the records, whole and for good, in place of the one
    /// that has its name. Waits for the disk.
    pub(super) fn replace_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let _held = self.records().held()?;
        let mut new = self.begin()?;
        new.file.write_all(content)?;
        new.file.sync_all()?;
        at::renameat(&self.new, new.name.as_str(), &self.root, name)?;
        new.name.clear();
        Ok(at::fsync(&self.root)?)
    }

    /// Deletes what was set aside.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let _alone = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, _) in entries(&self.root)? {
            if let Some(aside) = entry.to_str().ok().filter(|entry| entry.starts_with(PURGED)) {
                fs::remove_dir_all(self.path.join(aside))?;
            }
        }
        Ok(())
    }

    /// What room there is.
    pub(super) fn room(&self) -> io::Result<Room> {
        Room::of(&self.root)
    }
}

/// The records, held still.
#[derive(Debug)]
pub(super) struct Records<'a>(RwLockReadGuard<'a, Option<Held>>);

impl Records<'_> {
    /// The same, if they are still ours.
    fn held(self) -> io::Result<Self> {
        self.directory()?;
        Ok(self)
    }

    fn directory(&self) -> io::Result<&OwnedFd> {
        let held = self.0.as_ref().ok_or_else(|| io::Error::other(Left))?;
        Ok(&held.records)
    }

    /// Opens a record.
    pub(super) fn open(&self, name: Name, access: Access) -> io::Result<File> {
        let (records, path) = (self.directory()?, name.to_string());
        let opened = match access {
            Access::Waiting => at::openat(records, path, READ, Mode::empty()),
            Access::Cached => {
                let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH;
                match at::openat2(records, path, READ, Mode::empty(), resolve) {
                    // A kernel before 5.12, or a sandbox that does not know the call.
                    Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => Err(Errno::AGAIN),
                    opened => opened,
                }
            }
        };
        Ok(File::from(opened?))
    }

    /// Puts a record where readers find it, in place of the one that has its
    /// name; who reads that one goes on.
    pub(super) fn publish(&self, mut new: NewRecord<'_>, name: Name) -> io::Result<()> {
        let (records, path) = (self.directory()?, name.to_string());
        let publish = || at::renameat(&new.directory.new, new.name.as_str(), records, path.as_str());
        match publish() {
            Err(Errno::NOENT) => match at::mkdirat(records, name.key.leaf().to_string(), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => publish()?,
                Err(errno) => return Err(errno.into()),
            },
            published => published?,
        }
        new.name.clear();
        Ok(())
    }

    /// Deletes a record; that there is none is no error.
    pub(super) fn remove(&self, name: Name) -> io::Result<()> {
        match at::unlinkat(self.directory()?, name.to_string(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The records of a leaf, and the lengths of those that are not known.
    /// Files that are none of ours are deleted.
    pub(super) fn list(
        &self,
        leaf: Leaf,
        is_known: impl Fn(Name) -> bool,
    ) -> io::Result<Vec<(Name, Option<u64>)>> {
        let directory = match at::openat(self.directory()?, leaf.to_string(), DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut found = Vec::new();
        for (file, kind) in entries(&directory)? {
            match Name::parse(leaf, file.to_bytes()) {
                Some(name) if matches!(kind, FileType::RegularFile | FileType::Unknown) => {
                    if is_known(name) {
                        found.push((name, None));
                        continue;
                    }
                    match at::statat(&directory, &*file, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => found.push((name, u64::try_from(stat.st_size).ok())),
                        Err(Errno::NOENT) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                _ if kind == FileType::Directory => {}
                _ => {
                    let _ = at::unlinkat(&directory, &*file, AtFlags::empty());
                }
            }
        }
        Ok(found)
    }
}

/// A record being written. Dropped before it is published, it never was.
#[derive(Debug)]
pub(super) struct NewRecord<'a> {
    directory: &'a Directory,
    name: String,
    /// Where to write.
    pub(super) file: File,
}

impl Drop for NewRecord<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = at::unlinkat(&self.directory.new, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// Locks the tag, and writes it into a directory that is empty: no other one
/// is taken for ours. What is held is open for reading only, as nothing here
/// keeps a file system from being made read-only.
fn lock(path: &Path) -> Result<File, DirectoryError> {
    let tag = path.join(TAG_FILE);
    let is_there = tag.try_exists()?;
    if !is_there {
        if fs::read_dir(path)?.next().is_some() {
            return Err(DirectoryError::NotOurs);
        }
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&tag)?;
    }
    let mut file = File::open(&tag)?;
    match at::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => return Err(DirectoryError::InUse),
        locked => locked?,
    }
    let found = io::read_to_string(&mut file)?;
    if found.is_empty() {
        fs::write(&tag, TAG)?;
    } else if !TAG.starts_with(&found) {
        return Err(DirectoryError::NotOurs);
    }
    Ok(file)
}

fn subdirectory(root: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match at::mkdirat(root, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    at::openat(root, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// What is in a directory, without itself and its parent.
fn entries(directory: &OwnedFd) -> io::Result<Vec<(std::ffi::CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}
