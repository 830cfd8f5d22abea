//! Cookies that name the origin server a client has its session with: sealed,
//! so that they tell nobody the server's address, and nobody can make one for
//! a server of his choice. Which requests follow them is decided elsewhere.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use http::HeaderValue;

use crate::base::random_id;
use crate::exchange::Scheme;

/// The file of the key in the state directory.
const FILE: &str = "sticky.key";

const KEY_LENGTH: usize = 32;

/// Seals cookies. Edges with the same key understand each other's.
#[derive(Clone)]
pub struct StickyKey(hmac::Key);

/// There is no key to seal cookies with.
#[derive(Debug, thiserror::Error)]
pub enum StickyKeyError {
    /// The system gives no randomness.
    #[error("no key for sticky cookies can be made")]
    Random(#[from] Unspecified),
    /// It cannot be read or written.
    #[error("the key of sticky cookies cannot be kept in {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else is there.
    #[error("{path} is no key of {KEY_LENGTH} bytes: remove it, and a new one is made")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl StickyKey {
    /// The key that is kept in `state_dir`; it is made where there is none.
    /// Blocks on the disk.
    pub fn open(state_dir: &Path) -> Result<Self, StickyKeyError> {
        let path = state_dir.join(FILE);
        let io = |source| StickyKeyError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(io)? {
            let mut key = [0; KEY_LENGTH];
            rand::fill(&mut key)?;
            keep(state_dir, &path, &key).map_err(io)?;
        }
        let key = fs::read(&path).map_err(io)?;
        if key.len() != KEY_LENGTH {
            return Err(StickyKeyError::Damaged { path });
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// What stands for the server at `url` in the pool of this name, and for no other.
    fn tag(&self, pool: &str, url: &str) -> u64 {
        let named = format!("{pool}\0{url}");
        let sealed = hmac::sign(&self.0, named.as_bytes());
        let first = sealed.as_ref().iter().take(size_of::<u64>());
        first.fold(0, |tag, byte| tag << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey")
    }
}

/// Puts the key in its place whole, unless another process was faster.
fn keep(directory: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = path.with_added_extension(format!("{:032x}.tmp", random_id()));
    let linked = write(&temporary, key).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    });
    let _best_effort = fs::remove_file(&temporary);
    linked?;
    File::open(directory)?.sync_all()
}

fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key)?;
    file.sync_all()
}

/// What ties clients to one server.
#[derive(Debug)]
pub(super) struct Tie {
    /// What the cookie says.
    pub(super) tag: u64,
    in_cleartext: HeaderValue,
    over_tls: HeaderValue,
}

impl Tie {
    /// For the server at `url` in `pool`, by a cookie of this name.
    pub(super) fn new(key: &StickyKey, name: &str, pool: &str, url: &str) -> Self {
        let tag = key.tag(pool, url);
        let cookie = |secure| {
            let line = format!("{name}={tag:016x}; Path=/; HttpOnly; SameSite=Lax{secure}");
            // INVARIANT: the config lets only tokens be names of cookies.
            HeaderValue::try_from(line).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        Self { tag, in_cleartext: cookie(""), over_tls: cookie("; Secure") }
    }

    /// The value of Set-Cookie for a client that came by `scheme`.
    pub(super) fn cookie(&self, scheme: Scheme) -> HeaderValue {
        match scheme {
            Scheme::Http => self.in_cleartext.clone(),
            Scheme::Https => self.over_tls.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const URL: &str = "http://10.0.0.1:80";

    #[test]
    fn a_key_is_made_once_and_is_its_owner_s() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let tag = StickyKey::open(&state).unwrap().tag("app", URL);
        assert_eq!(StickyKey::open(&state).unwrap().tag("app", URL), tag);
        let files: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, [state.join(FILE)]);
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);

        let other = StickyKey::open(&directory.path().join("other")).unwrap();
        assert_ne!(other.tag("app", URL), tag);
        fs::write(state.join(FILE), b"short").unwrap();
        assert!(matches!(StickyKey::open(&state), Err(StickyKeyError::Damaged { .. })));
    }

    #[test]
    fn a_tag_is_that_of_one_server_of_one_pool() {
        let directory = tempfile::tempdir().unwrap();
        let key = StickyKey::open(directory.path()).unwrap();
        let tag = key.tag("app", URL);
        assert_ne!(key.tag("api", URL), tag);
        assert_ne!(key.tag("app", "http://10.0.0.2:80"), tag);
        assert_ne!(key.tag("app", "https://10.0.0.1:80"), tag);
    }

    #[test]
    fn a_cookie_is_no_script_s_and_goes_over_tls_where_it_came_by_it() {
        let directory = tempfile::tempdir().unwrap();
        let key = StickyKey::open(directory.path()).unwrap();
        let tie = Tie::new(&key, "server", "app", URL);
        let expected = format!("server={:016x}; Path=/; HttpOnly; SameSite=Lax", tie.tag);
        assert_eq!(tie.cookie(Scheme::Http), expected);
        assert_eq!(tie.cookie(Scheme::Https), format!("{expected}; Secure"));
    }
}
