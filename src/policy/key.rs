//! Where responses are kept: the cache key (RFC 9111 s2). It is made of the
//! target URI alone; the method is always GET, and fields of the request
//! choose among what is kept under one key.

use std::borrow::Borrow;

use smallvec::SmallVec;

/// The parts of a target URI in normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host in lower case, and the port if it is not the scheme's own.
    pub host: &'a str,
    /// The path, which has no question mark.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: Option<&'a str>,
}

/// A key of so many bytes needs no memory besides its own.
const SHORT: usize = 64;

/// A cache key, looked up by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(SmallVec<[u8; SHORT]>);

impl CacheKey {
    /// The key of these bytes, as [`write_key`] wrote them.
    pub fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl CacheKey {
    /// The URL whose responses are kept under it; `None` for what is no key of a
    /// response.
    pub fn to_url(&self) -> Option<String> {
        let mut parts = self.0.split(|byte| *byte == 0);
        let (scheme, host, target) = (parts.next()?, parts.next()?, parts.next()?);
        let text = |bytes| String::from_utf8_lossy(bytes);
        parts.next().is_none().then(|| format!("{}://{}{}", text(scheme), text(host), text(target)))
    }
}

impl Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Writes the key of a target URI in normal form into an emptied buffer, which
/// is reused between requests. Parts that differ give keys that differ, for no part of a
/// URI has a NUL.
pub fn write_key(parts: KeyParts<'_>, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(parts.scheme.as_bytes());
    into.push(0);
    into.extend_from_slice(parts.host.as_bytes());
    into.push(0);
    into.extend_from_slice(parts.path.as_bytes());
    if let Some(query) = parts.query {
        into.push(b'?');
        into.extend_from_slice(query.as_bytes());
    }
}

/// What the keys of a host begin with under one scheme, or those of its targets
/// whose path begins with `path`. A host without a port stands for that name at
/// every port, unless there is a path.
pub fn key_prefixes(scheme: &str, host: &str, has_port: bool, path: Option<&str>) -> Vec<Box<[u8]>> {
    let prefix = |end: &str| format!("{scheme}\0{host}{end}").into_bytes().into_boxed_slice();
    match path {
        Some(path) => vec![prefix(&format!("\0{path}"))],
        None if has_port => vec![prefix("\0")],
        None => vec![prefix("\0"), prefix(":")],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(parts: KeyParts<'_>) -> Vec<u8> {
        let mut into = b"of the last request".to_vec();
        write_key(parts, &mut into);
        into
    }

    #[test]
    fn the_query_is_part_of_the_key() {
        let parts = KeyParts { scheme: "https", host: "a.test", path: "/x", query: Some("y=1") };
        assert_eq!(key(parts), b"https\0a.test\0/x?y=1");
        assert_ne!(key(KeyParts { query: Some(""), ..parts }), key(KeyParts { query: None, ..parts }));
    }

    #[test]
    fn the_keys_of_a_host_have_their_beginning_in_common() {
        let covers = |prefixes: Vec<Box<[u8]>>, host, path| {
            let parts = KeyParts { scheme: "https", host, path, query: None };
            let key = key(parts);
            prefixes.iter().any(|prefix| key.starts_with(prefix))
        };
        for (has_port, host, path, other, other_path, expected) in [
            (false, "a.test", None, "a.test", "/x", true),
            (false, "a.test", None, "a.test:8443", "/x", true),
            (false, "a.test", None, "a.test.b", "/x", false),
            (true, "a.test:8443", None, "a.test:8443", "/x", true),
            (true, "a.test:84", None, "a.test:8443", "/x", false),
            (false, "a.test", Some("/x"), "a.test", "/x/y", true),
            (false, "a.test", Some("/x/"), "a.test", "/x", false),
            (false, "a.test", Some("/"), "a.test:8443", "/", false),
        ] {
            let prefixes = key_prefixes("https", host, has_port, path);
            assert_eq!(covers(prefixes, other, other_path), expected, "{host} {path:?} {other}{other_path}");
        }
    }

    #[test]
    fn a_key_tells_its_url() {
        let url = |key: &[u8]| CacheKey::new(key).to_url();
        assert_eq!(url(b"https\0a.test:1\0/x?y").as_deref(), Some("https://a.test:1/x?y"));
        assert_eq!((url(b"https\0a.test"), url(b"https\0a.test\0/x\0slice")), (None, None));
    }

    #[test]
    fn keys_are_found_by_their_bytes() {
        let known = HashMap::from([(CacheKey::new(b"k"), 1)]);
        assert_eq!(known.get(b"k".as_slice()), Some(&1));
    }

    type Parts = (String, String, String, Option<String>);

    fn parts() -> impl Strategy<Value = Parts> {
        ("https?", "[a-z.:/]{0,4}", "/[a-z/:]{0,4}", proptest::option::of("[a-z?/]{0,4}"))
    }

    proptest! {
        #[test]
        fn the_key_is_injective(one in parts(), other in parts()) {
            let write = |parts: &Parts| {
                let (scheme, host, path, query) = parts;
                key(KeyParts { scheme, host, path, query: query.as_deref() })
            };
            prop_assert_eq!(one == other, write(&one) == write(&other));
        }
    }
}
