//! What tells a file from the one that was in its place before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file as it was at some moment: its number, length and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark(u64, u64, i64, i64);

impl FileMark {
    /// The file that is there now, if there is one. Blocks on the disk.
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self(file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_is_told_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("a"), directory.path().join("b"));
        assert_eq!(FileMark::of(&file), None);
        fs::write(&file, "1").unwrap();
        let mark = FileMark::of(&file);
        assert!(mark.is_some() && mark == FileMark::of(&file));
        fs::write(&other, "2").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_ne!(FileMark::of(&file), mark);
    }
}
