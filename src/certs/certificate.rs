//! A certificate chain with its private key, checked to belong together: what
//! the table serves. It never reads a file or a clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::error::CertificateError;
use crate::base::provider;

/// A chain and its key.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// What a handshake needs.
    pub(super) certified: Arc<CertifiedKey>,
    /// When the leaf may be used.
    pub(super) validity: Validity,
    names: Vec<String>,
}

/// When a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// Not earlier.
    pub(super) not_before: SystemTime,
    /// Not later.
    pub(super) not_after: SystemTime,
}

impl Certificate {
    /// Takes a PEM chain, leaf first, and a PEM private key; both may stand in
    /// the same text.
    pub(super) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(CertificateError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoKey,
            error => CertificateError::Pem(error),
        })?;
        Self::from_der(chain, key)
    }

    /// Takes a chain, leaf first, and its private key.
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::NotX509)?;
        let validity = Validity {
            not_before: system_time(leaf.validity().not_before),
            not_after: system_time(leaf.validity().not_after),
        };
        let names = alternative_names(&leaf);
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::KeyMismatch,
            error => CertificateError::Key(error),
        })?;
        Ok(Self { certified: Arc::new(certified), validity, names })
    }

    /// Checks that it is made for all of `names` and not over.
    pub(super) fn check(&self, names: &[String], now: SystemTime) -> Result<(), CertificateError> {
        if let Some(name) = names.iter().find(|name| !self.covers(name)) {
            return Err(CertificateError::NotFor(name.clone()));
        }
        if self.validity.not_after <= now {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    /// True if it is made for all of `names`.
    pub(super) fn is_for_all(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.covers(name))
    }

    /// What it is worth to clients that ask for `names`: most if it is for all of them,
    /// and then the more the longer it lasts.
    pub(super) fn worth(&self, names: &[String]) -> (bool, SystemTime) {
        (self.is_for_all(names), self.validity.not_after)
    }

    /// True if it is made for some of `names`.
    pub(super) fn is_for_some(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.covers(name))
    }

    /// True if it is made for `name`: by that name, or by the wildcard for its
    /// first label (RFC 9525 s6.3).
    fn covers(&self, name: &str) -> bool {
        let wildcard = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|made_for| made_for == name || wildcard.is_some() && made_for.strip_prefix("*.") == wildcard)
    }
}

impl Validity {
    /// From the first to the last moment.
    pub(super) fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }
}

/// The names and addresses a certificate is made for, in normal form.
fn alternative_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))).ok()
}

fn system_time(time: ASN1Time) -> SystemTime {
    let since_epoch = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::self_signed;
    use crate::certs::testing::now;

    fn made_for(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self_signed::placeholder(&names, now()).unwrap()
    }

    fn check(certificate: &Certificate, name: &str, now: SystemTime) -> Result<(), CertificateError> {
        certificate.check(&[name.to_owned()], now)
    }

    #[test]
    fn names_and_addresses_are_covered() {
        let certificate = made_for(&["example.com", "*.example.org", "127.0.0.1", "::1"]);
        for name in ["example.com", "a.example.org", "*.example.org", "127.0.0.1", "::1"] {
            assert!(check(&certificate, name, now()).is_ok(), "{name}");
        }
        for name in ["www.example.com", "example.org", "a.b.example.org", "127.0.0.2", "com", ""] {
            let refused = check(&certificate, name, now());
            assert!(matches!(refused, Err(CertificateError::NotFor(_))), "{name}");
        }
    }

    #[test]
    fn an_expired_one_is_refused() {
        let certificate = made_for(&["example.com"]);
        let refused = check(&certificate, "example.com", certificate.validity.not_after);
        assert!(matches!(refused, Err(CertificateError::Expired)));
    }

    #[test]
    fn what_is_no_chain_with_its_key_is_named() {
        let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (chain, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());
        let error = |chain: &str, key: &str| {
            Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(error(&chain, &other_key), "the private key does not match the certificate");
        assert_eq!(error(&chain, &chain), "no private key in it");
        assert_eq!(error(&key, &key), "no certificate in it");
        assert_eq!(error(&chain[..chain.len() / 2], &key), "not a PEM file");
        let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error(not_x509, &key), "not an X.509 certificate");
    }
}
