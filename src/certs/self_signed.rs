//! Certificates that nobody vouches for: what a site serves until its first
//! order is through, and the answer to a TLS-ALPN-01 challenge (RFC 8737 s3).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::Certificate;
use super::error::{CertError, CertificateError};
use crate::base::provider;

const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Clients whose clocks are behind shall not refuse a new certificate.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Stands in for the certificate of `names` that is being ordered.
pub(super) fn placeholder(names: &[String], now: SystemTime) -> Result<Certificate, CertError> {
    let parameters = parameters(names, "Seawall: certificate on order", now, PLACEHOLDER_LIFETIME)?;
    let (leaf, key) = self_signed(&parameters)?;
    Ok(Certificate::from_der(vec![leaf], key)?)
}

/// Proves that `name` is served here; `digest` is the SHA-256 of the key
/// authorization.
pub(super) fn challenge(name: &str, digest: &[u8], now: SystemTime) -> Result<Arc<CertifiedKey>, CertError> {
    let mut parameters = parameters(&[name.to_owned()], "ACME challenge", now, CHALLENGE_LIFETIME)?;
    parameters.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let (leaf, key) = self_signed(&parameters)?;
    let key = provider().key_provider.load_private_key(key).map_err(CertificateError::Key)?;
    // Not a `Certificate`: webpki cannot parse the critical extension.
    Ok(Arc::new(CertifiedKey::new(vec![leaf], key)))
}

/// A certificate for `names`, valid from a little before `now` on.
pub(super) fn parameters(
    names: &[String],
    common_name: &str,
    now: SystemTime,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.not_before = (now - CLOCK_SKEW).into();
    parameters.not_after = (now + lifetime).into();
    Ok(parameters)
}

fn self_signed(
    parameters: &CertificateParams,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let leaf = parameters.self_signed(&key)?;
    Ok((leaf.into(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}
