//! The subject of a client's certificate as one line of ASCII (RFC 4514), in
//! which no part can be taken for another one. Pure.

use std::fmt::Write;

use x509_parser::asn1_rs::ToDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The types that have a name of their own (RFC 4514 s3), and two that are common
/// in certificates.
const NAMES: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.5", "serialNumber"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Writes `name`, its last part first (RFC 4514 s2.1).
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    match (known, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => format!("{name}={}", escaped(value)),
        _ => {
            let encoded = attribute.attr_value().to_der_vec().unwrap_or_default();
            encoded.iter().fold(format!("{oid}=#"), |mut text, byte| {
                let _ = write!(text, "{byte:02X}");
                text
            })
        }
    }
}

/// Escapes what would end a value or change its meaning (RFC 4514 s2.4), and
/// whatever does not stand in a field.
fn escaped(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> String {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        let made = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, read) = X509Certificate::from_der(made.der()).unwrap();
        text(read.subject())
    }

    #[test]
    fn a_subject_is_told_as_rfc_4514_says() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Müller, Meyer & Co."),
            (DnType::CommonName, "alice"),
        ];
        assert_eq!(subject(&parts), "CN=alice,O=M\\C3\\BCller\\, Meyer & Co.,C=DE");
        assert_eq!(subject(&[]), "");
    }

    #[test]
    fn no_value_passes_for_another_part_or_line() {
        for (value, told) in [
            ("x,CN=admin", "CN=x\\,CN\\=admin"),
            ("x+UID=root", "CN=x\\+UID\\=root"),
            ("a\r\nHost: b", "CN=a\\0D\\0AHost: b"),
            (" x ", "CN=\\ x\\ "),
            ("#0401", "CN=\\#0401"),
            ("a\"b\\c\0", "CN=a\\\"b\\\\c\\00"),
        ] {
            assert_eq!(subject(&[(DnType::CommonName, value)]), told);
        }
    }

    #[test]
    fn what_has_no_name_is_told_by_number() {
        let kind = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(subject(&[(kind, "ab")]), "1.2.3.4=#0C026162");
    }
}
