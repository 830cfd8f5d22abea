//! A real static site: HTML documentation that a Debian package ships.

use std::fs;
use std::path::{Path, PathBuf};

const MEDIA: [&str; 5] = ["html", "css", "js", "png", "svg"];

/// A file of the site.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where it is asked for.
    pub(crate) path: String,
    /// Its bytes on disk.
    pub(crate) length: u64,
}

/// The document root: that of `python3-doc`, whatever its version.
pub(crate) fn root() -> PathBuf {
    let found = fs::read_dir("/usr/share/doc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let html = entry.path().join("html");
        let is_python = entry.file_name().to_str()?.starts_with("python3.");
        (is_python && html.join("library/index.html").is_file()).then_some(html)
    });
    found.max().expect("the Debian package python3-doc is installed")
}

/// Every page, style, script and picture of the site, at least 200, in order.
pub(crate) fn pages(root: &Path) -> Vec<Page> {
    let mut pages = Vec::new();
    collect(root, "", &mut pages);
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(pages.len() >= 200, "only {} files", pages.len());
    pages
}

fn collect(directory: &Path, prefix: &str, pages: &mut Vec<Page>) {
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        let path = format!("{prefix}/{}", file.file_name().and_then(|name| name.to_str()).unwrap());
        let Ok(metadata) = fs::metadata(&file) else { continue };
        if metadata.is_dir() {
            collect(&file, &path, pages);
        } else if file.extension().is_some_and(|kind| MEDIA.iter().any(|known| kind == *known)) {
            pages.push(Page { path, length: metadata.len() });
        }
    }
}
