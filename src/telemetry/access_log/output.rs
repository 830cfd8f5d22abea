//! Where the bytes of the access log go: a file or a standard stream.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::model::AccessLogTarget;
use crate::telemetry::TelemetryError;

/// An open destination.
pub(super) struct Output {
    to: Box<dyn Write + Send>,
    /// What to open again; standard streams stay as they are.
    path: Option<PathBuf>,
    /// The last write ended inside a line.
    torn: bool,
}

/// A write that did not take everything.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) error: io::Error,
    /// Records that are lost.
    pub(super) records: u64,
}

impl Output {
    /// Opens `target`; `None` where nothing is to be logged.
    pub(super) fn open(target: &AccessLogTarget) -> Result<Option<Self>, TelemetryError> {
        let stream = |stream: io::Result<_>| {
            stream.map(|stream| Self::new(Box::new(File::from(stream)))).map_err(TelemetryError::Stream)
        };
        match target {
            AccessLogTarget::Off => return Ok(None),
            // A descriptor of its own: std's handles buffer and lock.
            AccessLogTarget::Stdout => stream(io::stdout().as_fd().try_clone_to_owned()),
            AccessLogTarget::Stderr => stream(io::stderr().as_fd().try_clone_to_owned()),
            AccessLogTarget::File(path) => match open_file(path) {
                Ok(file) => Ok(Self { path: Some(path.clone()), ..Self::new(Box::new(file)) }),
                Err(source) => Err(TelemetryError::File { path: path.clone(), source }),
            },
        }
        .map(Some)
    }

    /// Writes to `to`, which is never opened again.
    pub(super) fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, path: None, torn: false }
    }

    /// Opens the file anew after it was renamed. Where that fails, the old one
    /// stays in use.
    pub(super) fn reopen(&mut self) -> Result<(), TelemetryError> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = open_file(path).map_err(|source| TelemetryError::File { path: path.clone(), source })?;
        self.to = Box::new(file);
        self.torn = false;
        Ok(())
    }

    /// Writes whole lines. After a failure inside of a line, the next write
    /// begins a new one.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        let unwritten = |error, rest: &[u8]| {
            let records = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            Err(Unwritten { error, records })
        };
        if self.torn
            && let Err(error) = self.to.write_all(b"\n")
        {
            return unwritten(error, lines);
        }
        self.torn = false;
        let mut rest = lines;
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return unwritten(io::ErrorKind::WriteZero.into(), rest),
                Ok(count) => {
                    let (written, after) = rest.split_at(count.min(rest.len()));
                    self.torn = !written.ends_with(b"\n");
                    rest = after;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return unwritten(error, rest),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("path", &self.path).finish_non_exhaustive()
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes `room` bytes and then says that the disk is full, until it is told
    /// of more room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn give(&self, room: usize) {
            self.0.lock().unwrap().1 = room;
        }

        fn content(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (content, room) = &mut *self.0.lock().unwrap();
            if *room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(*room);
            content.extend_from_slice(&bytes[..count]);
            *room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_the_records_it_had_no_room_for() {
        let disk = Disk::default();
        let mut output = Output::new(Box::new(disk.clone()));
        disk.give(7);
        let lost = output.write(b"one\ntwo\nthree\n").unwrap_err();
        assert_eq!((lost.records, lost.error.kind()), (2, io::ErrorKind::StorageFull));
        assert_eq!(output.write(b"four\n").unwrap_err().records, 1);
        disk.give(100);
        output.write(b"five\n").unwrap();
        assert_eq!(disk.content(), "one\ntwo\nfive\n", "the torn line is a line of its own");
    }

    #[test]
    fn files_are_appended_to_and_not_for_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        for _ in 0..2 {
            let target = AccessLogTarget::File(path.clone());
            Output::open(&target).unwrap().unwrap().write(b"line\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line\nline\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error = Output::open(&AccessLogTarget::File("/nowhere/access.log".into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the access log /nowhere/access.log");
        assert!(Output::open(&AccessLogTarget::Off).unwrap().is_none());
    }
}
