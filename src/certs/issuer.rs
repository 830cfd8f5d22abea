//! Who makes a site's certificate, and what of that is stored.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::acme::{Acme, Failure};
use super::authority::LocalAuthority;
use super::certificate::Certificate;
use super::error::{CertError, CertificateError};
use super::files::FilePair;
use super::standing::{Current, Issued};
use super::storage::{CertStorage, Item};

/// Who makes certificates.
#[derive(Clone, Debug)]
pub(super) enum Issuer {
    /// The local CA.
    Internal(Arc<LocalAuthority>),
    /// ACME servers.
    Acme(Arc<Acme>),
    /// The user, who puts it into files.
    Files(FilePair),
}

/// What becomes of a stored certificate of an ACME server that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It is served until there is another, for clients know best what to make of it.
    IsServed,
    /// A new one is waited for.
    CountsAsNone,
}

/// What a site's certificate has to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The site's name in the config.
    pub(super) site: Arc<str>,
    /// What it is made for.
    pub(super) names: Vec<String>,
    /// True once a client got a placeholder in its place.
    pub(super) is_asked_for: Arc<AtomicBool>,
    /// True for a host that clients named.
    pub(super) is_on_demand: bool,
}

/// A certificate that may be served.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The certificate.
    pub(super) certificate: Certificate,
    /// Which ACME server issued it, if one did.
    pub(super) server: Option<usize>,
}

impl Held {
    /// Of a certificate that is not from an ACME server.
    pub(super) fn own(certificate: Certificate) -> Self {
        Self { certificate, server: None }
    }

    /// What is told of it.
    pub(super) fn current(&self) -> Current {
        let Certificate { certified, validity, .. } = &self.certificate;
        let leaf = certified.cert.first().cloned();
        let source = self.server.zip(leaf).map(|(server, leaf)| Issued {
            server,
            leaf,
            not_before: validity.not_before,
        });
        Current { validity: *validity, key: certified.key.algorithm(), source }
    }
}

impl Issuer {
    /// True if it makes new ones by itself when they are due.
    pub(super) fn renews(&self) -> bool {
        !matches!(self, Self::Files(_))
    }

    /// The stored certificate that lasts longest of those that may be used. A
    /// broken one counts as none, and so does one that is over or lacks a name, unless
    /// `over` says otherwise.
    pub(super) async fn stored(
        &self,
        wanted: &Wanted,
        storage: &dyn CertStorage,
        now: SystemTime,
        over: Over,
    ) -> Option<Held> {
        let mut longest = None::<Held>;
        for (server, item) in self.items(&wanted.site) {
            let checked = match storage.load(&item).await {
                Ok(None) => continue,
                Ok(Some(bundle)) => self.check(&bundle, wanted, now, over),
                Err(error) => Err(error),
            };
            let certificate = match checked {
                Ok(certificate) => certificate,
                Err(CertError::Unfit(CertificateError::Expired)) if over == Over::CountsAsNone => {
                    continue;
                }
                Err(error) => {
                    let (site, reason) = (&*wanted.site, error.story());
                    tracing::warn!(site, reason, "a stored certificate is not used: a new one is made");
                    continue;
                }
            };
            let worth = |certificate: &Certificate| certificate.worth(&wanted.names);
            if longest.as_ref().is_none_or(|other| worth(&certificate) > worth(&other.certificate)) {
                longest = Some(Held { certificate, server });
            }
        }
        longest
    }

    fn check(
        &self,
        bundle: &[u8],
        wanted: &Wanted,
        now: SystemTime,
        over: Over,
    ) -> Result<Certificate, CertError> {
        let certificate = Certificate::from_pem(bundle, bundle)?;
        match (certificate.check(&wanted.names, now), self) {
            (Err(CertificateError::Expired), Self::Acme(_)) if over == Over::IsServed => {
                tracing::error!(
                    site = &*wanted.site,
                    "the certificate has expired and is served all the same"
                );
            }
            // Those that it has are not to lose it because of a new one.
            (Err(CertificateError::NotFor(name)), Self::Acme(_))
                if over == Over::IsServed && certificate.is_for_some(&wanted.names) =>
            {
                tracing::info!(
                    site = &*wanted.site,
                    name,
                    "a certificate that lacks a name is served until there is another"
                );
            }
            (checked, _) => checked?,
        }
        if let Self::Internal(authority) = self {
            authority.check(&certificate, now)?;
        }
        Ok(certificate)
    }

    /// A new certificate, in the place of the one `in_use`.
    pub(super) async fn issue(
        &self,
        wanted: &Wanted,
        in_use: Option<&Issued>,
        now: SystemTime,
    ) -> Result<Held, Failure> {
        match self {
            Self::Internal(authority) => {
                let issued = authority.issue(&wanted.site, &wanted.names, now).await;
                issued.map(Held::own).map_err(Failure::from)
            }
            Self::Acme(acme) => acme.issue(wanted, in_use).await,
            Self::Files(pair) => {
                let loaded = pair.load(&wanted.names, now).await;
                loaded.map(Held::own).map_err(Failure::from)
            }
        }
    }

    /// Where certificates may be stored, and which ACME server they are from.
    fn items(&self, site: &str) -> Vec<(Option<usize>, Item)> {
        match self {
            Self::Internal(_) => vec![(None, Item::internal_certificate(site))],
            Self::Files(_) => Vec::new(),
            Self::Acme(acme) => {
                let items = acme.items(site).into_iter().enumerate();
                items.map(|(server, item)| (Some(server), item)).collect()
            }
        }
    }
}
