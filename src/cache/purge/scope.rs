//! What a purge names, read from what an operator wrote: in the normal form of
//! keys, so that what is purged is what a request for it would find.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::cache::store::Selector;
use crate::exchange::{Host, Scheme, Target};
use crate::policy::{self, CacheKey, LONGEST_TAG};
use crate::telemetry::metrics::PurgeKind;

/// The most that one purge may name.
pub const MOST_NAMED: usize = 256;

/// The longest URL or prefix, in bytes.
const LONGEST: usize = 8 << 10;

/// What is to be purged.
#[derive(Clone, Debug)]
pub struct Purge {
    pub(super) what: What,
    pub(super) soft: bool,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Keys(Vec<CacheKey>),
    Prefixes(Vec<Box<[u8]>>),
    Hosts(Vec<Box<[u8]>>),
    Tags(Vec<Box<[u8]>>),
    Everything,
}

/// What is written names nothing that could be purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPurge {
    /// Nothing is named.
    #[error("nothing is named")]
    Nothing,
    /// More is named than one purge may.
    #[error("more than {MOST_NAMED} are named at once")]
    TooMany,
    /// It is too long.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// It is no URL.
    #[error("`{0}` is no URL: write https://host/path, or host/path for http and https")]
    Url(String),
    /// It is no host.
    #[error("`{0}` is no host")]
    Host(String),
    /// It is no tag.
    #[error("`{0}` is no tag: it is empty, or has a space or a comma at an end")]
    Tag(String),
}

impl Purge {
    /// Exactly these keys, with all their variants.
    pub fn keys(keys: Vec<CacheKey>) -> Result<Self, InvalidPurge> {
        bounded(keys.len(), 2 * MOST_NAMED)?;
        Ok(Self { what: What::Keys(keys), soft: false })
    }

    /// Everything whose URL begins with one of these, byte for byte.
    pub fn prefixes(urls: &[String]) -> Result<Self, InvalidPurge> {
        bounded(urls.len(), MOST_NAMED)?;
        let mut prefixes = Vec::new();
        for url in urls {
            for (scheme, host, path) in parts(url)? {
                prefixes.extend(policy::key_prefixes(scheme.as_str(), host.as_str(), true, Some(path)));
            }
        }
        Ok(Self { what: What::Prefixes(prefixes), soft: false })
    }

    /// Everything of these hosts, under http and https; a host without a port at
    /// every port.
    pub fn hosts(names: &[String]) -> Result<Self, InvalidPurge> {
        bounded(names.len(), MOST_NAMED)?;
        let mut prefixes = Vec::new();
        for name in names {
            let has_port = !name.ends_with(']') && name.contains(':');
            for scheme in [Scheme::Http, Scheme::Https] {
                let host = host(name, scheme).ok_or_else(|| InvalidPurge::Host(name.clone()))?;
                prefixes.extend(policy::key_prefixes(scheme.as_str(), host.as_str(), has_port, None));
            }
        }
        Ok(Self { what: What::Hosts(prefixes), soft: false })
    }

    /// Everything that has one of these tags, byte for byte.
    pub fn tags<T: AsRef<[u8]>>(tags: impl IntoIterator<Item = T>) -> Result<Self, InvalidPurge> {
        let mut selected = Vec::new();
        for tag in tags {
            let tag = tag.as_ref();
            if tag.len() > LONGEST_TAG {
                return Err(InvalidPurge::TooLong(LONGEST_TAG));
            }
            if tag.is_empty() || tag.trim_ascii().len() != tag.len() {
                return Err(InvalidPurge::Tag(String::from_utf8_lossy(tag).into_owned()));
            }
            selected.push(Box::from(tag));
            bounded(selected.len(), MOST_NAMED)?;
        }
        bounded(selected.len(), MOST_NAMED)?;
        Ok(Self { what: What::Tags(selected), soft: false })
    }

    /// Everything.
    pub fn everything() -> Self {
        Self { what: What::Everything, soft: false }
    }

    /// The same; `soft`: what it covers stays and is stale.
    #[must_use]
    pub fn softly(self, soft: bool) -> Self {
        Self { soft, ..self }
    }

    /// The beginnings of the keys it names; none for tags.
    pub(in crate::cache) fn prefixes_named(&self) -> Vec<Box<[u8]>> {
        match &self.what {
            What::Keys(keys) => keys.iter().map(|key| key.as_bytes().into()).collect(),
            What::Prefixes(prefixes) | What::Hosts(prefixes) => prefixes.clone(),
            What::Tags(_) => Vec::new(),
            What::Everything => vec![Box::default()],
        }
    }

    /// What it names.
    pub fn kind(&self) -> PurgeKind {
        match self.what {
            What::Keys(_) => PurgeKind::Url,
            What::Prefixes(_) => PurgeKind::Prefix,
            What::Hosts(_) => PurgeKind::Host,
            What::Tags(_) => PurgeKind::Tag,
            What::Everything => PurgeKind::All,
        }
    }
}

impl What {
    pub(super) fn selectors(&self) -> Arc<[Selector]> {
        match self {
            Self::Keys(keys) => keys.iter().map(|key| Selector::Key(key.as_bytes().into())).collect(),
            Self::Prefixes(prefixes) | Self::Hosts(prefixes) => {
                prefixes.iter().cloned().map(Selector::Prefix).collect()
            }
            Self::Tags(tags) => tags.iter().cloned().map(Selector::Tag).collect(),
            Self::Everything => Arc::new([Selector::Prefix(Box::default())]),
        }
    }
}

/// For logs: what comes first of what is named, and how much follows.
impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, count) = match &self.what {
            What::Keys(keys) => (keys.first().map(CacheKey::as_bytes), keys.len()),
            What::Prefixes(all) | What::Hosts(all) | What::Tags(all) => {
                (all.first().map(|one| &**one), all.len())
            }
            What::Everything => return f.write_str("everything"),
        };
        let first = String::from_utf8_lossy(first.unwrap_or_default());
        // A key has a NUL after its scheme and after its host.
        f.write_str(&first.trim_end_matches('\0').replacen('\0', "://", 1).replace('\0', ""))?;
        if count > 1 { write!(f, " and {} more", count - 1) } else { Ok(()) }
    }
}

/// The targets of a URL: under http and https, unless it says which.
pub fn purge_targets(url: &str) -> Result<Vec<Target>, InvalidPurge> {
    let invalid = || InvalidPurge::Url(url.to_owned());
    let mut targets = Vec::new();
    for (scheme, host, path) in parts(url)? {
        let path_and_query: PathAndQuery = path.parse().map_err(|_| invalid())?;
        targets.push(Target { scheme, host, path_and_query });
    }
    Ok(targets)
}

/// Scheme, host and the rest of a URL; twice if it has no scheme.
fn parts(url: &str) -> Result<Vec<(Scheme, Host, &str)>, InvalidPurge> {
    if url.len() > LONGEST {
        return Err(InvalidPurge::TooLong(LONGEST));
    }
    let invalid = || InvalidPurge::Url(url.to_owned());
    // In a path or a query it says nothing of a scheme.
    let written = url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '.']));
    let (schemes, rest) = match written {
        None => (&[Scheme::Http, Scheme::Https][..], url),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (&[Scheme::Http][..], rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (&[Scheme::Https][..], rest),
        Some(_) => return Err(invalid()),
    };
    // No request has a fragment.
    let rest = rest.split('#').next().unwrap_or_default();
    let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid());
    }
    let target = |scheme: &Scheme| Some((*scheme, host(name, *scheme)?, path));
    schemes.iter().map(|scheme| target(scheme).ok_or_else(invalid)).collect()
}

fn host(name: &str, scheme: Scheme) -> Option<Host> {
    Host::parse(&HeaderValue::from_str(name).ok()?, scheme).ok()
}

fn bounded(named: usize, most: usize) -> Result<(), InvalidPurge> {
    match named {
        0 => Err(InvalidPurge::Nothing),
        named if named > most => Err(InvalidPurge::TooMany),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(what: &What) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace('\0', "|");
        what.selectors()
            .iter()
            .map(|selector| match selector {
                Selector::Key(text_of) | Selector::Prefix(text_of) | Selector::Tag(text_of) => text(text_of),
            })
            .collect()
    }

    #[test]
    fn urls_are_read_as_requests_are() {
        for (url, expected) in [
            ("https://A.test./x?y#z", &["https://a.test/x?y"][..]),
            ("HTTP://a.test:080", &["http://a.test/"]),
            ("a.test/x", &["http://a.test/x", "https://a.test/x"]),
            ("a.test:443/x", &["http://a.test:443/x", "https://a.test/x"]),
            ("https://[::1]:8443/", &["https://[::1]:8443/"]),
            ("a.test/x?u=http://b/", &["http://a.test/x?u=http://b/", "https://a.test/x?u=http://b/"]),
            ("https://a.test/http://b/c", &["https://a.test/http://b/c"]),
        ] {
            let targets = purge_targets(url).unwrap();
            assert_eq!(targets.iter().map(Target::to_string).collect::<Vec<_>>(), expected, "{url}");
        }
        for url in
            ["", "/x", "ftp://a.test/", "https://a@b/", "https://a.test/ä", "https://a.test/a b", "a..b/"]
        {
            assert!(matches!(purge_targets(url), Err(InvalidPurge::Url(_))), "{url}");
        }
        assert_eq!(
            purge_targets(&format!("a.test/{}", "x".repeat(LONGEST))),
            Err(InvalidPurge::TooLong(LONGEST))
        );
    }

    #[test]
    fn prefixes_and_hosts_are_the_beginnings_of_keys() {
        let prefixes = |url: &str| texts(&Purge::prefixes(&[url.to_owned()]).unwrap().what);
        assert_eq!(prefixes("https://a.test/x?y"), ["https|a.test|/x?y"]);
        assert_eq!(prefixes("A.test:80"), ["http|a.test|/", "https|a.test:80|/"]);
        let hosts = |name: &str| texts(&Purge::hosts(&[name.to_owned()]).unwrap().what);
        assert_eq!(hosts("A.test"), ["http|a.test|", "http|a.test:", "https|a.test|", "https|a.test:"]);
        assert_eq!(hosts("[::1]:80"), ["http|[::1]|", "https|[::1]:80|"]);
        assert_eq!(hosts("[::1]").len(), 4);
        assert_eq!(Purge::hosts(&["a/b".to_owned()]).unwrap_err(), InvalidPurge::Host("a/b".to_owned()));
    }

    #[test]
    fn what_is_named_is_bounded() {
        assert_eq!(Purge::tags::<&str>([]).unwrap_err(), InvalidPurge::Nothing);
        assert_eq!(Purge::tags(vec!["a"; MOST_NAMED + 1]).unwrap_err(), InvalidPurge::TooMany);
        assert_eq!(Purge::tags(["a".repeat(129)]).unwrap_err(), InvalidPurge::TooLong(128));
        assert!(matches!(Purge::tags([" a"]), Err(InvalidPurge::Tag(_))));
        assert_eq!(
            Purge::prefixes(&vec!["a".to_owned(); MOST_NAMED + 1]).unwrap_err(),
            InvalidPurge::TooMany
        );
        assert_eq!(texts(&Purge::everything().what), [""]);
    }

    #[test]
    fn a_purge_is_told_in_words() {
        let keys = vec![CacheKey::new(b"https\0a.test\0/x"), CacheKey::new(b"https\0a.test\0/y")];
        assert_eq!(Purge::keys(keys).unwrap().to_string(), "https://a.test/x and 1 more");
        assert_eq!(Purge::tags(["a"]).unwrap().to_string(), "a");
        let host = Purge::hosts(&["a.test:81".to_owned()]).unwrap();
        assert_eq!(host.to_string(), "http://a.test:81 and 1 more");
    }
}
