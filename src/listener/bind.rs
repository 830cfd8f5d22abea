//! Listening sockets: one per worker on the same address, so that the kernel
//! spreads connections over the workers and no two of them share a lock. They
//! are bound first of all, so that a taken port is found before anything else
//! is begun, and listen only when there is somebody to serve.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps until a worker takes them.
const BACKLOG: i32 = 4096;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another process".into(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep)".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

/// The sockets of one address, one per worker.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port the system chose where 0 was asked for.
    pub address: SocketAddr,
    sockets: Vec<Socket>,
}

impl Bound {
    /// Sockets that listen on `address` already, for another process that leaves them
    /// to this one, and further ones if there are fewer than `workers`.
    pub fn over(address: SocketAddr, sockets: Vec<TcpListener>, workers: usize) -> Result<Self, BindError> {
        let adopt = || {
            let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
            let address = first.local_addr()?;
            let missing = workers.saturating_sub(sockets.len());
            let more = (0..missing).map(|_| shared(address)).collect::<io::Result<Vec<_>>>()?;
            let sockets = sockets.into_iter().map(Socket::from).chain(more).collect();
            Ok(Self { address, sockets })
        };
        adopt().map_err(|source| BindError { address, source })
    }

    /// Begins to take connections: one listening socket for each worker, or more.
    pub fn listen(self) -> Result<Vec<TcpListener>, BindError> {
        let listen = |socket: Socket| {
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        };
        let listening = self.sockets.into_iter().map(listen).collect::<io::Result<_>>();
        listening.map_err(|source| BindError { address: self.address, source })
    }
}

/// Binds `address` with one socket for each of `workers`. `[::]` takes IPv4
/// as well, and falls back to `0.0.0.0` where the machine has no IPv6.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    bind_where(address, workers, true)
}

/// The same where sockets that [`bind`] made, and that listen already, are in the way.
pub fn bind_over(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    bind_where(address, workers, false)
}

/// True if sockets on `one` are in the way of `other`.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |wide: SocketAddr, address: SocketAddr| {
        wide.ip() == address.ip() || wide.ip().is_unspecified() && (wide.is_ipv6() || address.is_ipv4())
    };
    one.port() == other.port() && one.port() != 0 && (holds(one, other) || holds(other, one))
}

fn bind_where(address: SocketAddr, workers: usize, must_be_free: bool) -> Result<Bound, BindError> {
    match bind_all(address, workers, must_be_free) {
        Err(error) if lacks_ipv6(&address, &error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind_all(v4, workers, must_be_free).map_err(|source| BindError { address: v4, source })
        }
        bound => bound.map_err(|source| BindError { address, source }),
    }
}

fn lacks_ipv6(address: &SocketAddr, error: &io::Error) -> bool {
    let is_missing = matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    address.is_ipv6() && address.ip().is_unspecified() && is_missing
}

fn bind_all(mut address: SocketAddr, workers: usize, must_be_free: bool) -> io::Result<Bound> {
    if must_be_free {
        // Sockets that share a port would also share it with those of another
        // process unnoticed; one that does not share finds out.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        if address.port() == 0 {
            let chosen = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
            address.set_port(chosen.port());
        }
    }
    let sockets = (0..workers.max(1)).map(|_| shared(address)).collect::<io::Result<_>>()?;
    Ok(Bound { address, sockets })
}

/// A socket that shares its address with others.
fn shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_socket_on_the_same_port() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let port = bound.address.port();
        let listening = bound.listen().unwrap();
        let ports: Vec<u16> = listening.iter().map(|s| s.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [port; 3]);
        assert_ne!(port, 0);
    }

    #[test]
    fn what_is_accepted_is_sent_at_once() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = bound.address;
        let listening = bound.listen().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = loop {
            match listening[0].accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break Socket::from(accepted.unwrap().0),
            }
        };
        assert!(accepted.tcp_nodelay().unwrap());
    }

    #[test]
    fn sockets_that_listen_are_taken_over_and_more_are_added() {
        let before = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = before.address;
        for workers in [1, 2, 3] {
            let again = bind_over(address, 2).unwrap().listen().unwrap();
            let bound = Bound::over(address, again, workers).unwrap();
            assert_eq!((bound.address, bound.sockets.len()), (address, workers.max(2)));
            assert_eq!(bound.listen().unwrap().len(), workers.max(2));
        }
        assert!(Bound::over(address, Vec::new(), 1).is_err());
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = first.address;
        let _listening = first.listen().unwrap();
        let error = bind(address, 1).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("taken"), "{error}");
    }

    #[test]
    fn addresses_overlap_where_one_holds_the_other() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let [one, other]: [SocketAddr; 2] = [one, other].map(|address| address.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
