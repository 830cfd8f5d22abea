//! The issuing CA: a root, an intermediate below it, and leaves for what an
//! order names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use seawall::base::{Clock, SystemClock};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::jws::encode;
use super::problem::Problem;

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The leaf.
    pub(crate) leaf: CertificateDer<'static>,
    /// The leaf and the intermediate, as they are sent.
    pub(crate) chain_pem: String,
    /// How renewal information names it (RFC 9773 s4.1).
    pub(crate) id: String,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

pub(super) struct Issuer {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Issuer {
    pub(super) fn new() -> Self {
        let root = self_signed("Issuing root");
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(authority("Issuing intermediate"), key, &root).unwrap();
        Self { root, intermediate }
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// Issues what `request`, a PKCS #10 in DER, asks for, which must be exactly
    /// `names` (RFC 8555 s7.4).
    pub(super) fn issue(
        &self,
        request: &[u8],
        names: &[String],
        (not_before, not_after): (time::Duration, time::Duration),
    ) -> Result<Issued, Problem> {
        let bad = |detail: String| Problem::new("badCSR", 400, detail);
        let request = CertificateSigningRequestParams::from_der(&request.into());
        let request = request.map_err(|error| bad(error.to_string()))?;
        let asked = names_of(&request.params).ok_or_else(|| bad("a name is of another kind".to_owned()))?;
        if asked != names.iter().cloned().collect() {
            return Err(bad(format!("{asked:?} in place of {names:?}")));
        }
        let now = OffsetDateTime::from(SystemClock.wall());
        let mut parameters = CertificateParams::new(names).map_err(|error| bad(error.to_string()))?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters.not_before = now + not_before;
        parameters.not_after = now + not_after;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).unwrap();
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        let leaf = parameters.signed_by(&request.public_key, &self.intermediate).unwrap();
        Ok(Issued {
            chain_pem: leaf.pem() + &self.intermediate.pem(),
            id: id(leaf.der()),
            not_before: parameters.not_before,
            not_after: parameters.not_after,
            leaf: leaf.into(),
        })
    }
}

impl Issued {
    /// The last third of its lifetime.
    pub(super) fn default_renewal_window(&self) -> (SystemTime, SystemTime) {
        let third = (self.not_after - self.not_before) / 3;
        (SystemTime::from(self.not_after - third), SystemTime::from(self.not_after))
    }
}

/// A root of its own.
pub(super) fn self_signed(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

/// The names in a request; the common name counts as one.
fn names_of(parameters: &CertificateParams) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for name in &parameters.subject_alt_names {
        names.insert(match name {
            SanType::DnsName(name) => name.as_str().to_ascii_lowercase(),
            SanType::IpAddress(address) => IpAddr::to_string(address),
            _ => return None,
        });
    }
    match parameters.distinguished_name.get(&DnType::CommonName) {
        None => {}
        Some(rcgen::DnValue::Utf8String(name)) => drop(names.insert(name.to_ascii_lowercase())),
        Some(_) => return None,
    }
    Some(names)
}

fn id(leaf: &CertificateDer<'_>) -> String {
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    let authority = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    });
    format!("{}.{}", encode(authority.unwrap().0), encode(leaf.raw_serial()))
}
