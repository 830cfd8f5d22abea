//! Who sets the TXT records that prove names (RFC 8555 s8.4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Secret, Webhook};

/// Who sets the TXT records that prove names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecords {
    /// How that is done.
    pub by: DnsMeans,
    /// For how long they spread before the authority looks.
    pub wait: Duration,
}

/// How DNS records are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsMeans {
    /// By a program that is run.
    Exec(PathBuf),
    /// By a server that is asked, at `/present` and `/cleanup` under its URL.
    Webhook(Webhook),
    /// By updates of a name server (RFC 2136).
    Server(DnsServer),
    /// By the API of who hosts the zone.
    Provider(DnsProvider),
}

/// A name server that takes updates, and the key that they are signed with
/// (RFC 8945).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsServer {
    /// Its address or name, and its port.
    pub address: String,
    /// The name of the key, in lower case.
    pub key: String,
    /// What it signs with.
    pub algorithm: TsigAlgorithm,
    /// The bytes of the key.
    pub secret: Secret,
    /// The zones that need not be looked for.
    pub zones: Zones,
}

/// How updates are signed (RFC 8945 s6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    Sha256,
    /// `hmac-sha384`
    Sha384,
    /// `hmac-sha512`
    Sha512,
}

impl TsigAlgorithm {
    /// All of them, by the names that DNS has for them.
    pub const ALL: [(&str, Self); 3] =
        [("hmac-sha256", Self::Sha256), ("hmac-sha384", Self::Sha384), ("hmac-sha512", Self::Sha512)];
}

/// A provider that hosts zones, and what its API is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProvider {
    /// Its name in the config.
    pub name: &'static str,
    /// What the config gives for it, by key: secret or not, none of it is shown.
    pub given: BTreeMap<&'static str, Secret>,
    /// The zones that need not be looked for.
    pub zones: Zones,
}

/// Zones that the config names, each in lower case without a dot at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(pub Vec<String>);

impl Zones {
    /// The nearest of them that a name is in, which is in lower case without a dot
    /// at its end.
    pub fn of(&self, name: &str) -> Option<&str> {
        let is_in = |zone: &&String| {
            name.strip_suffix(zone.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.'))
        };
        self.0.iter().filter(is_in).max_by_key(|zone| zone.len()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_zone_counts() {
        let zones = Zones(vec!["b.test".to_owned(), "a.b.test".to_owned(), "c.test".to_owned()]);
        for (name, zone) in [
            ("b.test", Some("b.test")),
            ("x.b.test", Some("b.test")),
            ("a.b.test", Some("a.b.test")),
            ("x.y.a.b.test", Some("a.b.test")),
            ("xb.test", None),
            ("test", None),
        ] {
            assert_eq!(zones.of(name), zone, "{name}");
        }
    }
}
