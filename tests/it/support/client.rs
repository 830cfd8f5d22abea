//! Clients over TLS that speak HTTP/1.1 or HTTP/2, whichever they offer.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::acme_server::AnyCertificate;
use super::within;

/// What a client offers in its hello (RFC 7301), and then speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    H1,
    H2,
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// One connection.
pub(crate) struct Client {
    sender: Sender,
    authority: String,
    /// The certificate of the other end, DER.
    pub(crate) certificate: CertificateDer<'static>,
}

impl Client {
    /// Connects to `to`, asks for `name` and trusts `ca` alone.
    pub(crate) async fn connect(to: SocketAddr, ca: &Path, name: &str, alpn: Alpn) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        Self::over(stream, ca, name, alpn).await
    }

    /// The same over a connection that is there.
    pub(crate) async fn over(stream: TcpStream, ca: &Path, name: &str, alpn: Alpn) -> Self {
        let port = stream.peer_addr().unwrap().port();
        let tls = secure(stream, ca, name, alpn).await;
        let certificate = tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let io = TokioIo::new(tls);
        let sender = match alpn {
            Alpn::H1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Sender::H1(sender)
            }
            Alpn::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                Sender::H2(sender)
            }
        };
        Self { sender, authority: format!("{name}:{port}"), certificate }
    }

    /// GET of `path`, whole.
    pub(crate) async fn get(&mut self, path: &str) -> Response<Bytes> {
        let authority = self.authority.clone();
        self.get_of(&authority, path).await.unwrap()
    }

    /// GET of `path` at another authority than the connection was made for.
    pub(crate) async fn get_of(&mut self, authority: &str, path: &str) -> hyper::Result<Response<Bytes>> {
        let mut req = Request::new(Full::default());
        let res = match &mut self.sender {
            Sender::H1(sender) => {
                *req.uri_mut() = path.parse().unwrap();
                req.headers_mut().insert(HOST, HeaderValue::from_str(authority).unwrap());
                within("a place on the connection", sender.ready()).await?;
                within("a response", sender.send_request(req)).await?
            }
            Sender::H2(sender) => {
                let target = format!("https://{authority}{path}");
                *req.uri_mut() = target.parse::<Uri>().unwrap();
                within("a response", sender.send_request(req)).await?
            }
        };
        let (head, body) = res.into_parts();
        let content = within("the content", body.collect()).await?.to_bytes();
        Ok(Response::from_parts(head, content))
    }
}

/// The certificate that `to` shows for `name`, whatever that is worth.
pub(crate) async fn shown(to: SocketAddr, name: &str) -> CertificateDer<'static> {
    let provider = seawall::base::provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_protocol_versions(&[&TLS13]).unwrap().dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    let tls = within("a handshake", connector.connect(name, stream)).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// TLS over `stream`, by which nothing is spoken yet.
pub(crate) async fn secure(stream: TcpStream, ca: &Path, name: &str, alpn: Alpn) -> TlsStream<TcpStream> {
    stream.set_nodelay(true).unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(ca, alpn)));
    let server_name = ServerName::try_from(name.to_owned()).unwrap();
    let tls = within("a handshake", connector.connect(server_name, stream)).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn.protocol()));
    tls
}

impl Alpn {
    fn protocol(self) -> &'static [u8] {
        match self {
            Self::H1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

fn trusting(ca: &Path, alpn: Alpn) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.protocol().to_vec()];
    config
}
