//! A file that whoever reads it waits for.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::eventually;

/// A pipe where a file is looked for.
pub(crate) struct SlowFile(PathBuf);

impl SlowFile {
    /// What is stored in `state` of a site whose certificate is from the local CA.
    pub(crate) fn of_site(name: &str, state: &Path) -> Self {
        let path = state.join("internal").join(format!("{name}.pem"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::set_permissions(state, Permissions::from_mode(0o700)).unwrap();
        mkfifoat(CWD, &path, Mode::RWXU).unwrap();
        Self(path)
    }

    /// Waits until it is read, which ends once what this gives is dropped.
    pub(crate) async fn is_read(&self) -> File {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let open = || OpenOptions::new().write(true).custom_flags(flags).open(&self.0).ok();
        eventually("the file is read", open).await
    }
}
