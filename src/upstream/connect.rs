//! Opens a connection to an origin server: name, TCP, what it is told first, and
//! TLS under one deadline. Every address of a name is tried.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::stream::{Local, Transport};
use super::tls::H2;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// How long a connection may be silent before TCP asks whether the other end
/// is still there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name could not be resolved.
    #[error("the name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The name was not resolved in time.
    #[error("the name was not resolved in time")]
    ResolveTimedOut,
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
            Self::Resolve(_) => ProxyErrorType::DnsError,
            Self::NoAddress => ProxyErrorType::DestinationNotFound,
            Self::ResolveTimedOut => ProxyErrorType::DnsTimeout,
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

impl From<ConnectError> for FetchError {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), RequestProgress::NotSent).from_source(error)
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Where an origin server listens.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// At a port of a host: a name, or an address without brackets.
    Tcp(String, u16),
    /// At a socket of this machine.
    Unix(PathBuf),
}

impl Address {
    /// What the server is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "localhost",
        }
    }
}

/// An open connection.
pub(super) struct Connected {
    pub(super) transport: Transport,
    /// True if HTTP/2 was agreed on in the TLS handshake.
    pub(super) is_http2: bool,
}

/// Connects to `address` within `limit`, sends `header`, and goes on by TLS if a
/// connector and the name the server must prove are given. Cancel safe: what was
/// opened is closed.
pub(super) async fn connect(
    address: &Address,
    header: &[u8],
    tls: Option<(&TlsConnector, ServerName<'static>)>,
    limit: Duration,
) -> Result<Connected, ConnectError> {
    let mut resolving = false;
    let dial = async {
        let (host, port) = match address {
            Address::Tcp(host, port) => (host.as_str(), *port),
            Address::Unix(path) => {
                let mut stream = connect_local(path).await.map_err(ConnectError::Tcp)?;
                stream.write_all(header).await.map_err(ConnectError::Tcp)?;
                return Ok(Connected { transport: Either::Left(Either::Right(stream)), is_http2: false });
            }
        };
        let mut stream = if let Ok(address) = host.parse::<IpAddr>() {
            TcpStream::connect((address, port)).await.map_err(ConnectError::Tcp)?
        } else {
            resolving = true;
            let addresses = tokio::net::lookup_host((host, port)).await.map_err(ConnectError::Resolve)?;
            resolving = false;
            connect_any(&addresses.collect::<Vec<_>>(), limit).await?
        };
        // Both only tune: a connection without them is still a connection.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE));
        stream.write_all(header).await.map_err(ConnectError::Tcp)?;
        match tls {
            None => Ok(Connected { transport: Either::Left(Either::Left(stream)), is_http2: false }),
            Some((connector, name)) => {
                let stream = connector.connect(name, stream).await.map_err(ConnectError::Tls)?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                Ok(Connected { transport: Either::Right(Box::new(stream)), is_http2 })
            }
        }
    };
    let outcome = timeout(limit, dial).await;
    match outcome {
        Ok(result) => result,
        Err(_) if resolving => Err(ConnectError::ResolveTimedOut),
        Err(_) => Err(ConnectError::TimedOut),
    }
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

/// Tries one address after the other; each gets an equal part of the time, so
/// that one that is silent does not use it all up.
async fn connect_any(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = ConnectError::NoAddress;
    for address in addresses {
        failure = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectError::Tcp(error),
            Err(_) => ConnectError::TimedOut,
        };
    }
    Err(failure)
}
