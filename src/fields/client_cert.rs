//! The fields by which a proxy tells an origin server of the certificate that a
//! client showed it (RFC 9440). Whose word is taken for them is decided in
//! `forwarding`, and what a certificate is worth where it was checked.

use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderName, HeaderValue};

/// The certificate of the client (RFC 9440 s2.2).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// What stands between it and the root (RFC 9440 s2.3).
pub const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
/// Its subject, for who does not read certificates: as RFC 4514 writes names.
pub const CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("client-cert-subject");

/// All of them.
pub const CLIENT_CERT_FIELDS: [HeaderName; 3] = [CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SUBJECT];

/// A certificate, in DER, as the value of `Client-Cert`: a byte sequence of
/// structured fields (RFC 9440 s2.1).
pub fn value(certificate: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(":{}:", BASE64_STANDARD.encode(certificate))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_a_byte_sequence() {
        assert_eq!(value(&[0, 1, 254]).unwrap(), ":AAH+:");
    }
}
