//! Certificates: where they come from, which one a handshake gets, how they
//! stay valid. Whatever fails here, the last good certificate is served on;
//! starting never waits for a certificate authority.

mod acme;
mod authority;
mod caught;
mod certificate;
mod dns_error;
mod error;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod issuer;
mod manage;
mod names;
mod notice;
mod on_demand;
mod remember;
mod renewal;
mod roots;
mod self_signed;
mod sources;
mod standing;
mod start;
mod status;
mod storage;
mod table;
mod terms;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

pub use acme::CaaRefusal;
pub use dns_error::DnsError;
pub use error::{CertError, CertificateError};
pub use roots::trust_roots;
pub use status::{CertificateStatus, IssuerKind};
pub use storage::{CertStorage, FileStorage, Item, Lock};
pub use table::{ACME_TLS_ALPN, is_challenge};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::Clock;
use crate::config::Config;

use acme::{Challenges, Experience};
use manage::SiteCertificate;
use on_demand::{Begun, OnDemand};
use remember::Remembering;
use standing::Now;
use table::{Handshakes, Resolver};
use terms::Terms;

/// The certificates of one configuration. When it is dropped nothing is renewed
/// any more; what the resolver serves then stays.
#[derive(Debug)]
pub struct Certificates {
    resolver: Arc<Resolver>,
    sites: Vec<Arc<SiteCertificate>>,
    on_demand: Option<Arc<OnDemand>>,
    clock: Arc<dyn Clock>,
    terms: Terms,
    shared: Shared,
    end: CancellationToken,
    _ends_upkeep: DropGuard,
}

/// What the certificates of one configuration have in common with those that follow.
#[derive(Clone, Debug)]
struct Shared {
    storage: Arc<dyn CertStorage>,
    /// The same for what is ordered, which goes on without a disk.
    remembering: Arc<Remembering>,
    challenges: Arc<Challenges>,
    experience: Arc<Experience>,
    begun_on_demand: Arc<Begun>,
}

impl Certificates {
    /// Picks the certificate of a handshake by its server name. A hello that
    /// offers nothing but `acme-tls/1` gets the certificate that proves the name
    /// to an ACME server (RFC 8737 s3).
    pub fn resolver(self: &Arc<Self>) -> Arc<dyn rustls::server::ResolvesServerCert> {
        let (resolver, challenges) = (Arc::clone(&self.resolver), Arc::clone(&self.shared.challenges));
        Arc::new(Handshakes { resolver, challenges })
    }

    /// The content for `/.well-known/acme-challenge/TOKEN`: the key
    /// authorization, if an order needs it or did of late (RFC 8555 s8.3).
    pub fn http01(&self, token: &str) -> Option<String> {
        self.shared.challenges.http01(token)
    }

    /// True if others that are started for `config` now would be ordered alike, and trust
    /// the same roots. Blocks on the disk.
    pub fn are_ordered_as(&self, config: &Config) -> bool {
        self.terms == Terms::of(config)
    }

    /// Writes what could not be written to the state directory, as far as that is
    /// possible within a few seconds: this process is about to end. Nothing is written any
    /// more once all is left to another process.
    ///
    /// # Errors
    /// If a certificate is in memory only: why.
    pub async fn write_down(&self) -> Result<(), CertError> {
        if self.end.is_cancelled() {
            return Ok(());
        }
        self.shared.remembering.write_down().await
    }

    /// Leaves all that is to be made anew to another process; what is served stays.
    pub fn leave(&self) {
        self.end.cancel();
    }

    /// Waits until there is a certificate for `name`, in lower case, or it is known
    /// that there will be none: at once, but for a host whose certificate is
    /// ordered on demand. Cancel safe; the deadline is the caller's.
    pub async fn ready(&self, name: &str) {
        if let Some(on_demand) = &self.on_demand {
            on_demand.ready(name).await;
        }
    }

    /// True if there is a certificate for `name`, in lower case, or for a client that
    /// names nobody.
    pub fn has(&self, name: Option<&str>) -> bool {
        self.resolver.has(name)
    }

    /// How many there may be.
    pub fn most(&self) -> usize {
        self.sites.len() + self.on_demand.as_ref().map_or(0, |_| on_demand::MOST_HOSTS)
    }

    /// Has a new certificate made now for the site of this name, or that has it
    /// among its names; says how many are made. Nothing is waited for.
    pub fn renew(&self, name: &str) -> usize {
        let named = self.sites.iter().filter(|site| site.is_named(name));
        let renewed = named.filter(|site| site.renew_now()).count();
        let on_demand = self.on_demand.as_ref().is_some_and(|on_demand| on_demand.renew(name));
        renewed + usize::from(on_demand)
    }

    /// The certificate of each site with TLS, in the order of the config, and then
    /// of each host that clients named.
    pub fn status(&self) -> Vec<CertificateStatus> {
        let on_demand = self.on_demand.iter().flat_map(|on_demand| on_demand.status());
        let now = Now::of(&*self.clock);
        self.sites.iter().map(|site| site.status(now)).chain(on_demand).collect()
    }
}
