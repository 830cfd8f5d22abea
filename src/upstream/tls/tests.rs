use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{HeaderValue, Method};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::model::{HealthCheck, OriginProtocol, OriginTls, PoolConfig};
use crate::exchange::{FetchError, Host, RequestProgress, Scheme};
use crate::fields::proxy_status::ProxyErrorType;
use crate::upstream::test_origin::{
    TestOrigin, content, echo, health_check, pool, request, send, server_over,
};
use crate::upstream::{OriginServer, ProbeError};

fn with_ca(text: &str) -> Result<Arc<ClientConfig>, UpstreamError> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    client_config(&trusting(file.path()))
}

fn trusting(ca: &Path) -> OriginTls {
    OriginTls { verify: true, ca: Some(ca.to_owned()), server_name: None, identity: None }
}

fn untrusting() -> OriginTls {
    OriginTls { verify: false, ca: None, server_name: None, identity: None }
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    assert!(matches!(with_ca(""), Err(UpstreamError::NoTrustRoots { .. })));
    let missing = client_config(&trusting(Path::new("/nowhere/ca.pem")));
    assert!(matches!(missing, Err(UpstreamError::TrustRoots { .. })));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(with_ca(garbage), Err(UpstreamError::InvalidTrustRoot { .. })));
}

#[test]
fn only_http_1_is_offered() {
    let config = client_config(&untrusting()).unwrap();
    assert_eq!(config.alpn_protocols, [b"http/1.1"]);
}

/// A TLS origin that echoes requests, with a certificate of `ca` for `names`.
struct TlsOrigin {
    origin: TestOrigin,
    ca: NamedTempFile,
    /// Connections that the other end said were over.
    goodbyes: Arc<AtomicUsize>,
}

impl TlsOrigin {
    async fn start(names: &[&str]) -> Self {
        Self::asking(names, rustls::ALL_VERSIONS, WebPkiClientVerifier::no_client_auth()).await
    }

    /// One that asks its clients for what `clients` says.
    async fn asking(
        names: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut ca = NamedTempFile::new().unwrap();
        ca.write_all(issuer.pem().as_bytes()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let goodbyes = Arc::<AtomicUsize>::default();
        let heard = Arc::clone(&goodbyes);
        let origin = TestOrigin::start(move |_, stream| {
            let (acceptor, heard) = (acceptor.clone(), Arc::clone(&heard));
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    echo(&mut stream).await;
                    // An end that nobody announced is an error.
                    if stream.read(&mut [0]).await.is_ok() {
                        heard.fetch_add(1, Relaxed);
                    }
                }
            }
        })
        .await;
        Self { origin, ca, goodbyes }
    }

    fn server(&self, tls: OriginTls) -> Arc<OriginServer> {
        tls_server(self.origin.address, tls)
    }
}

fn tls_server(address: SocketAddr, tls: OriginTls) -> Arc<OriginServer> {
    let config = PoolConfig { tls, ..pool(&[address]) };
    let client = client_config(&config.tls).unwrap();
    server_over(&config, client)
}

async fn get(server: &Arc<OriginServer>, host: &'static str) -> Result<String, FetchError> {
    let mut req = request(Method::GET, "/");
    req.target.host = Host::parse(&HeaderValue::from_static(host), Scheme::Https).unwrap();
    let text = content(send(server, req).await?).await.unwrap();
    Ok(String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn a_server_is_told_that_a_connection_is_over() {
    let origin = TlsOrigin::start(&["site.test", "127.0.0.1"]).await;
    let server = origin.server(trusting(origin.ca.path()));
    let heard = async |expected| {
        while origin.goodbyes.load(Relaxed) < expected {
            tokio::task::yield_now().await;
        }
    };
    get(&server, "site.test").await.unwrap();
    server.close_idle();
    heard(1).await;
    // From now on none is kept.
    get(&server, "site.test").await.unwrap();
    heard(2).await;
    server.probe(&health_check(Some("/"))).await.unwrap();
    heard(3).await;
}

#[tokio::test]
async fn the_host_of_the_request_must_be_proven() {
    let origin = TlsOrigin::start(&["site.test", "other.test"]).await;
    let server = origin.server(trusting(origin.ca.path()));
    assert!(get(&server, "site.test:8443").await.unwrap().contains("host: site.test:8443"));
    assert!(get(&server, "site.test").await.is_ok());
    assert!(get(&server, "other.test").await.is_ok());
    assert_eq!(origin.origin.accepted(), 2, "a connection is one host's, at all of its ports");
    for wrong in ["wrong.test", "wrong-.test"] {
        let error = get(&server, wrong).await.unwrap_err();
        let failed = (ProxyErrorType::TlsCertificateError, RequestProgress::NotSent);
        assert_eq!((error.kind, error.progress), failed);
        assert!(error.is_requests_fault, "{wrong}");
    }
}

#[tokio::test]
async fn a_given_server_name_serves_every_host() {
    let origin = TlsOrigin::start(&["inside.test"]).await;
    let tls = OriginTls { server_name: Some("inside.test".to_owned()), ..trusting(origin.ca.path()) };
    let server = origin.server(tls);
    for host in ["site.test", "other.test", "[::1]"] {
        get(&server, host).await.unwrap();
    }
    assert_eq!(origin.origin.accepted(), 1);
}

#[tokio::test]
async fn an_unknown_ca_is_refused_unless_nothing_is_verified() {
    let origin = TlsOrigin::start(&["site.test"]).await;
    let stranger = TlsOrigin::start(&["site.test"]).await;
    let error = get(&origin.server(trusting(stranger.ca.path())), "site.test").await.unwrap_err();
    assert_eq!((error.kind, error.is_requests_fault), (ProxyErrorType::TlsCertificateError, false));
    let any = untrusting();
    assert!(get(&origin.server(any), "elsewhere.test").await.is_ok());
}

#[tokio::test]
async fn cleartext_before_the_handshake_is_no_answer() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let any = untrusting();
    let error = get(&tls_server(origin.address, any), "site.test").await.unwrap_err();
    assert_eq!((error.kind, error.progress), (ProxyErrorType::TlsProtocolError, RequestProgress::NotSent));
}

#[tokio::test]
async fn the_handshake_has_a_deadline() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.tls.verify = false;
    config.timeouts.connect = std::time::Duration::from_millis(20);
    let client = client_config(&config.tls).unwrap();
    let error = get(&server_over(&config, client), "site.test").await.unwrap_err();
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTimeout, RequestProgress::NotSent));
}

#[tokio::test]
async fn checks_verify_too() {
    let origin = TlsOrigin::start(&["site.test"]).await;
    let mut check = HealthCheck { host: Some("site.test".to_owned()), ..health_check(Some("/healthz")) };
    let server = origin.server(trusting(origin.ca.path()));
    server.probe(&check).await.unwrap();
    check.host = None;
    assert!(matches!(server.probe(&check).await, Err(ProbeError::Connect(_))));
    check.host = Some("site.test".to_owned());
    check.expect = (204, 204);
    assert!(matches!(server.probe(&check).await, Err(ProbeError::Status(_))));
}

/// An authority for clients, and one that it certified.
struct Clients {
    directory: TempDir,
    roots: Arc<RootCertStore>,
}

impl Clients {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().signed_by(&key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cert.pem"), leaf.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { directory, roots: Arc::new(roots) }
    }

    fn identity(&self) -> PemPair {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.directory.path().join(name));
        PemPair { cert, key }
    }

    async fn origin(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsOrigin {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider);
        TlsOrigin::asking(&["site.test"], versions, verifier.build().unwrap()).await
    }
}

#[tokio::test]
async fn servers_that_ask_for_a_certificate_are_shown_it() {
    let (clients, strangers) = (Clients::new(), Clients::new());
    let check = HealthCheck { host: Some("site.test".to_owned()), ..health_check(Some("/healthz")) };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let origin = clients.origin(&[version]).await;
        for verify in [true, false] {
            let trusting = OriginTls { verify, ..trusting(origin.ca.path()) };
            let with = |identity| origin.server(OriginTls { identity, ..trusting.clone() });
            let server = with(Some(clients.identity()));
            assert!(get(&server, "site.test").await.unwrap().contains("host: site.test"));
            server.probe(&check).await.unwrap();
            for identity in [None, Some(strangers.identity())] {
                let server = with(identity);
                assert!(get(&server, "site.test").await.is_err(), "{version:?}");
                assert!(server.probe(&check).await.is_err());
            }
        }
    }
}

#[tokio::test]
async fn servers_that_ask_for_none_are_shown_none() {
    let origin = TlsOrigin::start(&["site.test"]).await;
    let clients = Clients::new();
    let tls = OriginTls { identity: Some(clients.identity()), ..trusting(origin.ca.path()) };
    assert!(get(&origin.server(tls), "site.test").await.is_ok());
}

#[test]
fn a_certificate_to_show_must_be_usable() {
    let shown = |cert: &Path, key: &Path| {
        let identity = Some(PemPair { cert: cert.to_owned(), key: key.to_owned() });
        client_config(&OriginTls { identity, ..untrusting() })
    };
    let (clients, strangers) = (Clients::new(), Clients::new());
    let (own, foreign) = (clients.identity(), strangers.identity());
    assert!(shown(&own.cert, &own.key).is_ok());
    let nowhere = Path::new("/nowhere/x.pem");
    assert!(matches!(shown(nowhere, &own.key), Err(UpstreamError::Identity { .. })));
    assert!(matches!(shown(&own.cert, nowhere), Err(UpstreamError::Identity { .. })));
    assert!(matches!(shown(&own.cert, &own.cert), Err(UpstreamError::Identity { .. })));
    assert!(matches!(shown(&own.key, &own.key), Err(UpstreamError::InvalidIdentity { .. })));
    assert!(matches!(shown(&own.cert, &foreign.key), Err(UpstreamError::InvalidIdentity { .. })));
}

/// Those who wait while it is found out which HTTP the server speaks.
#[tokio::test]
async fn a_crowd_at_a_server_without_http2_has_connections_at_once() {
    let origin = TlsOrigin::start(&["site.test"]).await;
    let mut config = pool(&[origin.origin.address]);
    config.tls = trusting(origin.ca.path());
    config.servers[0].tls = true;
    config.servers[0].protocol = OriginProtocol::Negotiated;
    let client = client_config(&config.tls).unwrap();
    let server = server_over(&config, client);
    let all = futures_util::future::join_all((0..40).map(|_| get(&server, "site.test"))).await;
    for told in all {
        assert!(told.unwrap().contains("host: site.test"));
    }
    assert!(origin.origin.accepted() > 1);
}
