//! Whom to trust on the way to origin servers, and who to be for them, read once
//! for a pool. Which name a server must prove is said by each connection.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::UpstreamError;
use crate::base::provider;
use crate::config::model::{OriginTls, PemPair};

/// HTTP/2 over TLS (RFC 9113 s3.2).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 (RFC 7301 s6).
const HTTP11: &[u8] = b"http/1.1";

/// The TLS client settings of a pool. Reads the file of trust roots, or else
/// the system's, or else takes those of Mozilla's program; and the files of the
/// certificate that is shown.
pub fn client_config(tls: &OriginTls) -> Result<Arc<ClientConfig>, UpstreamError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(UpstreamError::Tls)?;
    let builder = if tls.verify {
        builder.with_root_certificates(trust_roots(tls.ca.as_deref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => showing(builder, identity)?,
    };
    config.alpn_protocols = vec![HTTP11.to_vec()];
    Ok(Arc::new(config))
}

/// Settings with which servers that ask for a certificate are shown `identity`.
fn showing(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: &PemPair,
) -> Result<ClientConfig, UpstreamError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| UpstreamError::Identity { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&identity.cert))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(unreadable(&identity.key))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|source| UpstreamError::InvalidIdentity { path: identity.cert.clone(), source })
}

fn trust_roots(file: Option<&Path>) -> Result<RootCertStore, UpstreamError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = file {
        let read_error = |source| UpstreamError::TrustRoots { path: path.to_owned(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(read_error)? {
            roots
                .add(certificate.map_err(read_error)?)
                .map_err(|source| UpstreamError::InvalidTrustRoot { path: path.to_owned(), source })?;
        }
        if roots.is_empty() {
            return Err(UpstreamError::NoTrustRoots { path: path.to_owned() });
        }
        return Ok(roots);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

/// Takes any certificate, for `verify = false`; the server must still prove
/// that it holds the certificate's key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
