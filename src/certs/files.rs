//! Certificates that the config brings as PEM files.

use std::path::Path;
use std::time::SystemTime;

use super::certificate::Certificate;
use super::error::{CertError, CertificateError};

/// Reads the chain in `chain_file`, leaf first, and its key in `key_file`. One
/// that is over, or not made for one of `names`, is taken with a warning: its
/// owner knows why it is there.
pub(super) async fn load(
    chain_file: &Path,
    key_file: &Path,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, CertError> {
    let chain = read(chain_file).await?;
    let key = read(key_file).await?;
    let certificate = Certificate::from_pem(&chain, &key).map_err(|source| {
        let path = if is_about_key(&source) { key_file } else { chain_file };
        CertError::Content { path: path.to_owned(), source }
    })?;
    if let Err(reason) = certificate.check(names, now) {
        tracing::warn!(file = %chain_file.display(), %reason, "clients will refuse a certificate");
    }
    Ok(certificate)
}

async fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    tokio::fs::read(path).await.map_err(|source| CertError::File { path: path.to_owned(), source })
}

fn is_about_key(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NoKey | CertificateError::Key(_) | CertificateError::KeyMismatch)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::certs::testing::now;

    async fn load_error(chain: Option<&str>, key: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let [chain_file, key_file] = ["chain.pem", "key.pem"].map(|name| directory.path().join(name));
        for (file, content) in [(&chain_file, chain), (&key_file, key)] {
            content.inspect(|content| fs::write(file, content).unwrap());
        }
        let error = load(&chain_file, &key_file, &[], now()).await.unwrap_err();
        error.story().replace(directory.path().to_str().unwrap(), "")
    }

    #[tokio::test]
    async fn errors_name_the_file_they_are_about() {
        let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (chain, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let missing = "No such file or directory (os error 2)";
        assert_eq!(load_error(None, Some(&key)).await, format!("cannot read /chain.pem: {missing}"));
        assert_eq!(load_error(Some(&chain), None).await, format!("cannot read /key.pem: {missing}"));
        assert_eq!(
            load_error(Some(&chain), Some(&other_key)).await,
            "/key.pem: the private key does not match the certificate"
        );
        assert_eq!(load_error(Some("text"), Some(&key)).await, "/chain.pem: no certificate in it");
        assert_eq!(load_error(Some(&chain), Some("text")).await, "/key.pem: no private key in it");
    }
}
