//! The local CA: signs certificates for names no public CA can vouch for. Its
//! own certificate is made once, since people have to trust it by hand.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::UnixTime;

use super::certificate::{Certificate, Validity};
use super::error::{CertError, CertificateError};
use super::self_signed::parameters;
use super::storage::{CertStorage, Item};
use crate::base::provider;

const NAME: &str = "Seawall local CA";
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// The local CA.
#[derive(Debug)]
pub(super) struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
    roots: RootCertStore,
    storage: Arc<dyn CertStorage>,
}

impl LocalAuthority {
    /// Takes the stored CA, or makes one and stores it: at the first start, or
    /// where the stored one is broken or about to end.
    pub(super) async fn open(storage: Arc<dyn CertStorage>, now: SystemTime) -> Result<Self, CertError> {
        let certificate = storage.load(&Item::authority_certificate()).await?;
        let key = storage.load(&Item::authority_key()).await?;
        if let (Some(certificate), Some(key)) = (certificate, key) {
            match Self::from_pem(&certificate, &key, Arc::clone(&storage)) {
                Ok(authority) if authority.validity.not_after > now + LEAF_LIFETIME => return Ok(authority),
                Ok(_) => tracing::warn!("the local CA is about to end: a new one has to be trusted"),
                Err(error) => {
                    let reason = error.story();
                    tracing::warn!(reason, "the stored local CA is broken: a new one has to be trusted");
                }
            }
        }
        Self::make(storage, now).await
    }

    async fn make(storage: Arc<dyn CertStorage>, now: SystemTime) -> Result<Self, CertError> {
        let mut parameters = parameters(&[], NAME, now, LIFETIME)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        let key = key.serialize_pem();
        storage.store(&Item::authority_key(), key.clone().into()).await?;
        storage.store(&Item::authority_certificate(), certificate.clone().into()).await?;
        Self::from_pem(certificate.as_bytes(), key.as_bytes(), storage)
    }

    fn from_pem(certificate: &[u8], key: &[u8], storage: Arc<dyn CertStorage>) -> Result<Self, CertError> {
        let pair = Certificate::from_pem(certificate, key)?;
        let root = pair.certified.cert.first().ok_or(CertificateError::NoCertificate)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).map_err(CertificateError::Key)?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(key))?;
        let issuer = Issuer::from_ca_cert_der(root, key)?;
        Ok(Self { issuer, validity: pair.validity, roots, storage })
    }

    /// Signs a new certificate for a site, valid for 90 days, and stores it with
    /// its key. One that cannot be stored is still served.
    pub(super) async fn issue(
        &self,
        site: &str,
        names: &[String],
        now: SystemTime,
    ) -> Result<Certificate, CertError> {
        let bundle = self.sign(names, now)?;
        let certificate = Certificate::from_pem(bundle.as_bytes(), bundle.as_bytes())?;
        certificate.check(names, now)?;
        if let Err(error) = self.storage.store(&Item::internal_certificate(site), bundle.into()).await {
            tracing::error!(site, reason = error.story(), "a certificate could not be stored");
        }
        Ok(certificate)
    }

    /// Checks that this CA signed `certificate`.
    pub(super) fn check(&self, certificate: &Certificate, now: SystemTime) -> Result<(), CertificateError> {
        let chain = &certificate.certified.cert;
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let leaf = ParsedCertificate::try_from(leaf).map_err(CertificateError::OtherAuthority)?;
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            &[],
            UnixTime::since_unix_epoch(since_epoch),
            provider().signature_verification_algorithms.all,
        )
        .map_err(CertificateError::OtherAuthority)
    }

    fn sign(&self, names: &[String], now: SystemTime) -> Result<String, CertError> {
        let common_name = names.first().map_or(NAME, String::as_str);
        let lifetime = self.validity.not_after.duration_since(now).unwrap_or_default().min(LEAF_LIFETIME);
        let mut parameters = parameters(names, common_name, now, lifetime)?;
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let leaf = parameters.signed_by(&key, &self.issuer)?;
        Ok(key.serialize_pem() + &leaf.pem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::storage::FileStorage;
    use crate::certs::testing::now;

    async fn authority(storage: &Arc<dyn CertStorage>, now: SystemTime) -> LocalAuthority {
        LocalAuthority::open(Arc::clone(storage), now).await.unwrap()
    }

    fn storage(root: &std::path::Path) -> Arc<dyn CertStorage> {
        Arc::new(FileStorage::open(root, now()).unwrap())
    }

    #[tokio::test]
    async fn it_is_made_once_and_signs_for_names_and_addresses() {
        let state = tempfile::tempdir().unwrap();
        let storage = storage(state.path());
        let names = ["app.test".to_owned(), "10.0.0.1".to_owned(), "::1".to_owned()];
        let leaf = authority(&storage, now()).await.issue("app.test", &names, now()).await.unwrap();
        leaf.check(&names, now()).unwrap();
        let again = authority(&storage, now()).await;
        again.check(&leaf, now()).unwrap();
        assert!(leaf.validity.lifetime() < Duration::from_secs(91 * 24 * 3600));
        let stored = storage.load(&Item::internal_certificate("app.test")).await.unwrap().unwrap();
        assert_eq!(Certificate::from_pem(&stored, &stored).unwrap().certified.cert, leaf.certified.cert);
    }

    #[tokio::test]
    async fn a_broken_one_is_made_anew_and_the_leaf_of_the_old_refused() {
        let state = tempfile::tempdir().unwrap();
        let storage = storage(state.path());
        let old = authority(&storage, now()).await;
        let leaf = old.issue("a.test", &["a.test".to_owned()], now()).await.unwrap();
        storage.store(&Item::authority_key(), b"garbage".to_vec()).await.unwrap();
        let new = authority(&storage, now()).await;
        assert!(matches!(new.check(&leaf, now()), Err(CertificateError::OtherAuthority(_))));
        authority(&storage, now()).await.check(&leaf, now()).unwrap_err();
    }

    #[tokio::test]
    async fn one_that_is_about_to_end_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let storage = storage(state.path());
        let old = authority(&storage, now()).await;
        let late = now() + LIFETIME - LEAF_LIFETIME;
        assert!(authority(&storage, late).await.validity.not_after > old.validity.not_after);
    }
}
