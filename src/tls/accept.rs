//! One handshake, from the ClientHello to what the front needs to know.

use std::io;
use std::sync::Arc;

use http::HeaderValue;
use rustls::server::{Acceptor, ClientHello};
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::config::{Guarded, H2, Tls};
use super::plaintext::Plaintext;
use super::subject;
use crate::base::SENT_AT_ONCE;
use crate::certs::{ACME_TLS_ALPN, is_challenge};
use crate::exchange::{ClientCertificate, TlsClient, TlsSession};
use crate::fields::client_cert;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;

/// A fatal alert (RFC 8446 s6) of the kind unrecognized_name (RFC 6066 s3), in a
/// record of its own: before a handshake it is not encrypted.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What became of a connection.
#[derive(Debug)]
pub enum Accepted<S> {
    /// HTTP is to be spoken on it.
    Http {
        /// The plaintext side.
        stream: Plaintext<S>,
        /// The version of HTTP that was agreed on.
        alpn: Alpn,
        /// What the handshake settled.
        session: TlsSession,
    },
    /// An ACME server looked at the certificate that proves a name (RFC 8737
    /// s3); the connection is closed.
    AcmeChallengeDone,
}

/// The version of HTTP that was agreed on (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1, also where the client named none.
    H1,
    /// HTTP/2.
    H2,
}

/// Why a handshake did not end well.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the TLS handshake did not end in time")]
    TimedOut,
    /// The client went away.
    #[error("the client closed the connection in the TLS handshake")]
    Closed,
    /// Nobody here is called as the client says; it was sent an alert.
    #[error("there is no certificate for the name in the client's hello")]
    UnrecognizedName,
    /// The client proved that a certificate is its own in which nobody can read
    /// who it is.
    #[error("the client's certificate cannot be read")]
    ClientCertificate,
    /// The two sides do not agree, or it was no TLS; the client was sent an
    /// alert.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
}

/// Does the handshake on `stream` until `deadline`, and counts it. Cancelled, it
/// closes the connection.
pub async fn accept<S>(
    stream: S,
    tls: &Tls,
    deadline: Instant,
    metrics: &Metrics,
) -> Result<Accepted<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = timeout_at(deadline, handshake(stream, tls)).await;
    let accepted = accepted.unwrap_or(Err(HandshakeError::TimedOut));
    match &accepted {
        Ok(Accepted::Http { session: TlsSession { resumed: true, .. }, .. }) => {
            metrics.handshakes_resumed.increment();
        }
        Ok(_) => metrics.handshakes_full.increment(),
        Err(error) => {
            metrics.handshakes_failed.increment();
            if matches!(error, HandshakeError::TimedOut) {
                metrics.limit(Limit::HandshakeTimeout);
            }
        }
    }
    accepted
}

async fn handshake<S>(stream: S, tls: &Tls) -> Result<Accepted<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let begun = begun.await.map_err(HandshakeError::from_io)?;
    let asked = Asked::of(&begun.client_hello());
    if let Asked::Site(name) = &asked {
        if let Some(name) = name {
            tls.certificates.ready(name).await;
        }
        if !tls.certificates.has(name.as_deref()) {
            return Err(refuse(begun.io).await);
        }
    }
    let guarded = match &asked {
        Asked::Site(name) => tls.guarded(name.as_deref()),
        Asked::Challenge => None,
    };
    let config = guarded.map_or(tls.open(), |guarded| &guarded.config);
    let limit_buffer = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(SENT_AT_ONCE));
    let ended = begun.into_stream_with(Arc::clone(config), limit_buffer);
    let mut stream = Box::new(ended.await.map_err(HandshakeError::from_io)?);
    let connection = stream.get_ref().1;
    let alpn = match connection.alpn_protocol() {
        Some(ACME_TLS_ALPN) => {
            stream.shutdown().await.map_err(HandshakeError::from_io)?;
            return Ok(Accepted::AcmeChallengeDone);
        }
        Some(H2) => Alpn::H2,
        _ => Alpn::H1,
    };
    let session = session(connection, guarded)?;
    Ok(Accepted::Http { stream: Plaintext::new(stream), alpn, session })
}

/// Says that nobody here is called so: rustls would call it `access_denied`, which
/// browsers and scanners take for something else.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) -> HandshakeError {
    // Nothing is lost where the client does not wait for it.
    let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
    let _ = stream.shutdown().await;
    HandshakeError::UnrecognizedName
}

/// What a hello asks for.
enum Asked {
    /// A site, by its name in lower case if it says one.
    Site(Option<String>),
    /// The proof of a name, as an ACME server does: nothing is obtained for it, and
    /// it has no certificate to show.
    Challenge,
}

impl Asked {
    fn of(hello: &ClientHello<'_>) -> Self {
        match is_challenge(hello) {
            true => Self::Challenge,
            false => Self::Site(hello.server_name().map(str::to_ascii_lowercase)),
        }
    }
}

fn session(connection: &ServerConnection, guarded: Option<&Guarded>) -> Result<TlsSession, HandshakeError> {
    Ok(TlsSession {
        sni: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher_suite: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default(),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        client: guarded.map(|guarded| client(connection, guarded)).transpose()?,
    })
}

/// A client with a certificate that cannot be read is no stranger: it is refused.
fn client(connection: &ServerConnection, guarded: &Guarded) -> Result<TlsClient, HandshakeError> {
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = leaf.map(|leaf| client_certificate(leaf).ok_or(HandshakeError::ClientCertificate));
    Ok(TlsClient { site: Arc::clone(&guarded.site), certificate: certificate.transpose()? })
}

fn client_certificate(leaf: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let subject = HeaderValue::try_from(subject::text(parsed.subject())).ok()?;
    Some(ClientCertificate { encoded: client_cert::value(leaf)?, subject })
}

impl HandshakeError {
    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}
