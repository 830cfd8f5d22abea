//! Which certificate a handshake gets. The table is immutable and swapped
//! whole, so that a handshake takes no lock and sees no half of a change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::ANY_HOST;

/// The protocol of a TLS-ALPN-01 challenge (RFC 8737 s6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// The place of a site's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// Which slot a server name leads to; the same as long as the config is.
#[derive(Debug, Default)]
pub(super) struct ServerNames {
    exact: HashMap<String, Slot>,
    /// By what follows `*.`
    wildcard: HashMap<String, Slot>,
    any_host: Option<Slot>,
    default: Option<Slot>,
    slots: usize,
}

impl ServerNames {
    /// Makes a place for a site that answers for `names`: hosts, `*.` and a
    /// host, or `*`. Where two sites claim a name the first one keeps it.
    pub(super) fn add(&mut self, names: impl Iterator<Item = String>) -> Slot {
        let slot = Slot(self.slots);
        self.slots += 1;
        for name in names {
            if name == ANY_HOST {
                self.any_host.get_or_insert(slot);
            } else if let Some(parent) = name.strip_prefix("*.") {
                self.wildcard.entry(parent.to_owned()).or_insert(slot);
            } else {
                self.exact.entry(name).or_insert(slot);
            }
        }
        slot
    }

    /// Has `slot` answer a hello without a server name, or with one that no
    /// site has.
    pub(super) fn answer_unknown(&mut self, slot: Slot) {
        self.default = Some(slot);
    }

    fn find(&self, name: Option<&str>) -> Option<Slot> {
        name.and_then(|name| self.named(name)).or(self.default).or(self.any_host)
    }

    fn named(&self, name: &str) -> Option<Slot> {
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(by_wildcard).copied()
    }
}

/// What a slot serves.
#[derive(Clone, Debug)]
pub(super) enum Served {
    /// A certificate.
    Own(Arc<CertifiedKey>),
    /// Something in its place, and whether a client has got that.
    Placeholder(Arc<CertifiedKey>, Arc<AtomicBool>),
}

impl Served {
    fn shown(&self) -> &Arc<CertifiedKey> {
        match self {
            Self::Own(certificate) => certificate,
            Self::Placeholder(placeholder, is_asked_for) => {
                is_asked_for.store(true, Relaxed);
                placeholder
            }
        }
    }
}

/// All certificates at one moment.
#[derive(Clone, Debug, Default)]
struct Table {
    names: Arc<ServerNames>,
    /// One for each slot.
    certificates: Vec<Served>,
    /// By the name that is to be proven.
    challenges: HashMap<String, Arc<CertifiedKey>>,
}

/// The table of the moment, as rustls asks it.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    table: ArcSwap<Table>,
}

impl Resolver {
    /// Serves `certificates`, in the order in which their slots were made, in
    /// place of all it served.
    pub(super) fn replace(&self, names: ServerNames, certificates: Vec<Served>) {
        self.table.store(Arc::new(Table {
            names: Arc::new(names),
            certificates,
            challenges: HashMap::new(),
        }));
    }

    /// Serves another certificate from the next handshake on.
    pub(super) fn install(&self, slot: Slot, certificate: &Arc<CertifiedKey>) {
        self.change(|table| {
            if let Some(place) = table.certificates.get_mut(slot.0) {
                *place = Served::Own(Arc::clone(certificate));
            }
        });
    }

    /// Serves `certificate` to those who check the challenge for `name`.
    pub(super) fn begin_challenge(&self, name: &str, certificate: &Arc<CertifiedKey>) {
        self.change(|table| {
            table.challenges.insert(name.to_owned(), Arc::clone(certificate));
        });
    }

    /// Ends what [`Resolver::begin_challenge`] began.
    pub(super) fn end_challenge(&self, name: &str) {
        self.change(|table| {
            table.challenges.remove(name);
        });
    }

    fn change(&self, edit: impl Fn(&mut Table)) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            edit(&mut table);
            table
        });
    }

    pub(super) fn certificate(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        Some(Arc::clone(table.certificates.get(table.names.find(name)?.0)?.shown()))
    }

    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.table.load().challenges.get(name).cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(lower_case);
        if hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS_ALPN])) {
            return self.challenge(&name?);
        }
        self.certificate(name.as_deref())
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::self_signed;
    use crate::certs::testing::now;

    fn names(sites: &[&[&str]]) -> ServerNames {
        let mut server_names = ServerNames::default();
        for site in sites {
            server_names.add(site.iter().map(ToString::to_string));
        }
        server_names
    }

    fn found(server_names: &ServerNames, name: Option<&str>) -> Option<usize> {
        server_names.find(name).map(|slot| slot.0)
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_over_any_host() {
        let names = names(&[&["*"], &["*.example.com"], &["a.example.com", "example.com"]]);
        for (name, slot) in [
            (Some("a.example.com"), 2),
            (Some("example.com"), 2),
            (Some("b.example.com"), 1),
            (Some("a.b.example.com"), 0),
            (Some("other.test"), 0),
            (Some("com"), 0),
            (None, 0),
        ] {
            assert_eq!(found(&names, name), Some(slot), "{name:?}");
        }
    }

    #[test]
    fn what_nobody_answers_for_is_refused() {
        let names = names(&[&["example.com"], &["*.example.org"]]);
        for name in [None, Some("example.org"), Some("x.example.com"), Some(""), Some("."), Some("*")] {
            assert_eq!(found(&names, name), None, "{name:?}");
        }
    }

    #[test]
    fn the_default_answers_the_unknown_before_any_host() {
        let mut names = names(&[&["*"], &["example.com"]]);
        names.answer_unknown(Slot(1));
        assert_eq!(found(&names, None), Some(1));
        assert_eq!(found(&names, Some("other.test")), Some(1));
    }

    #[test]
    fn certificates_and_challenges_come_and_go() {
        let made = || self_signed::placeholder(&["a.test".into()], now()).unwrap().certified;
        let (old, new, proof) = (made(), made(), made());
        let resolver = Resolver::default();
        let is_asked_for = Arc::<AtomicBool>::default();
        let placeholder = Served::Placeholder(Arc::clone(&old), Arc::clone(&is_asked_for));
        resolver.replace(names(&[&["a.test"]]), vec![placeholder]);
        assert!(!is_asked_for.load(Relaxed));
        let served = || resolver.certificate(Some("a.test")).unwrap();
        assert!(Arc::ptr_eq(&served(), &old) && is_asked_for.load(Relaxed));
        resolver.begin_challenge("a.test", &proof);
        resolver.install(Slot(0), &new);
        assert!(Arc::ptr_eq(&served(), &new));
        assert!(Arc::ptr_eq(&resolver.challenge("a.test").unwrap(), &proof));
        resolver.end_challenge("a.test");
        assert!(resolver.challenge("a.test").is_none());
    }
}
