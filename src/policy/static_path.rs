//! Web cache deception: a page of one user's own, asked for under a path that
//! looks like a file for everyone (`/account/x.css`). Decides from a path and a
//! media type whether the answer is what the path promises. It knows no file
//! and no origin server, only names.

use http::{HeaderMap, header};

/// What a name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Style,
    Script,
    Image,
    Font,
    /// Sound or pictures that move.
    Media,
    /// What is opened by a program: archives, documents, modules.
    File,
    Json,
    Xml,
    Text,
}

/// The extensions of files that are the same for everyone.
const EXTENSIONS: [(Kind, &str); 9] = [
    (Kind::Style, "css"),
    (Kind::Script, "js mjs"),
    (Kind::Image, "avif bmp cur gif ico jpeg jpg jxl png svg svgz tif tiff webp"),
    (Kind::Font, "eot otf ttf woff woff2"),
    (Kind::Media, "avi flac m4a m4v mid mkv mov mp3 mp4 mpeg ogg wav webm"),
    (
        Kind::File,
        "7z apk bin bz2 class dmg doc docx eps exe gz iso jar pdf ppt pptx ps rar swf tar wasm xls xlsx xz zip zst",
    ),
    (Kind::Json, "json map webmanifest"),
    (Kind::Xml, "atom rss xml"),
    (Kind::Text, "csv txt"),
];

/// Does the path look like that of a file for everyone?
pub(super) fn looks_static(path: &str) -> bool {
    promised(path).is_some()
}

/// Does the path look like that of a file for everyone, and is the response
/// something else? One that does not say what it is counts as something else:
/// a browser may take it for a page.
pub(super) fn contradicts(path: &str, response: &HeaderMap) -> bool {
    let Some(kind) = promised(path) else { return false };
    let media_type = response.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    !kind.fits(&media_type.to_ascii_lowercase())
}

/// What the path promises. Origin servers cut paths in many ways: at an encoded
/// slash, question mark, line break or NUL, and at `;`. So each piece of the last
/// segment counts between two octets that could be such an end.
fn promised(path: &str) -> Option<Kind> {
    let trimmed = path.trim_end_matches('/');
    let segment = trimmed.rsplit('/').next().unwrap_or(trimmed);
    if !segment.contains(['.', '%']) {
        return None;
    }
    let decoded = decoded(segment);
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && !b".-_".contains(byte);
    decoded.rsplit(is_end).find_map(of_name)
}

/// Decodes what is encoded, once and again, as origin servers behind one
/// another do.
fn decoded(segment: &str) -> Vec<u8> {
    let mut decoded = segment.as_bytes().to_vec();
    for _ in 0..2 {
        let mut next = Vec::with_capacity(decoded.len());
        let mut rest = &decoded[..];
        while let Some((first, after)) = rest.split_first() {
            let value = match after {
                [high, low, ..] if *first == b'%' => octet(*high, *low),
                _ => None,
            };
            next.push(value.unwrap_or(*first));
            rest = if value.is_some() { &after[2..] } else { after };
        }
        decoded = next;
    }
    decoded
}

fn octet(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// What a name promises; file systems exist that leave dots at its end out.
fn of_name(name: &[u8]) -> Option<Kind> {
    let end = name.iter().rposition(|byte| *byte != b'.')? + 1;
    let dot = name[..end].iter().rposition(|byte| *byte == b'.')?;
    let extension = &name[dot + 1..end];
    let is_known = |known: &str| known.as_bytes().eq_ignore_ascii_case(extension);
    EXTENSIONS.iter().find(|(_, names)| names.split(' ').any(is_known)).map(|(kind, _)| *kind)
}

impl Kind {
    /// Is content of this media type, in lower case, what such a name promises?
    fn fits(self, media_type: &[u8]) -> bool {
        let is = |known: &[&str]| known.iter().any(|known| known.as_bytes() == media_type);
        let begins = |prefix: &str| media_type.starts_with(prefix.as_bytes());
        let is_json = || is(&["application/json", "text/json"]) || media_type.ends_with(b"+json");
        let is_xml = || is(&["application/xml", "text/xml"]) || media_type.ends_with(b"+xml");
        let is_page = || is(&["application/xhtml+xml"]);
        let is_script = || media_type.ends_with(b"javascript") || media_type.ends_with(b"ecmascript");
        // What servers say of files whose names they do not know. No browser
        // shows it, so that no page of a user's own has it.
        let is_unknown = is(&["application/octet-stream", "binary/octet-stream"]);
        is_unknown
            || match self {
                Self::Style => is(&["text/css"]),
                Self::Script => is_script(),
                Self::Image => begins("image/"),
                Self::Font => {
                    begins("font/")
                        || begins("application/font")
                        || begins("application/x-font")
                        || is(&["application/vnd.ms-fontobject"])
                }
                Self::Media => begins("audio/") || begins("video/") || is(&["application/ogg"]),
                Self::File => begins("application/") && !is_json() && !is_xml() && !is_script(),
                Self::Json => is_json(),
                Self::Xml => is_xml() && !is_page(),
                Self::Text => begins("text/plain") || is(&["text/csv"]),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::fields;

    #[test]
    fn paths_look_static_however_they_are_written() {
        for path in [
            "/account/x.css",
            "/account/x.CSS",
            "/account;x.css",
            "/account;x.css;y",
            "/account%2Fx.css",
            "/account%2fx.css",
            "/account%5Cx.css",
            "/account%0Ax.css",
            "/account%00x.css",
            "/account%3Fx.css",
            "/account%23x.css",
            "/account%3Bx.css",
            "/account%253Fx.css",
            "/account/x%2Ecss",
            "/account/x.%63ss",
            "/account/x.css.",
            "/account/x.css%2E",
            "/account/x.css/",
            "/account/x.css%20",
            "/account/x.css%0A",
            "/account/x.css;v=1",
            "/account/x.css%3Bv=1",
            "/account/x.css%3Fv",
            "/account/x.css%25253Fv",
            "/account/x.css,v",
            "/account/.css",
            "/favicon.ico",
            "/robots.txt",
            "/a.webmanifest",
            "/a.tar.gz",
        ] {
            assert!(looks_static(path), "{path}");
        }
        for path in
            ["/", "/account", "/x.css/account", "/a.html", "/a.php", "/v1.2", "/css", "/a.cssx", "/a.."]
        {
            assert!(!looks_static(path), "{path}");
        }
    }

    #[test]
    fn what_a_name_promises_is_told_by_the_media_type() {
        for (path, media_type, expected) in [
            ("/a.css", "text/css; charset=utf-8", false),
            ("/a.css", "Text/CSS", false),
            ("/a.css", "text/html", true),
            ("/a.css", "text/plain", true),
            ("/a.css", "", true),
            ("/a.js", "application/javascript", false),
            ("/a.mjs", "text/javascript", false),
            ("/a.js", "application/json", true),
            ("/a.png", "image/webp", false),
            ("/a.svg", "image/svg+xml", false),
            ("/a.svg", "text/html;charset=utf-8", true),
            ("/a.woff2", "font/woff2", false),
            ("/a.woff", "application/font-woff", false),
            ("/a.ttf", "application/octet-stream", false),
            ("/a.mp4", "video/mp4", false),
            ("/a.pdf", "application/pdf", false),
            ("/a.zip", "application/json", true),
            ("/a.zip", "application/xhtml+xml", true),
            ("/a.wasm", "application/wasm", false),
            ("/a.json", "application/ld+json", false),
            ("/a.json", "text/html", true),
            ("/a.xml", "application/rss+xml", false),
            ("/a.xml", "application/xhtml+xml", true),
            ("/a.txt", "text/plain", false),
            ("/a.txt", "text/html", true),
            ("/a.html", "text/css", false),
            ("/account", "text/html", false),
        ] {
            let response = fields(&[("content-type", media_type)]);
            assert_eq!(contradicts(path, &response), expected, "{path} {media_type}");
        }
        assert!(contradicts("/a.css", &fields(&[])));
    }
}
