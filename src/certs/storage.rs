//! Keeps keys, certificates and accounts: in files that only their owner can
//! read, each written whole or not at all. It never looks into them.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;

use super::error::CertError;
use crate::base::random_id;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const TEMPORARY: &str = "tmp";
const LOCK: &str = "lock";
/// How the names of certificates and of orders end.
const CERTIFICATE: &str = "pem";
const ORDER: &str = "order.json";

/// Nothing is being written for longer.
const WRITTEN_WITHIN: Duration = Duration::from_secs(300);

/// How often a lock that somebody has is asked for.
const LOCK_AGAIN: Duration = Duration::from_millis(500);

/// The directories under the state directory.
const AUTHORITY: &str = "ca";
const INTERNAL: &str = "internal";
const ACME: &str = "acme";

/// Nothing that is kept is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file name has at most 255 bytes in most file systems: longer ones than this
/// leave no room for what is added, a temporary file's number at the most.
const LONGEST_NAME: usize = 200;
const SHOWN_OF_LONG_NAME: usize = 128;

/// Something that is kept; its path is the same in every storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item(PathBuf);

impl Item {
    /// The certificate of the local CA.
    pub fn authority_certificate() -> Self {
        Self(Path::new(AUTHORITY).join("ca.pem"))
    }

    /// The key of the local CA.
    pub fn authority_key() -> Self {
        Self(Path::new(AUTHORITY).join("key.pem"))
    }

    /// A site's key and certificate of the local CA.
    pub fn internal_certificate(site: &str) -> Self {
        Self(Path::new(INTERNAL).join(format!("{}.pem", file_name(site))))
    }

    /// The account at an ACME server.
    pub fn account(directory_url: &str) -> Self {
        Self(acme_directory(directory_url).join("account.json"))
    }

    /// A site's key and chain from an ACME server.
    pub fn acme_certificate(directory_url: &str, site: &str) -> Self {
        Self(acme_directory(directory_url).join(format!("{}.{CERTIFICATE}", file_name(site))))
    }

    /// A site's order at an ACME server that is not through yet, with its key.
    pub fn order(directory_url: &str, site: &str) -> Self {
        Self(acme_directory(directory_url).join(format!("{}.{ORDER}", file_name(site))))
    }

    /// The certificate that comes of it, if it is an order.
    pub(super) fn ordered(&self) -> Option<Self> {
        let name = self.0.to_str()?.strip_suffix(ORDER)?;
        Some(Self(format!("{name}{CERTIFICATE}").into()))
    }

    /// True for a certificate, with its key.
    pub(super) fn is_certificate(&self) -> bool {
        self.0.extension().is_some_and(|extension| extension == CERTIFICATE)
    }

    /// Where it is in every storage.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn acme_directory(url: &str) -> PathBuf {
    let server = url.split_once("://").map_or(url, |(_, rest)| rest);
    Path::new(ACME).join(file_name(server))
}

/// A file name that shows what it is for. `+`, which no host can have, stands
/// for what does not suit one.
/// Of one that is too long it shows the beginning, and `+` and a hash stand for the
/// rest.
fn file_name(name: &str) -> String {
    let suits =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']');
    let suited = name.chars().map(|char| if suits(char) { char } else { '+' });
    if name.len() <= LONGEST_NAME {
        return suited.collect();
    }
    let hash = digest(&SHA256, name.as_bytes());
    let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    suited.take(SHOWN_OF_LONG_NAME).chain(['+']).collect::<String>() + &hash.collect::<String>()
}

/// Where items are kept.
pub trait CertStorage: Debug + Send + Sync + 'static {
    /// What is kept under `item`, if anything. Cancel safe.
    fn load<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Option<Vec<u8>>, CertError>>;

    /// Keeps `content` in place of what was there: after a crash the old or the
    /// new is found, whole. Not undone when it is cancelled.
    fn store<'a>(&'a self, item: &'a Item, content: Vec<u8>) -> BoxFuture<'a, Result<(), CertError>>;

    /// Forgets `item`. Not undone when it is cancelled.
    fn remove<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<(), CertError>>;

    /// Waits until nobody else, in any process, works on `item`; so it stays until
    /// the result is dropped, or the process ends. Cancel safe.
    fn lock<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Lock, CertError>>;
}

/// The right to work on an item alone.
#[derive(Debug)]
pub struct Lock {
    _locked: File,
}

/// Keeps items as files under one directory.
#[derive(Debug)]
pub struct FileStorage {
    root: PathBuf,
}

impl FileStorage {
    /// Works in `root`, which is made (0700) with the first item. What a crash
    /// left half written is removed, by `now` after some minutes: another process may
    /// be writing, as the one that is taken over from.
    ///
    /// # Errors
    /// If others may write to `root`: they could put other keys into it.
    pub fn open(root: &Path, now: SystemTime) -> Result<Self, CertError> {
        if fs::metadata(root).is_ok_and(|root| root.permissions().mode() & 0o022 != 0) {
            return Err(CertError::OpenToOthers { path: root.to_owned() });
        }
        for directory in [AUTHORITY, INTERNAL, ACME] {
            sweep(&root.join(directory), 2, now);
        }
        Ok(Self { root: root.to_owned() })
    }
}

impl CertStorage for FileStorage {
    fn load<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Option<Vec<u8>>, CertError>> {
        let path = self.root.join(&item.0);
        Box::pin(off_the_runtime("read", path, |path| match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            content => content.map(Some),
        }))
    }

    fn store<'a>(&'a self, item: &'a Item, content: Vec<u8>) -> BoxFuture<'a, Result<(), CertError>> {
        let (path, root) = (self.root.join(&item.0), self.root.clone());
        Box::pin(off_the_runtime("write", path, move |path| write(&root, path, &content)))
    }

    fn remove<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<(), CertError>> {
        let path = self.root.join(&item.0);
        Box::pin(off_the_runtime("remove", path, |path| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }))
    }

    fn lock<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Lock, CertError>> {
        let path = self.root.join(&item.0).with_added_extension(LOCK);
        Box::pin(async move {
            loop {
                let root = self.root.clone();
                let locked = off_the_runtime("lock", path.clone(), move |path| try_lock(&root, path));
                if let Some(lock) = locked.await? {
                    return Ok(lock);
                }
                tokio::time::sleep(LOCK_AGAIN).await;
            }
        })
    }
}

fn try_lock(root: &Path, path: &Path) -> io::Result<Option<Lock>> {
    make_private(root, path.parent().unwrap_or(root))?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _locked: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

async fn off_the_runtime<T: Send + 'static>(
    action: &'static str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, CertError> {
    let worked_on = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&worked_on)).await;
    let outcome = done.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    outcome.map_err(|source| CertError::Storage { action, path, source })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

fn write(root: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(root);
    make_private(root, directory)?;
    let temporary = path.with_added_extension(format!("{:032x}.{TEMPORARY}", random_id()));
    let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _gone_or_swept_later = fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes `directory` and closes it, and all between it and `root`, to others.
/// A root that is there already is left as its owner set it up.
fn make_private(root: &Path, directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    for inner in directory.ancestors().take_while(|inner| *inner != root) {
        if fs::metadata(inner)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(inner, Permissions::from_mode(DIRECTORY_MODE))?;
        }
    }
    Ok(())
}

/// Removes temporary files that nobody writes any more from `directory` and
/// `depth - 1` levels below it.
fn sweep(directory: &Path, depth: u32, now: SystemTime) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == TEMPORARY) {
            let written = fs::metadata(&path).and_then(|file| file.modified());
            let age = written.ok().and_then(|written| now.duration_since(written).ok());
            if age.is_some_and(|age| age > WRITTEN_WITHIN) {
                let _best_effort = fs::remove_file(path);
            }
        } else if depth > 1 && path.is_dir() {
            sweep(&path, depth - 1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing::now;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_is_stored_is_private_and_found_again() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().join("state");
        let storage = FileStorage::open(&root, now()).unwrap();
        let item = Item::acme_certificate("https://ca.test:14000/dir", "*.example.com");
        assert_eq!(storage.load(&item).await.unwrap(), None);
        storage.store(&item, b"old".to_vec()).await.unwrap();
        storage.store(&item, b"new".to_vec()).await.unwrap();
        assert_eq!(storage.load(&item).await.unwrap().as_deref(), Some(&b"new"[..]));

        let directory = root.join("acme/ca.test:14000+dir");
        for private in [&root, &root.join("acme"), &directory] {
            assert_eq!(mode(private), 0o700, "{}", private.display());
        }
        let files: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, [directory.join("+.example.com.pem")]);
        assert_eq!(mode(&files[0]), 0o600);

        storage.remove(&item).await.unwrap();
        storage.remove(&item).await.unwrap();
        assert_eq!(storage.load(&item).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_open_directory_is_closed_but_the_root_is_left() {
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), Permissions::from_mode(0o755)).unwrap();
        let authority = state.path().join("ca");
        DirBuilder::new().mode(0o755).create(&authority).unwrap();
        FileStorage::open(state.path(), now()).unwrap().store(&Item::authority_key(), vec![1]).await.unwrap();
        assert_eq!((mode(state.path()), mode(&authority)), (0o755, 0o700));
    }

    #[test]
    fn a_root_that_others_write_to_is_refused() {
        let state = tempfile::tempdir().unwrap();
        for (mode, is_taken) in [(0o700, true), (0o755, true), (0o770, false), (0o1777, false)] {
            fs::set_permissions(state.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(FileStorage::open(state.path(), now()).is_ok(), is_taken, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_is_swept() {
        let state = tempfile::tempdir().unwrap();
        let item = Item::account("https://ca.test/dir");
        FileStorage::open(state.path(), now()).unwrap().store(&item, vec![1]).await.unwrap();
        let directory = state.path().join("acme/ca.test+dir");
        let half_written = |name: &str, age: Duration| {
            fs::write(directory.join(name), b"half").unwrap();
            File::options()
                .append(true)
                .open(directory.join(name))
                .unwrap()
                .set_modified(now() - age)
                .unwrap();
        };
        half_written("account.json.0123.tmp", Duration::from_secs(3600));
        // Another process may be at it.
        half_written("account.json.4567.tmp", Duration::from_secs(1));
        let storage = FileStorage::open(state.path(), now()).unwrap();
        assert!(!directory.join("account.json.0123.tmp").exists());
        assert!(directory.join("account.json.4567.tmp").exists());
        assert_eq!(storage.load(&item).await.unwrap(), Some(vec![1]));
    }

    #[tokio::test]
    async fn one_at_a_time_works_on_an_item() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (
            FileStorage::open(state.path(), now()).unwrap(),
            FileStorage::open(state.path(), now()).unwrap(),
        );
        let item = Item::acme_certificate("https://ca.test/dir", "a.test");
        let lock = one.lock(&item).await.unwrap();
        let soon = |lock| tokio::time::timeout(Duration::from_millis(50), lock);
        assert!(soon(other.lock(&item)).await.is_err());
        other.lock(&Item::acme_certificate("https://ca.test/dir", "b.test")).await.unwrap();
        drop(lock);
        other.lock(&item).await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_named() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("ca"), b"a file").unwrap();
        let error = FileStorage::open(state.path(), now())
            .unwrap()
            .store(&Item::authority_key(), vec![1])
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert!(error.to_string().ends_with("ca/key.pem"), "{error}");
    }

    #[tokio::test]
    async fn the_longest_name_has_a_file() {
        let state = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(state.path(), now()).unwrap();
        let host = |first: &str| format!("{first}{}.test", ["a".repeat(60).as_str(); 4].join("."));
        let items = ["1234", "5678"].map(|first| Item::order("https://ca.test/dir", &host(first)));
        for (item, content) in items.iter().zip([1, 2]) {
            let _lock = storage.lock(item).await.unwrap();
            storage.store(item, vec![content]).await.unwrap();
        }
        assert_eq!(storage.load(&items[0]).await.unwrap(), Some(vec![1]));
        let end = |end: &str| format!("{}{end}", "a".repeat(200));
        assert_ne!(Item::internal_certificate(&end("b")), Item::internal_certificate(&end("c")));
    }

    #[test]
    fn no_name_leads_out_of_the_state_directory() {
        for name in ["../../etc/passwd", "a/b", "/root", "..", "\0"] {
            let Item(path) = Item::internal_certificate(name);
            assert_eq!(path.parent(), Some(Path::new(INTERNAL)), "{name:?}");
        }
    }
}
