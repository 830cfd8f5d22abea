//! Handshakes over loopback with rustls as the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::compress::{self, CertDecompressor, DecompressionFailed};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateCompressionAlgorithm, ClientConfig, DigitallySignedStruct, NamedGroup,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::base::{Clock, SystemClock, Tasks, provider};
use crate::certs::{Certificates, testing};
use crate::config::Config;
use crate::config::model::SiteTls;
use crate::exchange::TlsSession;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;

mod client_auth;
mod hello;
mod patterns;
mod plaintext;

/// An edge whose sites have certificates of the local CA.
struct Edge {
    tls: Tls,
    /// The same after a reload.
    reloaded: Tls,
    metrics: Metrics,
    listener: TcpListener,
    _state: tempfile::TempDir,
    _certs: Arc<Certificates>,
}

async fn edge(sites: &[&str]) -> Edge {
    let sites: Vec<_> = sites.iter().map(|site| (*site, SiteTls::Internal)).collect();
    edge_with(&sites, |_| {}).await
}

async fn edge_with(sites: &[(&str, SiteTls)], change: impl FnOnce(&mut Config)) -> Edge {
    let state = tempfile::tempdir().unwrap();
    let mut config = testing::config(state.path(), sites);
    change(&mut config);
    let tasks = Tasks::new();
    let certs = Certificates::start(&config, Arc::new(SystemClock), &tasks, Arc::default()).await.unwrap();
    let tickets = Tickets::begin(Arc::new(SystemClock));
    let tls = || Tls::new(&config, &certs, tickets.as_ref()).unwrap();
    Edge {
        tls: tls(),
        reloaded: tls(),
        metrics: Metrics::default(),
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        _state: state,
        _certs: certs,
    }
}

impl Edge {
    async fn accept_within(&self, time: Duration) -> Result<Accepted<TcpStream>, HandshakeError> {
        let (stream, _) = self.listener.accept().await.unwrap();
        accept(stream, &self.tls, SystemClock.now() + time, &self.metrics).await
    }

    async fn accept(&self) -> Result<Accepted<TcpStream>, HandshakeError> {
        self.accept_within(Duration::from_secs(10)).await
    }

    /// Both ends of a handshake. The client's is read once, so that it has its
    /// tickets.
    async fn meet(&self, client: &Client) -> (TlsStream<TcpStream>, Alpn, TlsSession) {
        let serve = async {
            let Accepted::Http { mut stream, alpn, session } = self.accept().await.unwrap() else {
                panic!("no HTTP")
            };
            stream.write_all(b"!").await.unwrap();
            stream.flush().await.unwrap();
            (alpn, session)
        };
        let connect = async {
            let mut stream = client.connect(self).await.unwrap();
            stream.read_u8().await.unwrap();
            stream
        };
        let (stream, (alpn, session)) = tokio::join!(connect, serve);
        (stream, alpn, session)
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap()
    }
}

/// What a client offers. It takes any certificate, for the tests to look at.
struct Client {
    name: &'static str,
    config: ClientConfig,
}

fn client(name: &'static str) -> Client {
    client_of(name, &[&TLS13, &TLS12])
}

fn client_of(name: &'static str, versions: &[&'static SupportedProtocolVersion]) -> Client {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.enable_sni = !name.is_empty();
    config.resumption = Resumption::in_memory_sessions(8);
    Client { name, config }
}

impl Client {
    fn offering(mut self, protocols: &[&[u8]]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    async fn connect(&self, edge: &Edge) -> std::io::Result<TlsStream<TcpStream>> {
        let name = if self.name.is_empty() { "none.test" } else { self.name };
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        connector.connect(ServerName::try_from(name).unwrap(), edge.tcp().await).await
    }
}

#[derive(Debug)]
struct AnyCertificate;

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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate names that a client was shown.
fn shown_names(stream: &TlsStream<TcpStream>) -> String {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    leaf.subject().to_string()
}

#[tokio::test]
async fn both_versions_are_spoken_and_told() {
    let edge = edge(&["a.test"]).await;
    for (version, told, suite) in [
        (&TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (&TLS13, "TLSv1.3", "TLS13_AES_128_GCM_SHA256"),
    ] {
        let (_, _, session) = edge.meet(&client_of("a.test", &[version])).await;
        assert_eq!((session.version, session.cipher_suite), (told, suite));
        assert_eq!(session.sni.as_deref(), Some("a.test"));
        assert!(!session.resumed);
    }
    assert_eq!(edge.metrics.handshakes_full.value(), 2);
}

#[tokio::test]
async fn the_key_exchange_withstands_quantum_computers() {
    let edge = edge(&["a.test"]).await;
    let (stream, ..) = edge.meet(&client("a.test")).await;
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

/// Unpacks, and counts that it did.
#[derive(Debug)]
struct Counting(&'static dyn CertDecompressor, AtomicUsize);

impl CertDecompressor for Counting {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        assert!(input.len() < output.len());
        self.1.fetch_add(1, SeqCst);
        self.0.decompress(input, output)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        self.0.algorithm()
    }
}

/// RFC 8879
#[tokio::test]
async fn the_certificate_is_compressed_for_who_takes_that() {
    let edge = edge(&["a.test"]).await;
    for decompressor in [compress::BROTLI_DECOMPRESSOR, compress::ZLIB_DECOMPRESSOR] {
        let counting: &'static Counting = Box::leak(Box::new(Counting(decompressor, AtomicUsize::new(0))));
        let mut client = client_of("a.test", &[&TLS13]);
        client.config.cert_decompressors = vec![counting];
        client.config.resumption = Resumption::disabled();
        for unpacked in 1..3 {
            let (stream, ..) = edge.meet(&client).await;
            assert!(!shown_names(&stream).is_empty());
            assert_eq!(counting.1.load(SeqCst), unpacked);
        }
    }
    let mut plain = client_of("a.test", &[&TLS13]);
    plain.config.cert_decompressors = Vec::new();
    edge.meet(&plain).await;
}

#[tokio::test]
async fn alpn_settles_the_version_of_http() {
    let edge = edge(&["a.test"]).await;
    for (offered, agreed) in [
        (&[b"http/1.1".as_slice(), b"h2"][..], Alpn::H2),
        (&[b"http/1.1"], Alpn::H1),
        (&[], Alpn::H1),
        (&[b"acme-tls/1", b"http/1.1"], Alpn::H1),
    ] {
        let (_, alpn, _) = edge.meet(&client("a.test").offering(offered)).await;
        assert_eq!(alpn, agreed, "{offered:?}");
    }
}

#[tokio::test]
async fn the_server_name_picks_the_certificate() {
    let edge = edge(&["a.test", "*.b.test", "*"]).await;
    for (name, shown) in [
        ("a.test", "CN=a.test"),
        ("A.TEST", "CN=a.test"),
        ("x.b.test", "CN=*.b.test"),
        ("b.test", "CN=localhost"),
        ("other.test", "CN=localhost"),
        ("", "CN=localhost"),
    ] {
        let (stream, _, session) = edge.meet(&client(name)).await;
        assert_eq!(shown_names(&stream), shown, "{name:?}");
        let told = (!name.is_empty()).then(|| name.to_ascii_lowercase());
        assert_eq!(session.sni.as_deref(), told.as_deref());
    }
}

async fn refused(edge: &Edge, client: &Client) -> HandshakeError {
    let (connected, accepted) = tokio::join!(client.connect(edge), edge.accept());
    assert!(accepted.is_err() || connected.is_err());
    accepted.unwrap_err()
}

#[tokio::test]
async fn who_asks_for_nobody_here_is_told_so() {
    let edge = edge(&["a.test"]).await;
    for name in ["other.test", ""] {
        for version in [&TLS12, &TLS13] {
            let client = client_of(name, &[version]);
            let (refused, accepted) = tokio::join!(client.connect(&edge), edge.accept());
            let refused = refused.unwrap_err();
            let alert = refused.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            let expected = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
            assert_eq!(alert, Some(&expected), "{name:?}, {version:?}");
            assert!(matches!(accepted, Err(HandshakeError::UnrecognizedName)));
        }
    }
    assert_eq!(edge.metrics.handshakes_failed.value(), 4);
}

#[tokio::test]
async fn unknown_protocols_and_unasked_challenges_are_refused() {
    let edge = edge(&["a.test", "*"]).await;
    for protocol in [b"spdy/3".as_slice(), b"acme-tls/1"] {
        let error = refused(&edge, &client("a.test").offering(&[protocol])).await;
        assert!(matches!(error, HandshakeError::Failed(_)), "{error}");
    }
}

#[tokio::test]
async fn a_session_goes_on_over_a_reload() {
    let mut edge = edge(&["a.test"]).await;
    let client = client("a.test");
    assert!(!edge.meet(&client).await.2.resumed);
    std::mem::swap(&mut edge.tls, &mut edge.reloaded);
    assert!(edge.meet(&client).await.2.resumed);
}

#[tokio::test]
async fn a_session_is_resumed_under_its_own_name_only() {
    let edge = edge(&["a.test", "*"]).await;
    for version in [&TLS12, &TLS13] {
        let mut client = client_of("a.test", &[version]);
        let before = edge.metrics.handshakes_resumed.value();
        for resumed in [false, true] {
            let (_, _, session) = edge.meet(&client).await;
            assert_eq!(session.resumed, resumed, "{}", session.version);
        }
        client.name = "c.test";
        assert!(!edge.meet(&client).await.2.resumed);
        assert_eq!(edge.metrics.handshakes_resumed.value(), before + 1);
    }
}

/// The bytes of a ClientHello for `a.test`.
fn hello() -> Vec<u8> {
    let name = ServerName::try_from("a.test").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(client("a.test").config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn what_is_no_tls_fails() {
    let edge = edge(&["a.test"]).await;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], &[0xff; 5000], &[0; 64]] {
        let send = async {
            let mut stream = edge.tcp().await;
            stream.write_all(garbage).await.unwrap();
            // The alert, where one is sent, and the end.
            let _end = stream.read_to_end(&mut Vec::new()).await;
        };
        let ((), accepted) = tokio::join!(send, async {
            let accepted = edge.accept().await;
            accepted.map(drop)
        });
        assert!(matches!(accepted.unwrap_err(), HandshakeError::Failed(_)));
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_told_from_one_that_fails() {
    let edge = edge(&["a.test"]).await;
    let leave = async { drop(edge.tcp().await) };
    let ((), accepted) = tokio::join!(leave, edge.accept());
    assert!(matches!(accepted.unwrap_err(), HandshakeError::Closed));
}

#[tokio::test]
async fn a_silent_client_is_cut_at_the_deadline() {
    let edge = edge(&["a.test"]).await;
    let hello = hello();
    for sent in [0, hello.len() / 2] {
        let mut stream = edge.tcp().await;
        stream.write_all(&hello[..sent]).await.unwrap();
        let begun: Instant = SystemClock.now();
        let error = edge.accept_within(Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, HandshakeError::TimedOut), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
    assert_eq!(edge.metrics.limits[Limit::HandshakeTimeout as usize].value(), 2);
}
