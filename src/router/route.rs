//! Which requests a route takes. Paths are matched decoded; one that recipients
//! could read in two ways, and that would take two routes then, is refused: the
//! origin server may read it in the other.

use std::borrow::Cow;

use http::Method;

use crate::config::model::{PathPattern, RouteMatch};
use crate::exchange::Failure;

const AMBIGUOUS: Failure = Failure::BadRequest("a path that can be read in two ways");

/// A path as routes read it.
#[derive(Debug)]
pub(super) struct PathReading<'a> {
    decoded: Cow<'a, str>,
    /// As others might read it, where that is something else.
    others: Vec<String>,
}

impl<'a> PathReading<'a> {
    /// Decodes a path, but for an encoded `/`, which stays as it is. Fails for a
    /// NUL, for what is no encoding, and for a dot segment, also one that only a
    /// recipient would see that decodes `%2F` or takes `\\` for `/`.
    pub(super) fn of(path: &'a str) -> Result<Self, Failure> {
        let (decoded, others) = match path.contains('%') {
            true => decode(path)?,
            false => (Cow::Borrowed(path), Vec::new()),
        };
        if has_dot_segment(&decoded) {
            return Err(Failure::BadRequest("a dot segment in the path"));
        }
        Ok(Self { decoded, others })
    }

    /// The decoded path.
    pub(super) fn as_str(&self) -> &str {
        &self.decoded
    }
}

fn has_dot_segment(decoded: &str) -> bool {
    // Few paths have a dot where a segment could begin: after a slash, however it is
    // written.
    let begins = |pair: &[u8]| matches!(pair, [b'/' | b'\\' | b'F', b'.']);
    let mut segments = decoded.split(['/', '\\']).flat_map(|segment| segment.split("%2F"));
    (decoded.starts_with('.') || decoded.as_bytes().windows(2).any(begins))
        && segments.any(|segment| segment == "." || segment == "..")
}

/// A path decoded, and the other readings it has: without decoding what need not
/// have been encoded (RFC 3986 s2.2, s2.3), and with every slash decoded.
fn decode(path: &str) -> Result<(Cow<'_, str>, Vec<String>), Failure> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut written = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            written.push(byte);
            continue;
        }
        let (high, low) = bytes.next().zip(bytes.next()).ok_or(AMBIGUOUS)?;
        let value = hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low);
        match value {
            Some(0) | None => return Err(AMBIGUOUS),
            // An encoded slash stays encoded: `/a%2Fb` is one segment.
            Some(b'/') => {
                decoded.extend_from_slice(b"%2F");
                written.extend_from_slice(b"%2F");
            }
            Some(value) => {
                decoded.push(value);
                if is_plain(value) {
                    written.extend_from_slice(&[b'%', high, low]);
                } else {
                    written.push(value);
                }
            }
        }
    }
    let (decoded, written) = (text(decoded), text(written));
    let slashes = decoded.replace("%2F", "/");
    let mut others = vec![written, slashes];
    others.retain(|other| *other != decoded);
    Ok((Cow::Owned(decoded), others))
}

/// What is no UTF-8 matches no pattern, but is a path all the same.
fn text(path: Vec<u8>) -> String {
    String::from_utf8(path).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// True for what may stand in a path as it is (`pchar`, RFC 3986 s3.3).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The first of the routes that takes a request of this method and path. Fails
/// if it is another one for another reading of the path.
pub(super) fn find<'r, T>(
    routes: &'r [T],
    matches: impl Fn(&T) -> &RouteMatch,
    method: &Method,
    path: &PathReading<'_>,
) -> Result<Option<&'r T>, Failure> {
    let first = |path: &str| routes.iter().position(|route| takes(matches(route), method, path));
    let found = first(&path.decoded);
    if path.others.iter().any(|other| first(other) != found) {
        return Err(AMBIGUOUS);
    }
    Ok(found.and_then(|index| routes.get(index)))
}

fn takes(route: &RouteMatch, method: &Method, path: &str) -> bool {
    (route.methods.is_empty() || route.methods.contains(method))
        && route.path.as_ref().is_none_or(|pattern| rest(pattern, path).is_some())
}

/// What the pattern's `*` took of a path it matches.
pub(super) fn rest<'a>(pattern: &PathPattern, path: &'a str) -> Option<&'a str> {
    match pattern {
        PathPattern::Exact(exact) => (path == exact).then_some(""),
        PathPattern::Prefix(prefix) => path.strip_prefix(prefix.as_str()),
        PathPattern::Suffix(suffix) => path.strip_suffix(suffix.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<String, Failure> {
        PathReading::of(path).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn paths_are_matched_decoded() {
        assert_eq!(read("/caf%C3%A9/%61").unwrap(), "/café/a");
        assert_eq!(read("/a%2fb").unwrap(), "/a%2Fb");
        assert_eq!(read("/a..b/...").unwrap(), "/a..b/...");
        assert_eq!(read("/caf%E9/%61").unwrap(), "/caf\u{fffd}/a");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in ["/a/../b", "/a/%2e%2E/b", "/.", "/a%00", "/a%", "/a%2", "/a%zz"] {
            assert!(matches!(read(path), Err(Failure::BadRequest(_))), "{path}");
        }
        for path in ["/a/..%2Fb", "/a%2f%2e%2e/b", "/a/..%5cb", "/a/..\\b", "/a/..%252Fb", "/%2e%2e/%ff"] {
            assert!(matches!(read(path), Err(Failure::BadRequest(_))), "{path}");
        }
    }

    #[test]
    fn what_would_take_two_routes_is_refused() {
        let patterns = [
            PathPattern::Prefix("/admin/".into()),
            PathPattern::Suffix(".css".into()),
            PathPattern::Exact("/café".into()),
            PathPattern::Prefix("/".into()),
        ];
        let routes = patterns.map(|path| RouteMatch { path: Some(path), methods: Vec::new() });
        for (path, expected) in [
            ("/admin/x", Some(0)),
            ("/admin/%61", Some(0)),
            ("/admin/a%2Fb", Some(0)),
            ("/%61dmin/x", None),
            ("/admin%2Fx", None),
            ("/%61dmin%2fx", None),
            ("/x.css", Some(1)),
            ("/%78.css", Some(1)),
            ("/x%20y.css", Some(1)),
            ("/x.%63ss", None),
            ("/x%2Ecss", None),
            ("/caf%C3%A9", Some(2)),
            ("/%63af%C3%A9", None),
            ("/a%2Fb%61", Some(3)),
        ] {
            let found = find(&routes, |route| route, &Method::GET, &PathReading::of(path).unwrap());
            let index = |found: &RouteMatch| routes.iter().position(|route| std::ptr::eq(route, found));
            assert_eq!(found.ok().flatten().and_then(index), expected, "{path}");
        }
    }

    #[test]
    fn patterns_take_what_they_say() {
        let prefix = PathPattern::Prefix("/old/".into());
        assert_eq!(rest(&prefix, "/old/a/b"), Some("a/b"));
        assert_eq!(rest(&prefix, "/old"), None);
        assert_eq!(rest(&PathPattern::Suffix(".css".into()), "/a.css"), Some("/a"));
        assert_eq!(rest(&PathPattern::Exact("/a".into()), "/a/"), None);
    }
}
