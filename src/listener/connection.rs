//! One connection from its acceptance to HTTP: whose it is, and TLS. It counts
//! as open until it ends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::accept::Transport;
use super::limits::ConnectionPermit;
use super::proxied::{self, HeaderError};
use super::proxy_protocol::Ends;
use crate::base::Socket;
use crate::exchange::{ConnectionInfo, Scheme, TlsSession};
use crate::front::{ConnectionProtocol, Front};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Limit;
use crate::tls;

/// A connection that counts as open.
pub(super) struct Open {
    permit: Option<ConnectionPermit>,
    front: Arc<Front>,
}

impl Open {
    /// Counts a connection that was admitted.
    pub(super) fn new(permit: ConnectionPermit, front: Arc<Front>) -> Self {
        let metrics = &front.telemetry().metrics;
        metrics.connections.increment();
        metrics.connections_open.add(1);
        Self { permit: Some(permit), front }
    }

    /// Counts it as one of `client`. False if a limit stands against it.
    fn name(&mut self, client: IpAddr) -> bool {
        let named = self.permit.as_mut().map_or(Ok(()), |permit| permit.name(client));
        named.map_err(|limit| self.metrics().limit(limit)).is_ok()
    }

    fn metrics(&self) -> &Metrics {
        &self.front.telemetry().metrics
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before the count tells that there is room again.
        self.permit = None;
        self.metrics().connections_open.add(-1);
        if std::thread::panicking() {
            self.metrics().panics.increment();
        }
    }
}

/// A connection that nothing was read from yet.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// It begins with a PROXY header.
    pub(super) is_proxied: bool,
    pub(super) transport: Transport,
}

impl Arrival {
    /// Serves it to its end, which closes it.
    pub(super) async fn serve(self, mut open: Open) {
        let Self { mut stream, peer, is_proxied, transport } = self;
        let Ok(local) = stream.local_addr() else { return };
        let mut ends = Ends { source: peer, destination: local };
        let deadline = open.front.clock().now() + open.front.limits().handshake_timeout;
        if is_proxied {
            // Boxed, as the connection lives on without it.
            match Box::pin(proxied::read(&mut stream, deadline)).await {
                Ok(None) => {}
                Ok(Some(told)) if open.name(told.source.ip()) => ends = told,
                Ok(Some(_)) => return,
                Err(error) => return no_header(&error, peer, open.metrics()),
            }
        }
        let front = Arc::clone(&open.front);
        let stream = Socket::from(stream);
        match transport {
            Transport::Cleartext => {
                let info = ends.info(Scheme::Http, None);
                front.serve(stream, ConnectionProtocol::Http1, info, open).await;
            }
            Transport::Tls(tls) => serve_tls(stream, tls.load_full(), ends, deadline, open).await,
        }
    }
}

impl Ends {
    fn info(self, scheme: Scheme, tls: Option<TlsSession>) -> ConnectionInfo {
        ConnectionInfo { peer: self.source, local: self.destination, scheme, tls }
    }
}

fn no_header(error: &HeaderError, peer: SocketAddr, metrics: &Metrics) {
    if matches!(error, HeaderError::Unused) {
        return;
    }
    metrics.proxy_headers_failed.increment();
    if matches!(error, HeaderError::TimedOut) {
        metrics.limit(Limit::HandshakeTimeout);
    }
    tracing::debug!(%peer, error = error as &dyn std::error::Error, "no PROXY header");
}

async fn serve_tls(stream: Socket, tls: Arc<tls::Tls>, ends: Ends, deadline: Instant, open: Open) {
    let front = Arc::clone(&open.front);
    let metrics = Arc::clone(&front.telemetry().metrics);
    // Boxed, as the state of a handshake is large, and the connection lives on
    // without it.
    let accepted = Box::pin(tls::accept(stream, &tls, deadline, &metrics)).await;
    // What it is of may end while the connection lives on.
    drop(tls);
    match accepted {
        Ok(tls::Accepted::Http { stream, alpn, session }) => {
            let protocol = match alpn {
                tls::Alpn::H2 => ConnectionProtocol::Http2,
                tls::Alpn::H1 => ConnectionProtocol::Http1,
            };
            front.serve(stream, protocol, ends.info(Scheme::Https, Some(session)), open).await;
        }
        Ok(tls::Accepted::AcmeChallengeDone) => {}
        Err(error) => {
            let peer = ends.source;
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS session");
        }
    }
}
