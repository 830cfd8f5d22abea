//! The header by which an origin server is told whose connection it is (PROXY
//! protocol): written here, read there before TLS and HTTP. A connection that
//! began with one is of that client from then on.

use std::net::{IpAddr, SocketAddr};

use crate::config::model::ProxyProtocol;
use crate::exchange::ConnectionInfo;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientEnds {
    peer: SocketAddr,
    local: SocketAddr,
}

impl ClientEnds {
    /// Those of `connection`; both of one family.
    pub(super) fn of(connection: &ConnectionInfo) -> Self {
        let [peer, local] = [connection.peer, connection.local]
            .map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
        if peer.is_ipv4() == local.is_ipv4() {
            return Self { peer, local };
        }
        let [peer, local] = [peer, local].map(|end| match end.ip() {
            IpAddr::V4(ip) => SocketAddr::from((ip.to_ipv6_mapped(), end.port())),
            IpAddr::V6(_) => end,
        });
        Self { peer, local }
    }
}

/// The header of a connection for `client`; without one, of a connection of the
/// edge's own.
pub(super) fn header(version: ProxyProtocol, client: Option<ClientEnds>) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => line(client).into_bytes(),
        ProxyProtocol::V2 => block(client),
    }
}

fn line(client: Option<ClientEnds>) -> String {
    let Some(ClientEnds { peer, local }) = client else { return "PROXY UNKNOWN\r\n".to_owned() };
    let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", peer.ip(), local.ip(), peer.port(), local.port())
}

fn block(client: Option<ClientEnds>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let Some(ClientEnds { peer, local }) = client else {
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    header.extend(if peer.is_ipv4() { [0x21, 0x11, 0, 12] } else { [0x21, 0x21, 0, 36] });
    for end in [peer, local] {
        match end.ip() {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend([peer, local].map(|end| end.port().to_be_bytes()).concat());
    header
}

#[cfg(test)]
mod tests;
