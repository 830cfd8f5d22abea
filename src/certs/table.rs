//! Which certificate a handshake gets. The table of the sites is immutable and
//! swapped whole, so that a handshake takes no lock and sees no half of a change;
//! only for a host that no site names, and for an ACME server, is there a lock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::acme::Challenges;
use crate::config::ByHost;

/// The protocol of a TLS-ALPN-01 challenge (RFC 8737 s6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// The place of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among those of the sites.
    Slot(usize),
    /// That of a host that clients named.
    Host(Arc<str>),
}

/// The slots of a site, one beside the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    first: usize,
    count: usize,
}

impl Slots {
    /// Each of them.
    pub(super) fn places(self) -> impl Iterator<Item = Place> {
        (self.first..self.first + self.count).map(Place::Slot)
    }
}

/// Which slots a server name leads to; the same as long as the config is.
#[derive(Debug, Default)]
pub(super) struct ServerNames {
    /// But for names whose hosts get certificates on demand.
    slots: ByHost<Slots>,
    /// By every name of every site: whether its hosts get certificates on demand.
    on_demand: ByHost<bool>,
    default: Option<Slots>,
    count: usize,
}

impl ServerNames {
    /// Makes `count` places for a site that answers for `names`: hosts, `*.` and a
    /// host, or `*`, but for those that are `on_demand`.
    pub(super) fn add<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        count: usize,
        on_demand: impl Fn(&str) -> bool,
    ) -> Slots {
        let slots = Slots { first: self.count, count };
        self.count += count;
        for name in names {
            let is_on_demand = on_demand(name);
            self.on_demand.insert(name, is_on_demand);
            if !is_on_demand && count > 0 {
                self.slots.insert(name, slots);
            }
        }
        slots
    }

    /// Has `slots` answer a hello without a server name, or with one that no
    /// site has.
    pub(super) fn answer_unknown(&mut self, slots: Slots) {
        self.default = Some(slots);
    }

    fn find(&self, name: Option<&str>) -> Option<Slots> {
        let named = name.and_then(|name| self.slots.find_named(name)).copied();
        named.or(self.default).or(self.slots.any().copied())
    }

    fn is_on_demand(&self, name: &str) -> bool {
        self.on_demand.find(name) == Some(&true)
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
    fn key(&self) -> &Arc<CertifiedKey> {
        match self {
            Self::Own(certificate) | Self::Placeholder(certificate, _) => certificate,
        }
    }

    fn shown(&self) -> &Arc<CertifiedKey> {
        if let Self::Placeholder(_, is_asked_for) = self {
            is_asked_for.store(true, Relaxed);
        }
        self.key()
    }
}

/// All certificates of the sites at one moment.
#[derive(Clone, Debug, Default)]
struct Table {
    names: Arc<ServerNames>,
    /// One for each slot.
    certificates: Vec<Served>,
}

impl Table {
    /// Of the certificates of a site the first one that the client can check, as
    /// far as it says.
    fn certificate(&self, slots: Slots, schemes: Option<&[SignatureScheme]>) -> Option<Arc<CertifiedKey>> {
        let all = self.certificates.get(slots.first..slots.first + slots.count)?;
        let suits = |served: &&Served| {
            schemes.is_none_or(|schemes| served.key().key.choose_scheme(schemes).is_some())
        };
        let served = all.iter().find(suits).or(all.first())?;
        Some(Arc::clone(served.shown()))
    }
}

/// The certificate of a host that clients named.
#[derive(Debug)]
struct HostCertificate {
    certified: Arc<CertifiedKey>,
    /// Since it is there.
    is_used: AtomicBool,
    /// Since the unused ones were looked for.
    is_used_of_late: AtomicBool,
}

impl HostCertificate {
    fn shown(&self) -> Arc<CertifiedKey> {
        self.is_used.store(true, Relaxed);
        self.is_used_of_late.store(true, Relaxed);
        Arc::clone(&self.certified)
    }
}

/// The table of the moment.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    table: ArcSwap<Table>,
    /// They come one by one and may be many, so they are changed in place.
    hosts: RwLock<HashMap<Arc<str>, HostCertificate>>,
}

impl Resolver {
    /// Serves `certificates`, in the order in which their slots were made, in
    /// place of all it served.
    pub(super) fn replace(&self, names: ServerNames, certificates: Vec<Served>) {
        self.table.store(Arc::new(Table { names: Arc::new(names), certificates }));
    }

    /// Serves another certificate from the next handshake on.
    pub(super) fn install(&self, place: &Place, certified: &Arc<CertifiedKey>) {
        match place {
            Place::Slot(slot) => self.change(|table| {
                if let Some(served) = table.certificates.get_mut(*slot) {
                    *served = Served::Own(Arc::clone(certified));
                }
            }),
            Place::Host(host) => {
                let mut hosts = self.hosts_mut();
                let before = hosts.get(host).map(|before| before.is_used_of_late.load(Relaxed));
                let certificate = HostCertificate {
                    certified: Arc::clone(certified),
                    // The first one a client has asked for.
                    is_used: AtomicBool::new(before.is_none()),
                    is_used_of_late: AtomicBool::new(before.unwrap_or(true)),
                };
                hosts.insert(Arc::clone(host), certificate);
            }
        }
    }

    /// True for a host, in lower case, that gets its certificate on demand.
    pub(super) fn is_on_demand(&self, host: &str) -> bool {
        self.table.load().names.is_on_demand(host)
    }

    /// True if it has a certificate for a host that clients named.
    pub(super) fn has_host(&self, host: &str) -> bool {
        self.hosts().contains_key(host)
    }

    /// True if that certificate was served to anybody, or is the first one.
    pub(super) fn is_used(&self, host: &str) -> bool {
        self.hosts().get(host).is_some_and(|certificate| certificate.is_used.load(Relaxed))
    }

    /// Hosts whose certificates were not served since this was asked last, `most` of
    /// them at most.
    pub(super) fn unused_of_late(&self, most: usize) -> Vec<Arc<str>> {
        let mut unused = Vec::new();
        for (host, certificate) in &*self.hosts() {
            if !certificate.is_used_of_late.swap(false, Relaxed) && unused.len() < most {
                unused.push(Arc::clone(host));
            }
        }
        unused
    }

    /// Serves nothing for `host` any more.
    pub(super) fn remove_host(&self, host: &str) {
        self.hosts_mut().remove(host);
    }

    fn change(&self, edit: impl Fn(&mut Table)) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            edit(&mut table);
            table
        });
    }

    /// What a client gets that asks for `name` and can check signatures of these
    /// `schemes`; `None`: it says nothing of that.
    pub(super) fn certificate(
        &self,
        name: Option<&str>,
        schemes: Option<&[SignatureScheme]>,
    ) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        if let Some(name) = name.filter(|name| table.names.is_on_demand(name)) {
            return self.hosts().get(name).map(HostCertificate::shown);
        }
        table.certificate(table.names.find(name)?, schemes)
    }

    /// True if whoever asks for `name` gets one.
    pub(super) fn has(&self, name: Option<&str>) -> bool {
        let table = self.table.load();
        match name.filter(|name| table.names.is_on_demand(name)) {
            Some(host) => self.has_host(host),
            None => table.names.find(name).is_some(),
        }
    }

    fn hosts(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, HostCertificate>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts_mut(&self) -> RwLockWriteGuard<'_, HashMap<Arc<str>, HostCertificate>> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table, and the proofs for ACME servers, as rustls asks them.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// For clients.
    pub(super) resolver: Arc<Resolver>,
    /// For ACME servers.
    pub(super) challenges: Arc<Challenges>,
}

impl ResolvesServerCert for Handshakes {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(lower_case);
        if is_challenge(&hello) {
            return self.challenges.tls_alpn01(&name?);
        }
        self.resolver.certificate(name.as_deref(), Some(hello.signature_schemes()))
    }
}

/// True for a hello of an ACME server that checks a TLS-ALPN-01 challenge (RFC
/// 8737 s3): it offers nothing else.
pub fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS_ALPN]))
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
            server_names.add(site.iter().copied(), 1, |_| false);
        }
        server_names
    }

    fn found(server_names: &ServerNames, name: Option<&str>) -> Option<usize> {
        server_names.find(name).map(|slots| slots.first)
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
        names.answer_unknown(Slots { first: 1, count: 1 });
        assert_eq!(found(&names, None), Some(1));
        assert_eq!(found(&names, Some("other.test")), Some(1));
    }

    #[test]
    fn only_open_names_are_on_demand() {
        let mut names = ServerNames::default();
        names.add(["*", "www.example.com"], 1, |name| name == "*");
        names.add(["off.example.com"], 0, |_| false);
        names.add(["*.example.org"], 0, |_| true);
        for (name, is_on_demand) in [
            ("www.example.com", false),
            ("other.example.com", true),
            ("off.example.com", false),
            ("a.example.org", true),
            ("a.b.example.org", true),
        ] {
            assert_eq!(names.is_on_demand(name), is_on_demand, "{name}");
        }
        assert_eq!(names.find(Some("www.example.com")), Some(Slots { first: 0, count: 1 }));
        assert_eq!(names.find(Some("off.example.com")), None);
    }

    #[test]
    fn what_is_used_of_late_stays() {
        let resolver = Resolver::default();
        let mut names = ServerNames::default();
        names.add(["*"], 0, |_| true);
        resolver.replace(names, Vec::new());
        let certified = self_signed::placeholder(&["a.test".into()], now()).unwrap().certified;
        let hosts = ["a.test", "b.test", "c.test"].map(Arc::<str>::from);
        for host in &hosts {
            resolver.install(&Place::Host(Arc::clone(host)), &certified);
        }
        assert!(resolver.unused_of_late(10).is_empty(), "clients asked for them just now");
        resolver.certificate(Some("b.test"), None).unwrap();
        // A renewal is no use of it.
        resolver.install(&Place::Host(Arc::clone(&hosts[0])), &certified);
        assert!(!resolver.is_used("a.test") && resolver.is_used("b.test"));
        assert_eq!(resolver.unused_of_late(1).len(), 1);
        assert_eq!(resolver.unused_of_late(10).len(), 3);
    }

    #[test]
    fn a_certificate_takes_the_place_of_a_placeholder() {
        let made = || self_signed::placeholder(&["a.test".into()], now()).unwrap().certified;
        let (old, new) = (made(), made());
        let resolver = Resolver::default();
        let is_asked_for = Arc::<AtomicBool>::default();
        let placeholder = Served::Placeholder(Arc::clone(&old), Arc::clone(&is_asked_for));
        resolver.replace(names(&[&["a.test"]]), vec![placeholder]);
        assert!(!is_asked_for.load(Relaxed));
        let served = || resolver.certificate(Some("a.test"), None).unwrap();
        assert!(Arc::ptr_eq(&served(), &old) && is_asked_for.load(Relaxed));
        resolver.install(&Place::Slot(0), &new);
        assert!(Arc::ptr_eq(&served(), &new));
    }
}
