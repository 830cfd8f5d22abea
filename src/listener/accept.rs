//! Takes connections from one socket on one worker, for as long as connections
//! are taken there.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection::{Arrival, Open};
use super::limits::ConnectionLimits;
use crate::base::Backoff;
use crate::front::Front;
use crate::telemetry::metrics::Limit;
use crate::tls;

/// Waits after failed accepts: descriptors are given back sooner or later, and
/// until then trying again at once only burns time.
const ACCEPT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_secs(1) };

/// What is said in cleartext to who is turned away.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What is spoken on a socket below HTTP.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Nothing: HTTP/1 in cleartext.
    Cleartext,
    /// TLS, as it is spoken when a connection comes; ALPN settles which HTTP.
    Tls(Arc<ArcSwap<tls::Tls>>),
}

/// One socket of one worker.
#[derive(Debug)]
pub struct Listener {
    /// Where connections come in.
    pub socket: TcpListener,
    /// What is spoken there.
    pub transport: Transport,
    /// Who serves them.
    pub front: Arc<Front>,
    /// How many there may be, and from where.
    pub limits: Arc<ConnectionLimits>,
    /// Cancelled when no more are taken here.
    pub end: CancellationToken,
}

/// So many connections that came before the end are taken after it.
const MOST_LATE: usize = 4096;

impl Listener {
    /// Accepts connections until the end, those included that came before it; each
    /// goes on in a task of its own. This handle of the socket is closed on return.
    pub async fn run(self) {
        let mut failures = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.end.cancelled() => return self.take_the_rest(),
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures = 0;
                    self.admit(stream, peer);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    failures += 1;
                    self.front.telemetry().metrics.accept_errors.increment();
                    if failures == 1 {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_BACKOFF.wait(failures, 0.0)).await;
                }
            }
        }
    }

    /// Whoever was let in by the system already would else be reset.
    fn take_the_rest(&self) {
        for _ in 0..MOST_LATE {
            match accept_at_once(&self.socket) {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if concerns_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// A connection beyond the limits is turned away at once.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.front.telemetry().metrics;
        let address = peer.ip().to_canonical();
        let is_proxied = self.limits.is_proxied(address);
        let admitted = if self.front.is_out_of_memory() {
            Err(Limit::Memory)
        } else if is_proxied {
            self.limits.admit_unnamed()
        } else {
            self.limits.admit(address)
        };
        match admitted {
            Ok(permit) => {
                let open = Open::new(permit, Arc::clone(&self.front));
                let arrival = Arrival { stream, peer, is_proxied, transport: self.transport.clone() };
                self.front.tasks().spawn(arrival.serve(open));
            }
            Err(limit) => {
                metrics.limit(limit);
                // Who speaks TLS sees it closed.
                if matches!(self.transport, Transport::Cleartext) {
                    turn_away(&stream);
                }
            }
        }
    }
}

/// Says so in cleartext, as far as that needs no waiting.
fn turn_away(stream: &TcpStream) {
    let mut socket = &*SockRef::from(stream);
    // There is no more to be done for a client that is gone. What it asked is
    // read, for closing a socket with more to read makes it a reset.
    let _ = socket.write(TURNED_AWAY);
    let _ = socket.read(&mut [0; 2048]);
}

/// Takes a connection that waits, whether or not the runtime knows of it yet, and
/// however many it has let this task take.
fn accept_at_once(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = SockRef::from(socket).accept()?;
    stream.set_nonblocking(true)?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((TcpStream::from_std(stream.into())?, peer))
}

/// An error of a connection that was gone before it was taken, not of the
/// socket.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_taken_at_once() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).listen(4096).unwrap();
        let address = socket.local_addr().unwrap();
        let socket = TcpListener::from_std(socket).unwrap();
        let clients: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let taken: Vec<_> = std::iter::from_fn(|| accept_at_once(&socket).ok()).collect();
        assert_eq!(taken.len(), clients.len());
        assert_eq!(taken[0].1, clients[0].local_addr().unwrap());
        assert_eq!(accept_at_once(&socket).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn who_is_turned_away_reads_why() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let (stream, _) = socket.accept().await.unwrap();
        turn_away(&stream);
        drop(stream);
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        assert_eq!(said, TURNED_AWAY);
    }
}
