//! Which requests a route takes. Paths are matched decoded; one that could be
//! matched in two ways is refused, as the origin server may read it in the
//! other.

use std::borrow::Cow;

use http::Method;

use crate::config::model::{PathPattern, RouteMatch};
use crate::exchange::{Failure, Target};

/// A path as routes read it.
#[derive(Debug)]
pub(super) struct PathReading<'a> {
    decoded: Cow<'a, str>,
}

impl<'a> PathReading<'a> {
    /// Decodes the path of `target`, but for an encoded `/`, which stays as it is.
    /// Fails for a NUL, for what is no encoding, and for a dot segment, also one
    /// that only a recipient would see that decodes `%2F` or takes `\\` for `/`.
    pub(super) fn of(target: &'a Target) -> Result<Self, Failure> {
        let decoded = decode(target.path())?;
        let mut segments = decoded.split(['/', '\\']).flat_map(|segment| segment.split("%2F"));
        if segments.any(|segment| segment == "." || segment == "..") {
            return Err(Failure::BadRequest("a dot segment in the path"));
        }
        Ok(Self { decoded })
    }

    /// The decoded path.
    pub(super) fn as_str(&self) -> &str {
        &self.decoded
    }
}

fn decode(path: &str) -> Result<Cow<'_, str>, Failure> {
    const BAD: Failure = Failure::BadRequest("a path that can be read in two ways");
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = bytes.next().zip(bytes.next());
        let value = digits.and_then(|(high, low)| Some(hex(high)? << 4 | hex(low)?));
        match value {
            // An encoded slash stays encoded: `/a%2Fb` is one segment.
            Some(b'/') => decoded.extend_from_slice(b"%2F"),
            Some(0) | None => return Err(BAD),
            Some(value) => decoded.push(value),
        }
    }
    // What is no UTF-8 matches no pattern, but is a path all the same.
    let decoded = String::from_utf8(decoded);
    Ok(Cow::Owned(decoded.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// True if the route takes a request of this method and path.
pub(super) fn matches(route: &RouteMatch, method: &Method, path: &PathReading<'_>) -> bool {
    (route.methods.is_empty() || route.methods.contains(method))
        && route.path.as_ref().is_none_or(|pattern| rest(pattern, path.as_str()).is_some())
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
    use crate::exchange::{Host, Scheme};
    use http::HeaderValue;

    fn read(path: &str) -> Result<String, Failure> {
        let target = Target {
            scheme: Scheme::Http,
            host: Host::parse(&HeaderValue::from_static("a.test"), Scheme::Http).unwrap(),
            path_and_query: path.parse().unwrap(),
        };
        PathReading::of(&target).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn paths_are_matched_decoded() {
        assert_eq!(read("/caf%C3%A9/%61?x=%2e").unwrap(), "/café/a");
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
    fn patterns_take_what_they_say() {
        let prefix = PathPattern::Prefix("/old/".into());
        assert_eq!(rest(&prefix, "/old/a/b"), Some("a/b"));
        assert_eq!(rest(&prefix, "/old"), None);
        assert_eq!(rest(&PathPattern::Suffix(".css".into()), "/a.css"), Some("/a"));
        assert_eq!(rest(&PathPattern::Exact("/a".into()), "/a/"), None);
    }
}
