//! Whether a challenge is met (RFC 8555 s8, RFC 8737): as the test says, or by
//! looking where the test says, whatever the name resolves to.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::jws::encode;
use super::problem::Problem;
use super::state::Identifier;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChallengeType {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// What becomes of challenges.
#[derive(Clone)]
pub(crate) enum Validation {
    AcceptAll,
    /// Those of these types fail, all others are met.
    RejectAll(Vec<ChallengeType>),
    /// HTTP-01 is looked for at `http`, TLS-ALPN-01 at `tls`, DNS-01 in `txt`.
    Real {
        http: SocketAddr,
        tls: SocketAddr,
        txt: TxtRecords,
    },
}

/// A zone of TXT records that a test fills. Clones are the same zone.
#[derive(Clone, Default)]
pub(crate) struct TxtRecords(Arc<Mutex<HashMap<String, Vec<String>>>>);

/// A challenge that the client says it meets.
pub(super) struct Claim {
    pub(super) challenge: ChallengeType,
    pub(super) identifier: Identifier,
    pub(super) token: String,
    pub(super) key_authorization: String,
}

impl ChallengeType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }

    /// Whether it can prove `identifier` (RFC 8555 s8.4, RFC 8738 s7).
    pub(super) fn suits(self, identifier: &Identifier) -> bool {
        match identifier {
            Identifier::Ip(_) => self != Self::Dns01,
            Identifier::Dns(_) => self == Self::Dns01 || !identifier.is_wildcard(),
        }
    }
}

impl TxtRecords {
    /// Adds a record, in any case of letters, without the last dot.
    pub(crate) fn add(&self, name: &str, value: &str) {
        let mut zone = self.0.lock().unwrap();
        zone.entry(name.to_ascii_lowercase()).or_default().push(value.to_owned());
    }

    /// Removes all records of a name.
    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(&name.to_ascii_lowercase());
    }

    fn values(&self, name: &str) -> Vec<String> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

impl Validation {
    pub(super) async fn check(&self, claim: &Claim) -> Result<(), Problem> {
        match self {
            Self::AcceptAll => Ok(()),
            Self::RejectAll(types) if types.contains(&claim.challenge) => {
                Err(Problem::unauthorized("the test rejects it"))
            }
            Self::RejectAll(_) => Ok(()),
            Self::Real { http, tls, txt } => match claim.challenge {
                ChallengeType::Http01 => claim.http01(*http).await,
                ChallengeType::TlsAlpn01 => claim.tls_alpn01(*tls).await,
                ChallengeType::Dns01 => claim.dns01(txt),
            },
        }
    }
}

impl Claim {
    /// RFC 8555 s8.3.
    async fn http01(&self, address: SocketAddr) -> Result<(), Problem> {
        let stream = TcpStream::connect(address).await.map_err(connection)?;
        let (mut sender, connected) = http1::handshake(TokioIo::new(stream)).await.map_err(connection)?;
        tokio::spawn(connected);
        let req = Request::get(format!("/.well-known/acme-challenge/{}", self.token));
        let req = req.header(HOST, self.identifier.host()).body(Empty::<Bytes>::new()).unwrap();
        let res = sender.send_request(req).await.map_err(connection)?;
        let status = res.status();
        let content = res.collect().await.map_err(connection)?.to_bytes();
        // White space at the end is allowed.
        if status == StatusCode::OK && content.trim_ascii_end() == self.key_authorization.as_bytes() {
            return Ok(());
        }
        Err(Problem::unauthorized(format!("{status}: {}", String::from_utf8_lossy(&content))))
    }

    /// RFC 8737 s3.
    async fn tls_alpn01(&self, address: SocketAddr) -> Result<(), Problem> {
        let provider = seawall::base::provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_protocol_versions(&[&TLS13]).unwrap().dangerous();
        let config = config.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let name = ServerName::try_from(self.identifier.server_name()).unwrap();
        let tcp = TcpStream::connect(address).await.map_err(connection)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let stream = stream.map_err(|error| Problem::new("tls", 400, error.to_string()))?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(b"acme-tls/1") {
            return Err(Problem::unauthorized("acme-tls/1 was not chosen"));
        }
        let [leaf, ..] = session.peer_certificates().unwrap() else { unreachable!("TLS has a certificate") };
        self.is_proven_by(leaf)
    }

    fn is_proven_by(&self, leaf: &CertificateDer<'_>) -> Result<(), Problem> {
        let leaf = X509Certificate::from_der(leaf);
        let (_, leaf) = leaf.map_err(|error| Problem::unauthorized(error.to_string()))?;
        let names = leaf.subject_alternative_name().ok().flatten();
        let is_named = match names.map(|names| &names.value.general_names[..]) {
            Some([GeneralName::DNSName(name)]) => {
                self.identifier == Identifier::Dns(name.to_ascii_lowercase())
            }
            Some([GeneralName::IPAddress(address)]) => match self.identifier {
                Identifier::Ip(IpAddr::V4(ip)) => ip.octets() == *address,
                Identifier::Ip(IpAddr::V6(ip)) => ip.octets() == *address,
                Identifier::Dns(_) => false,
            },
            _ => false,
        };
        let octets = [&[4, 32], self.digest().as_ref()].concat();
        let is_proof = leaf.extensions().iter().any(|extension| {
            extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31"
                && extension.critical
                && extension.value == octets
        });
        if is_named && is_proof {
            return Ok(());
        }
        Err(Problem::unauthorized(format!("named: {is_named}, with the proof: {is_proof}")))
    }

    /// RFC 8555 s8.4.
    fn dns01(&self, txt: &TxtRecords) -> Result<(), Problem> {
        let name = format!("_acme-challenge.{}", self.identifier.host());
        let values = txt.values(&name);
        if values.is_empty() {
            return Err(Problem::new("dns", 400, format!("no TXT record at {name}")));
        }
        if values.contains(&encode(self.digest())) {
            return Ok(());
        }
        Err(Problem::unauthorized(format!("{values:?} at {name}")))
    }

    fn digest(&self) -> impl AsRef<[u8]> {
        digest(&SHA256, self.key_authorization.as_bytes())
    }
}

fn connection(error: impl Display) -> Problem {
    Problem::new("connection", 400, error.to_string())
}

/// Takes every certificate: it is the proof, and nobody vouches for it.
#[derive(Debug)]
pub(crate) struct AnyCertificate(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("only TLS 1.3 is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the bare key: webpki cannot parse the critical extension.
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
