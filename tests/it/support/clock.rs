//! The clock of a program, put forward and back while it runs: by libfaketime, of
//! Debian's package faketime.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process::Place;

const DAY: i64 = 24 * 3600;

/// Where libraries are.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// What becomes of the monotonic clock where that of the day jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Monotonic {
    /// Nothing, as it should be.
    Stays,
    /// It jumps as well.
    Jumps,
}

/// What the library keeps in shared memory for each process: names that end with
/// its id.
const SHARED: &str = "/dev/shm";
const SHARED_NAMES: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// A clock that goes as the right one does, so far from it as it was put.
pub(crate) struct MovableClock(TempDir);

impl MovableClock {
    /// One that is right.
    pub(crate) fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.put(0);
        clock
    }

    /// A place whose program goes by it.
    pub(crate) fn place(&self, monotonic: Monotonic) -> Place {
        let preload = format!("LD_PRELOAD={}", library().display());
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display());
        // The file is looked at whenever the program asks for the time.
        let mut command = vec!["env", &preload, &file, "FAKETIME_NO_CACHE=1"];
        if monotonic == Monotonic::Stays {
            command.push("FAKETIME_DONT_FAKE_MONOTONIC=1");
        }
        Place::new().under(&command)
    }

    /// Puts it so many days from the right time, at once.
    pub(crate) fn put(&self, days: i64) {
        let new = self.0.path().join("new");
        fs::write(&new, format!("{:+}", days * DAY)).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }
}

impl Drop for MovableClock {
    /// Takes away what is left of processes that were killed.
    fn drop(&mut self) {
        for entry in fs::read_dir(SHARED).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let of = SHARED_NAMES.iter().find_map(|start| name.strip_prefix(start));
            if of.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                // Another test may have done it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn library() -> PathBuf {
    let directories = fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap().path());
    let mut found = directories.map(|directory| directory.join(LIBRARY)).filter(|library| library.exists());
    found.next().expect("Debian's package faketime is to be installed")
}
