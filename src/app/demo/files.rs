//! The files of the demo site, embedded in the binary, with the fields an
//! origin server sends with them. It knows nothing of connections.

use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use foldhash::quality::FixedState;
use http::HeaderValue;

/// When the site was last changed.
pub(super) const LAST_MODIFIED: HeaderValue = HeaderValue::from_static("Sun, 01 Nov 2026 00:00:00 GMT");

const BIG_FILE_LENGTH: usize = 5 << 20;

/// One file as it is served.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: HeaderValue,
    pub(super) etag: HeaderValue,
    pub(super) content: Bytes,
}

/// The files of the site by path.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<(&'static str, File)>,
    not_found: File,
}

impl Files {
    /// Takes the embedded files and makes the large one.
    pub(super) fn new() -> Self {
        let page = |content: &'static [u8]| File::page(Bytes::from_static(content));
        let asset =
            |kind: &'static str, content: &'static [u8]| File::asset(kind, Bytes::from_static(content));
        let index = page(include_bytes!("site/index.html"));
        Self {
            files: vec![
                ("/", index.clone()),
                ("/index.html", index),
                ("/about.html", page(include_bytes!("site/about.html"))),
                ("/style.css", asset("text/css; charset=utf-8", include_bytes!("site/style.css"))),
                ("/app.js", asset("text/javascript; charset=utf-8", include_bytes!("site/app.js"))),
                ("/logo.svg", asset("image/svg+xml", include_bytes!("site/logo.svg"))),
                ("/favicon.ico", asset("image/x-icon", include_bytes!("site/favicon.ico"))),
                ("/coast.png", asset("image/png", include_bytes!("site/coast.png"))),
                ("/inter.woff2", asset("font/woff2", include_bytes!("site/inter.woff2"))),
                ("/big.bin", File::asset("application/octet-stream", big_file())),
            ],
            not_found: page(include_bytes!("site/404.html")),
        }
    }

    /// The file at `path`.
    pub(super) fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|(at, _)| *at == path).map(|(_, file)| file)
    }

    /// The page for a path that has no file.
    pub(super) fn not_found(&self) -> &File {
        &self.not_found
    }
}

impl File {
    fn page(content: Bytes) -> Self {
        Self::new("text/html; charset=utf-8", "max-age=10", content)
    }

    fn asset(content_type: &'static str, content: Bytes) -> Self {
        Self::new(content_type, "public, max-age=3600", content)
    }

    fn new(content_type: &'static str, cache_control: &'static str, content: Bytes) -> Self {
        Self {
            content_type: HeaderValue::from_static(content_type),
            cache_control: HeaderValue::from_static(cache_control),
            etag: strong_etag(&content),
            content,
        }
    }
}

/// A strong validator (RFC 9110 s8.8.3), the same from every origin server.
#[expect(clippy::expect_used, reason = "hexadecimal digits in quotes are a field value")]
fn strong_etag(content: &[u8]) -> HeaderValue {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(content);
    HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).expect("a field value")
}

/// Bytes that do not compress and are always the same (xorshift64*).
fn big_file() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = Vec::with_capacity(BIG_FILE_LENGTH);
    while content.len() < BIG_FILE_LENGTH {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        content.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    Bytes::from(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_page_names_is_there() {
        let files = Files::new();
        for page in ["/", "/about.html"] {
            let page = files.find(page).unwrap();
            let text = std::str::from_utf8(&page.content).unwrap();
            for attribute in ["href=\"/", "src=\"/"] {
                for rest in text.split(attribute).skip(1) {
                    let path = format!("/{}", rest.split(['"', '?']).next().unwrap());
                    let made = path.starts_with("/api/") || path == "/slow";
                    assert!(made || files.find(&path).is_some(), "{path}");
                }
            }
        }
    }

    #[test]
    fn the_large_file_is_always_the_same() {
        let (one, other) = (Files::new(), Files::new());
        let (one, other) = (one.find("/big.bin").unwrap(), other.find("/big.bin").unwrap());
        assert_eq!(one.content.len(), 5 * 1024 * 1024);
        assert_eq!((&one.content, &one.etag), (&other.content, &other.etag));
    }
}
