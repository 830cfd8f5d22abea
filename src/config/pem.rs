//! The PEM files a config names: readable, with the right content, and a key
//! that belongs to its certificate. What is found is checked and let go; the
//! floors that use the files read them again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::read::{Diagnostic, Fault, Files, Value};
use crate::base::provider;

/// No certificate or key comes near this size.
const LARGEST_FILE: u64 = 4 << 20;

/// A file with trust roots.
pub(super) fn roots(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path()?;
    if value.reading.files == Files::Check {
        read(&path).and_then(|pem| certificates(&path, &pem)).map_err(|fault| value.fault(fault)).ok()?;
    }
    Some(path)
}

/// A certificate chain and its private key, for these names.
pub(super) fn pair(cert: &Value<'_>, key: &Value<'_>, names: &[Arc<str>]) -> Option<(PathBuf, PathBuf)> {
    let (cert_path, key_path) = (cert.path(), key.path());
    let (cert_path, key_path) = (cert_path?, key_path?);
    if cert.reading.files == Files::Check {
        let chain = read(&cert_path).and_then(|pem| certificates(&cert_path, &pem));
        let private = read(&key_path).and_then(|pem| private_key(&key_path, &pem));
        let chain = chain.map_err(|fault| cert.fault(fault)).ok();
        let private = private.map_err(|fault| key.fault(fault)).ok();
        let chain = chain?;
        warn_of_names_not_covered(cert, chain.first()?, names);
        check_match(cert, key, chain, private?, &key_path);
    }
    Some((cert_path, key_path))
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let shown = path.display();
    let cannot_read = |error: std::io::Error| Fault::new(format!("cannot read {shown}: {error}"));
    let about = fs::metadata(path).map_err(cannot_read)?;
    if !about.is_file() {
        return Err(Fault::new(format!("{shown} is not a file")));
    }
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut pem)).map_err(cannot_read)?;
    Ok(pem)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let shown = path.display();
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| Fault::new(format!("{shown} is not PEM: {error}")))?;
    for certificate in &chain {
        ParsedCertificate::try_from(certificate)
            .map_err(|error| Fault::new(format!("{shown} holds a bad certificate: {error}")))?;
    }
    if chain.is_empty() {
        return Err(Fault::new(format!("{shown} holds no certificate"))
            .help("it begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(chain)
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let shown = path.display();
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if is_encrypted(pem) {
            return Fault::new(format!("{shown} is encrypted")).help(format!(
                "nobody is asked for its passphrase: take it off with `openssl pkey -in {shown}`"
            ));
        }
        Fault::new(format!("{shown} holds no private key: {error}"))
            .help("it begins with -----BEGIN PRIVATE KEY-----, without a passphrase")
    })
}

/// True for a PKCS #8 key under a passphrase (RFC 7468 s11), and for the older
/// form (RFC 1421 s4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| pem.windows(mark.len()).any(|window| window == mark.as_bytes()))
}

fn check_match(
    cert: &Value<'_>,
    key: &Value<'_>,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    key_path: &Path,
) {
    let shown = key_path.display();
    let reason = match CertifiedKey::from_der(chain, private, &provider()) {
        Ok(_) => return,
        Err(rustls::Error::InconsistentKeys(_)) => format!("{shown} is the key of another certificate"),
        Err(error) => format!("{shown} cannot be used: {error}"),
    };
    key.reading.report(
        Diagnostic::error("certificate and key do not fit")
            .at(key.span.clone(), reason)
            .context(cert.span.clone(), "the certificate"),
    );
}

fn warn_of_names_not_covered(cert: &Value<'_>, leaf: &CertificateDer<'_>, names: &[Arc<str>]) {
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else { return };
    for name in names.iter().filter(|name| &***name != "*") {
        // Any one label stands for the wildcard's star.
        let host = name.replacen('*', "a", 1);
        let host = host.trim_matches(['[', ']']);
        let is_covered = ServerName::try_from(host)
            .is_ok_and(|host| rustls::client::verify_server_name(&leaf, &host).is_ok());
        if !is_covered {
            cert.warn(
                format!("the certificate does not cover `{name}`"),
                "browsers refuse it for that name",
                "use a certificate that lists every name and alias of the site",
            );
        }
    }
}
