//! Certificates that the config brings as PEM files, and how new ones in their
//! place are noticed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::certificate::Certificate;
use super::error::{CertError, CertificateError};
use crate::base::FileMark;

/// A chain and its key, each in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePair {
    /// The chain, leaf first.
    pub(super) chain: PathBuf,
    /// The key.
    pub(super) key: PathBuf,
}

/// The files as they were at some moment; `None` for one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks([Option<FileMark>; 2]);

impl FilePair {
    /// Reads both. A certificate that is over, or not made for one of `names`,
    /// is taken with a warning: its owner knows why it is there.
    pub(super) async fn load(&self, names: &[String], now: SystemTime) -> Result<Certificate, CertError> {
        let chain = read(&self.chain).await?;
        let key = read(&self.key).await?;
        let certificate = Certificate::from_pem(&chain, &key).map_err(|source| {
            let path = if is_about_key(&source) { &self.key } else { &self.chain };
            CertError::Content { path: path.clone(), source }
        })?;
        if let Err(reason) = certificate.check(names, now) {
            tracing::warn!(file = %self.chain.display(), %reason, "clients will refuse a certificate");
        }
        Ok(certificate)
    }

    /// The files as they are now.
    pub(super) async fn marks(&self) -> Marks {
        let pair = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            Marks([&pair.chain, &pair.key].map(|path| FileMark::of(path)))
        });
        looked.await.unwrap_or(Marks([None, None]))
    }
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
        let pair = FilePair { chain: chain_file, key: key_file };
        let error = pair.load(&[], now()).await.unwrap_err();
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
