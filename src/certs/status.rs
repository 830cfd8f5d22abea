//! What is told about the certificate of each site.

use std::time::SystemTime;

use rustls::SignatureAlgorithm;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The certificate of a site as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// The site's name in the config.
    pub site: String,
    /// What the certificate is made for.
    pub names: Vec<String>,
    /// Who makes it.
    pub issuer: IssuerKind,
    /// The directory of the ACME server that issued it, or will be asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// How its key signs, such as `ECDSA`; `None` as `not_after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'static str>,
    /// When it ends, in seconds since 1970 (serialized as RFC 3339); `None` while the first one is still
    /// on order.
    #[serde(serialize_with = "as_rfc3339")]
    pub not_after: Option<u64>,
    /// When the next one is made or tried, in seconds since 1970; `None` for
    /// files.
    #[serde(serialize_with = "as_rfc3339")]
    pub next_renewal: Option<u64>,
    /// Why the next one is made then.
    pub why_then: Option<&'static str>,
    /// Why the last try failed; `None` if it did not.
    pub last_error: Option<String>,
    /// What may help against that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_to_do: Option<&'static str>,
    /// What was found before the last order that may have it fail, until there is a
    /// certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Who makes a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// It is read from files of the config.
    Files,
    /// The local CA.
    Internal,
    /// An ACME server.
    Acme,
}

/// A key by the name of how it signs.
pub(super) fn key_name(key: SignatureAlgorithm) -> &'static str {
    match key {
        SignatureAlgorithm::ECDSA => "ECDSA",
        SignatureAlgorithm::RSA => "RSA",
        SignatureAlgorithm::ED25519 => "Ed25519",
        _ => "another one",
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn as_rfc3339<S: Serializer>(seconds: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_read_them() {
        let status = CertificateStatus {
            site: "a.test".into(),
            names: vec!["a.test".into()],
            issuer: IssuerKind::Acme,
            authority: None,
            key: None,
            why_then: None,
            what_to_do: None,
            warnings: Vec::new(),
            not_after: Some(1_795_392_000),
            next_renewal: None,
            last_error: None,
        };
        let told = serde_json::to_value(status).unwrap();
        assert_eq!(told["not_after"], "2026-11-23T00:00:00Z");
        assert!(told["next_renewal"].is_null());
    }
}
