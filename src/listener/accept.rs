//! Takes connections from one socket on one worker, for as long as the edge
//! takes any.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::limits::{ConnectionLimits, ConnectionPermit};
use crate::base::Backoff;
use crate::exchange::{ConnectionInfo, Scheme};
use crate::front::{ConnectionProtocol, Front};
use crate::tls;

/// Waits after failed accepts: descriptors are given back sooner or later, and
/// until then trying again at once only burns time.
const ACCEPT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_secs(1) };

/// What is spoken on a socket below HTTP.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Nothing: HTTP/1 in cleartext.
    Cleartext,
    /// TLS; ALPN settles which HTTP.
    Tls(Arc<tls::Tls>),
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
    /// How many there may be.
    pub limits: Arc<ConnectionLimits>,
}

impl Listener {
    /// Accepts connections until a drain begins; each goes on in a task of its
    /// own. The socket is closed on return.
    pub async fn run(self) {
        let mut failures = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.front.draining().cancelled() => return,
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

    /// A connection beyond the limits is closed at once.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.front.telemetry().metrics;
        match self.limits.admit(peer.ip()) {
            Ok(permit) => {
                metrics.connections.increment();
                metrics.connections_open.add(1);
                let front = Arc::clone(&self.front);
                let transport = self.transport.clone();
                self.front.tasks().spawn(async move {
                    let _open = Open { permit: Some(permit), front: Arc::clone(&front) };
                    connection(stream, peer, transport, front).await;
                });
            }
            Err(limit) => metrics.limit(limit),
        }
    }
}

/// An error of a connection that was gone before it was taken, not of the
/// socket.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// A connection that counts as open.
struct Open {
    permit: Option<ConnectionPermit>,
    front: Arc<Front>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before the count tells that there is room again.
        self.permit = None;
        let metrics = &self.front.telemetry().metrics;
        metrics.connections_open.add(-1);
        if std::thread::panicking() {
            metrics.panics.increment();
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, transport: Transport, front: Arc<Front>) {
    let Ok(local) = stream.local_addr() else { return };
    match transport {
        Transport::Cleartext => {
            let info = ConnectionInfo { peer, local, scheme: Scheme::Http, tls: None };
            front.serve(stream, ConnectionProtocol::Http1, info).await;
        }
        Transport::Tls(tls) => {
            let deadline = front.clock().now() + front.limits().handshake_timeout;
            let metrics = Arc::clone(&front.telemetry().metrics);
            // Boxed, as the state of a handshake is large, and the connection
            // lives on without it.
            match Box::pin(tls::accept(stream, &tls, deadline, &metrics)).await {
                Ok(tls::Accepted::Http { stream, alpn, session }) => {
                    let protocol = match alpn {
                        tls::Alpn::H2 => ConnectionProtocol::Http2,
                        tls::Alpn::H1 => ConnectionProtocol::Http1,
                    };
                    let info = ConnectionInfo { peer, local, scheme: Scheme::Https, tls: Some(session) };
                    front.serve(stream, protocol, info).await;
                }
                Ok(tls::Accepted::AcmeChallengeDone) => {}
                Err(error) => {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS session");
                }
            }
        }
    }
}
