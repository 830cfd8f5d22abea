//! Certificates: where they come from, which one a handshake gets, how they
//! stay valid. Whatever fails here, the last good certificate is served on;
//! starting never waits for a certificate authority.

mod acme;
mod authority;
mod certificate;
mod error;
mod files;
mod issuer;
mod manage;
mod names;
mod notice;
mod provider;
mod remember;
mod renewal;
mod self_signed;
mod standing;
mod start;
mod status;
mod storage;
mod table;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

pub use error::{CertError, CertificateError};
pub use provider::provider;
pub use status::{CertificateStatus, IssuerKind};
pub use storage::{CertStorage, FileStorage, Item, Lock};
pub use table::ACME_TLS_ALPN;
use tokio_util::sync::DropGuard;

use crate::base::Clock;

use acme::Challenges;
use manage::SiteCertificate;
use table::Resolver;

/// The certificates of one configuration. When it is dropped nothing is renewed
/// any more; what the resolver serves then stays.
#[derive(Debug)]
pub struct Certificates {
    resolver: Arc<Resolver>,
    challenges: Arc<Challenges>,
    sites: Vec<Arc<SiteCertificate>>,
    clock: Arc<dyn Clock>,
    _ends_upkeep: DropGuard,
}

impl Certificates {
    /// Picks the certificate of a handshake by its server name. A hello that
    /// offers nothing but `acme-tls/1` gets the certificate that proves the name
    /// to an ACME server (RFC 8737 s3).
    pub fn resolver(self: &Arc<Self>) -> Arc<dyn rustls::server::ResolvesServerCert> {
        Arc::clone(&self.resolver) as Arc<dyn rustls::server::ResolvesServerCert>
    }

    /// The content for `/.well-known/acme-challenge/TOKEN`: the key
    /// authorization, if an order waits for it (RFC 8555 s8.3).
    pub fn http01(&self, token: &str) -> Option<String> {
        self.challenges.http01(token)
    }

    /// How many sites have one.
    pub fn count(&self) -> usize {
        self.sites.len()
    }

    /// Has a new certificate made now for the site of this name, or that has it
    /// among its names; says how many are made. Nothing is waited for.
    pub fn renew(&self, name: &str) -> usize {
        let now = self.clock.wall();
        let named = self.sites.iter().filter(|site| site.is_named(name));
        named.filter(|site| site.renew_now(now)).count()
    }

    /// The certificate of each site with TLS, in the order of the config.
    pub fn status(&self) -> Vec<CertificateStatus> {
        self.sites.iter().map(|site| site.status()).collect()
    }
}
