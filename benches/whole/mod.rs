//! A whole edge before an origin server in the same process, and connections of
//! clients to it: real sockets, TLS and HTTP.

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]
#![allow(unreachable_pub, reason = "a bench is no library")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use seawall::app::Edge;
use seawall::base::Tasks;
use seawall::config;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An edge with one worker, which serves while this is there.
pub struct Whole {
    edge: Edge,
    site: &'static str,
    tasks: Tasks,
    directory: TempDir,
}

impl Whole {
    /// One with a single site, whose origin server has this URL.
    pub async fn start(site: &'static str, origin: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let text = format!(
            r#"
state_dir = {:?}
workers = 1
listen = {{ http = ["127.0.0.1:0"], https = ["127.0.0.1:0"] }}
log.access = "off"
[site.{site:?}]
origins = [{origin:?}]
health = false
tls = "internal"
"#,
            directory.path()
        );
        let loaded = config::parse("bench", &text, directory.path()).expect("a config");
        let edge = Edge::start(loaded).await.expect("an edge");
        Self { edge, site, tasks: Tasks::new(), directory }
    }

    /// A connection by HTTP/1.1 to the site.
    pub async fn http1(&self) -> http1::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect(b"http/1.1").await);
        let (sender, connection) = http1::handshake(io).await.expect("a connection");
        self.tasks.spawn(connection);
        sender
    }

    /// A connection by HTTP/2 to the site.
    pub async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
        self.tasks.spawn(connection);
        sender
    }

    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let address = self.edge.https.first().expect("it listens");
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a connection");
        let connector = TlsConnector::from(Arc::new(self.trusting(protocol)));
        let name = ServerName::try_from(self.site).expect("a name");
        let tls = connector.connect(name, stream).await.expect("a handshake");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(protocol));
        tls
    }

    /// What trusts the edge's own CA alone and offers `protocol`.
    fn trusting(&self, protocol: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.directory.path().join("ca/ca.pem"));
        roots.add(ca.expect("a certificate")).expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }
}

/// Starts an origin server on a port that the system picks. It speaks HTTP/2 by
/// prior knowledge or else HTTP/1.1, as `version` says.
pub async fn origin<A, R, B>(version: Version, answer: A) -> SocketAddr
where
    A: Fn(Request<Incoming>) -> R + Copy + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tasks = Tasks::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a connection");
            let io = TokioIo::new(stream);
            let service = service_fn(move |req| {
                let res = answer(req);
                async { Ok::<_, Infallible>(res.await) }
            });
            if version == Version::HTTP_2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tasks.spawn(server.serve_connection(io, service));
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                tasks.spawn(server.serve_connection(io, service));
            }
        }
    });
    address
}
