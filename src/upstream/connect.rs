//! Opens a connection to an origin server: TCP, what it is told first, and TLS
//! under one deadline.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::endpoint::{Endpoint, connect_either};
use super::stream::{Local, Transport};
use super::tls::H2;
use crate::base::Socket;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// How long a connection may be silent before TCP asks whether the other end
/// is still there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address took the connection.
    #[error("the connection was refused or failed")]
    Tcp(#[source] io::Error),
    /// The connection or the handshake took too long.
    #[error("the connection took too long")]
    TimedOut,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

impl ConnectError {
    /// The kind of failure (RFC 9209 s2.3).
    pub(super) fn kind(&self) -> ProxyErrorType {
        match self {
            Self::Tcp(error) if error.kind() == io::ErrorKind::TimedOut => ProxyErrorType::ConnectionTimeout,
            Self::Tcp(_) => ProxyErrorType::ConnectionRefused,
            Self::TimedOut => ProxyErrorType::ConnectionTimeout,
            Self::Tls(error) => match tls_error(error) {
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                    ProxyErrorType::TlsCertificateError
                }
                _ => ProxyErrorType::TlsProtocolError,
            },
        }
    }
}

impl ConnectError {
    /// True if the server has a certificate, but of another name, or says that it has none
    /// of this one.
    pub(super) fn is_wrong_name(&self) -> bool {
        let Self::Tls(error) = self else { return false };
        matches!(
            tls_error(error),
            Some(
                rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                ) | rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)
            )
        )
    }
}

impl From<ConnectError> for FetchError {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), RequestProgress::NotSent).from_source(error)
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// An open connection.
pub(super) struct Connected {
    pub(super) transport: Transport,
    /// True if HTTP/2 was agreed on in the TLS handshake.
    pub(super) is_http2: bool,
}

/// Connects to `endpoint` within `limit`, sends `header`, and goes on by TLS if a
/// connector and the name the server must prove are given. Cancel safe: what was
/// opened is closed.
pub(super) async fn connect(
    endpoint: &Endpoint,
    header: &[u8],
    tls: Option<(&TlsConnector, ServerName<'static>)>,
    limit: Duration,
) -> Result<Connected, ConnectError> {
    let dial = async {
        let (address, other) = match endpoint {
            Endpoint::Tcp { address, other, .. } => (*address, *other),
            Endpoint::Unix(path) => {
                let mut stream = connect_local(path).await.map_err(ConnectError::Tcp)?;
                stream.write_all(header).await.map_err(ConnectError::Tcp)?;
                return Ok(Connected { transport: Either::Left(Either::Right(stream)), is_http2: false });
            }
        };
        let mut stream = connect_either(address, other).await.map_err(ConnectError::Tcp)?;
        // Both only tune: a connection without them is still a connection.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE));
        stream.write_all(header).await.map_err(ConnectError::Tcp)?;
        let stream = Socket::from(stream);
        match tls {
            None => Ok(Connected { transport: Either::Left(Either::Left(stream)), is_http2: false }),
            Some((connector, name)) => {
                let stream = connector.connect(name, stream).await.map_err(ConnectError::Tls)?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                Ok(Connected { transport: Either::Right(Box::new(stream)), is_http2 })
            }
        }
    };
    timeout(limit, dial).await.unwrap_or(Err(ConnectError::TimedOut))
}

#[cfg(not(test))]
async fn connect_local(path: &Path) -> io::Result<Local> {
    UnixStream::connect(path).await
}

#[cfg(test)]
async fn connect_local(path: &Path) -> io::Result<Local> {
    match super::in_memory::connect(path) {
        Some(connecting) => connecting.await.map(Either::Right),
        None => UnixStream::connect(path).await.map(Either::Left),
    }
}
