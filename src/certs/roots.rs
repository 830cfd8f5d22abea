//! Whom to trust: the authorities that a file names, or those of the system.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::error::{CertError, CertificateError};

/// The authorities in a PEM file.
///
/// # Errors
/// If it cannot be read, holds something else, or none.
pub fn trust_roots(file: &Path) -> Result<RootCertStore, CertError> {
    let path = || file.to_owned();
    let pem = std::fs::read(file).map_err(|source| CertError::File { path: path(), source })?;
    let content = |source| CertError::Content { path: path(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| content(CertificateError::Pem(error)))?;
        roots.add(certificate).map_err(|_| content(CertificateError::NotX509))?;
    }
    if roots.is_empty() { Err(content(CertificateError::NoCertificate)) } else { Ok(roots) }
}

/// The authorities of the system; the built-in ones where it has none.
pub(super) fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_roots_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roots.pem");
        assert!(matches!(trust_roots(&file), Err(CertError::File { .. })));
        std::fs::write(&file, "text").unwrap();
        assert!(matches!(trust_roots(&file), Err(CertError::Content { .. })));
        let root = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        std::fs::write(&file, root.cert.pem()).unwrap();
        assert_eq!(trust_roots(&file).unwrap().len(), 1);
    }
}
