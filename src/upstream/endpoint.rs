//! Where an origin server listens, and how a connection to it comes about: of two
//! addresses the one that answers first is taken (RFC 8305). Who is behind an
//! address it never finds out by itself.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::model::{Location, ServerConfig};

/// So long is only the first of two addresses tried (RFC 8305 s8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Where an origin server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// At a port of a host.
    Tcp {
        /// What the host is called, which may be an address without brackets.
        host: String,
        /// Its address,
        address: SocketAddr,
        /// and one of the other family that leads to the same server.
        other: Option<SocketAddr>,
    },
    /// At a socket of this machine.
    Unix(PathBuf),
}

impl Endpoint {
    /// Where a server is that DNS need not be asked for.
    pub fn fixed(server: &ServerConfig) -> Option<Self> {
        match &server.location {
            Location::Address(address) => {
                Some(Self::Tcp { host: address.ip().to_string(), address: *address, other: None })
            }
            Location::Socket(path) => Some(Self::Unix(path.clone())),
            Location::Host(..) | Location::Service(_) => None,
        }
    }

    /// What the server is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// The addresses, in the order in which they are tried.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let (first, other) = match self {
            Self::Tcp { address, other, .. } => (Some(*address), *other),
            Self::Unix(_) => (None, None),
        };
        first.into_iter().chain(other)
    }

    /// The same at this port of the host, if it has ports.
    pub(super) fn at_port(&self, port: u16) -> Self {
        let at = |address: SocketAddr| SocketAddr::new(address.ip(), port);
        match self {
            Self::Tcp { host, address, other } => {
                Self::Tcp { host: host.clone(), address: at(*address), other: other.map(at) }
            }
            Self::Unix(_) => self.clone(),
        }
    }

    /// What the server is, however the config writes it, such as
    /// `http://10.0.0.1:8080`: one for each address.
    pub fn urls(&self, tls: bool) -> Vec<String> {
        let scheme = if tls { "https" } else { "http" };
        match self {
            Self::Tcp { .. } => self.addresses().map(|address| format!("{scheme}://{address}")).collect(),
            Self::Unix(path) => vec![format!("unix:{}", path.display())],
        }
    }
}

/// Connects to `first`, and to `other` as well if that takes long or fails; the
/// connection that comes first is taken. Waits for as long as the system does.
/// Cancel safe: what was begun is given up.
pub(super) async fn connect_either(first: SocketAddr, other: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(other) = other else { return TcpStream::connect(first).await };
    let mut to_first = pin!(TcpStream::connect(first));
    match timeout(HEAD_START, &mut to_first).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(_)) => return TcpStream::connect(other).await,
        Err(_) => {}
    }
    match select(to_first, pin!(TcpStream::connect(other))).await {
        Either::Left((Ok(stream), _)) | Either::Right((Ok(stream), _)) => Ok(stream),
        Either::Left((Err(_), to_other)) => to_other.await,
        Either::Right((Err(_), to_first)) => to_first.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::test_origin::{Silent, TestOrigin};

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    /// An address nobody listens at.
    fn nobody() -> SocketAddr {
        "[::1]:1".parse().unwrap()
    }

    #[test]
    fn both_addresses_have_the_port_that_is_asked_for() {
        let (address, other) = ("[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().ok());
        let endpoint = Endpoint::Tcp { host: "app".to_owned(), address, other }.at_port(81);
        assert_eq!(endpoint.urls(false), ["http://[::1]:81", "http://127.0.0.1:81"]);
        assert_eq!(endpoint.name(), "app");
        let socket = Endpoint::Unix("/run/app.sock".into());
        assert_eq!(socket.at_port(81), socket);
    }

    #[tokio::test]
    async fn who_refuses_costs_no_time() {
        let origin = TestOrigin::always(OK).await;
        let connected = timeout(HEAD_START / 2, connect_either(nobody(), Some(origin.address))).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), origin.address);
    }

    #[tokio::test]
    async fn who_is_silent_costs_the_head_start() {
        let (silent, origin) = (Silent::start().await, TestOrigin::always(OK).await);
        let connected = timeout(HEAD_START * 4, connect_either(silent.address, Some(origin.address))).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), origin.address);
    }

    #[tokio::test]
    async fn who_is_slow_may_still_be_the_first() {
        let (silent, other) = (Silent::start().await, Silent::start().await);
        let mut connecting = pin!(connect_either(silent.address, Some(other.address)));
        assert!(timeout(HEAD_START * 2, &mut connecting).await.is_err(), "nobody answers");
        let address = silent.address;
        silent.listen().await;
        let connected = timeout(Duration::from_secs(30), connecting).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn if_both_fail_that_is_said() {
        let error = connect_either(nobody(), Some("127.0.0.1:1".parse().unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
