//! What the fuzz targets see of this floor.

use std::time::SystemTime;

use super::acme;
use super::certificate::Certificate;

/// Reads `bytes` as an ACME server may send them: a directory, when to come again, and a
/// chain of certificates with the key that it is for. What is taken has to hold together.
pub fn acme_answer(bytes: &[u8], key: &[u8]) {
    acme::fuzzing(bytes);
    if let Ok(certificate) = Certificate::from_pem(bytes, key) {
        let _ = certificate.check(&["a.test".to_owned()], SystemTime::UNIX_EPOCH);
        let _ = certificate.validity.lifetime();
        assert!(!certificate.certified.cert.is_empty());
    }
}
