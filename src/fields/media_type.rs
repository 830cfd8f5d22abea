//! Media types (RFC 9110 s8.3.1), as far as their names tell of the content.

/// Does content of the type that `text`, a Content-Type, names shrink when it
/// is compressed? False for what is compressed already, and for streams of
/// events, whose every event is to arrive at once.
pub fn is_compressible(text: &[u8]) -> bool {
    let essence = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let Some(slash) = essence.iter().position(|byte| *byte == b'/') else { return false };
    let (kind, name) = (&essence[..slash], &essence[slash + 1..]);
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if kind.eq_ignore_ascii_case(b"text") {
        return !is("event-stream");
    }
    let ends_in = |suffix: &[u8]| {
        let start = name.len().checked_sub(suffix.len());
        start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    if [&b"+json"[..], b"+xml", b"+yaml"].into_iter().any(ends_in) {
        return true;
    }
    let known: &[&str] = match kind {
        kind if kind.eq_ignore_ascii_case(b"application") => &APPLICATION,
        kind if kind.eq_ignore_ascii_case(b"font") => &["collection", "otf", "sfnt", "ttf"],
        kind if kind.eq_ignore_ascii_case(b"image") => &["bmp", "vnd.microsoft.icon", "x-icon"],
        _ => &[],
    };
    known.iter().any(|known| is(known))
}

const APPLICATION: [&str; 17] = [
    "ecmascript",
    "graphql",
    "javascript",
    "json",
    "json5",
    "jsonl",
    "rtf",
    "sql",
    "toml",
    "vnd.ms-fontobject",
    "wasm",
    "x-font-opentype",
    "x-font-ttf",
    "x-javascript",
    "x-ndjson",
    "xml",
    "yaml",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_shrink() {
        for (text, expected) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/CSS", true),
            ("text/event-stream", false),
            ("text/Event-Stream; charset=utf-8", false),
            ("application/javascript", true),
            (" application/json ;charset=utf-8", true),
            ("application/ld+JSON", true),
            ("application/manifest+json", true),
            ("application/atom+xml", true),
            ("application/wasm", true),
            ("application/octet-stream", false),
            ("application/zip", false),
            ("application/vnd.ms-fontobject", true),
            ("application/json-like", false),
            ("image/svg+xml", true),
            ("image/png", false),
            ("font/ttf", true),
            ("font/woff2", false),
            ("video/mp4", false),
            ("multipart/byteranges", false),
            ("json", false),
            ("", false),
            ("/", false),
        ] {
            assert_eq!(is_compressible(text.as_bytes()), expected, "{text}");
        }
    }
}
