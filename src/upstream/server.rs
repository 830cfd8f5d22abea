//! One origin server: sends it a request over a connection that is idle or
//! new, and waits for the head of the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Version};
use hyper::body::Incoming;
use hyper::client::conn;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connect::{Address, ConnectError, Connected, connect};
use super::connection::{Connection, Lease, OpenConnection};
use super::content::{InUse, content};
use super::exchange::may_use_new_connection;
use super::failure::{fetch_error, not_sent};
use super::http2::{Multiplexed, MultiplexedConnections, Stream};
use super::idle::IdleConnections;
use super::introduction::{self, ClientEnds};
use super::slots::{Slot, Slots};
use super::tls::H2;
use super::{OutboundRequest, UpstreamError, inbound};
use crate::base::{Clock, Tasks};
use crate::config::model::{OriginProtocol, OriginTimeouts, PoolConfig, ProxyProtocol, ServerConfig};
use crate::exchange::{Body, Facts, FetchError, Host, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::Metrics;

/// How much of a response is read ahead of its reader, unless its head may be
/// larger.
const READ_AHEAD: usize = 64 << 10;

/// One origin server with its connections.
#[derive(Debug)]
pub struct OriginServer {
    pub(super) address: Address,
    pub(super) tls: Option<OriginTlsClient>,
    pub(super) http1: conn::http1::Builder,
    header_bytes: usize,
    protocol: OriginProtocol,
    /// True if the server did not agree to HTTP/2 when it was last offered.
    speaks_http1: AtomicBool,
    pub(super) tasks: Tasks,
    proxy_protocol: Option<ProxyProtocol>,
    pub(super) timeouts: OriginTimeouts,
    stream_idle: Duration,
    idle: IdleConnections,
    multiplexed: MultiplexedConnections,
    /// Number of fields of a response, which is not counted for HTTP/2.
    most_fields: usize,
    slots: Slots,
    /// Connections in use or idle.
    open: Arc<AtomicUsize>,
    max_connections: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

/// How TLS is spoken to one origin server.
pub(super) struct OriginTlsClient {
    /// With HTTP/1.1 alone,
    http1: TlsConnector,
    /// and with HTTP/2 as well.
    negotiating: TlsConnector,
    /// The name it must prove; `None`: the host of the request.
    pub(super) server_name: Option<ServerName<'static>>,
}

impl OriginServer {
    /// The server `server` of `pool`, no connection open yet. `tls` is what
    /// [`client_config`](super::client_config) made for the pool; without it
    /// the server is spoken to in cleartext.
    pub fn new(
        server: &ServerConfig,
        pool: &PoolConfig,
        tls: Option<Arc<ClientConfig>>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, UpstreamError> {
        let tls = tls.map(|config| OriginTlsClient::new(config, pool)).transpose()?;
        let mut http1 = conn::http1::Builder::new();
        http1
            .max_headers(pool.headers)
            .max_header_size(pool.header_bytes)
            .max_buf_size(pool.header_bytes.max(READ_AHEAD));
        Ok(Arc::new(Self {
            address: match &server.socket {
                Some(path) => Address::Unix(path.clone()),
                None => Address::Tcp(server.host.clone(), server.port),
            },
            tls,
            http1,
            header_bytes: pool.header_bytes,
            // A connection that is one client's carries no other's requests.
            protocol: match pool.proxy_protocol {
                Some(_) => OriginProtocol::Http1,
                None => server.protocol,
            },
            speaks_http1: AtomicBool::new(false),
            tasks,
            proxy_protocol: pool.proxy_protocol,
            timeouts: pool.timeouts.clone(),
            stream_idle: pool.stream_idle,
            idle: IdleConnections::new(pool.timeouts.keep_alive, pool.max_connections),
            multiplexed: MultiplexedConnections::new(),
            most_fields: pool.headers,
            slots: Slots::new(pool.max_connections, pool.queue.clone(), Arc::clone(&metrics)),
            open: Arc::default(),
            max_connections: pool.max_connections,
            clock,
            metrics,
        }))
    }

    /// Sends `req` and waits for the head of the response; its content follows
    /// as it comes. A kept connection that turns out to be dead is replaced by
    /// a new one, if that cannot make the server process the request twice.
    ///
    /// Fails with how far the request had come, in [`FetchError::progress`];
    /// whether it can be sent once more says [`OutboundRequest::is_at_hand`].
    /// Dropping the future closes the connection.
    pub async fn send(self: &Arc<Self>, req: &mut OutboundRequest) -> Result<Response, FetchError> {
        let slot = self.slots.take().await?;
        if self.may_multiplex(req) {
            // Boxed, as the one after the next is, so that a request on a connection that
            // is there does not carry the state of what it does not need.
            Box::pin(self.send_multiplexed(req, slot)).await
        } else {
            self.send_alone(req, slot).await
        }
    }

    /// Sends `req` on a connection of its own.
    async fn send_alone(
        self: &Arc<Self>,
        req: &mut OutboundRequest,
        slot: Slot,
    ) -> Result<Response, FetchError> {
        let client = self.proxy_protocol.map(|_| req.client());
        let proven_host = self.proven_host(req);
        if let Some(kept) = self.idle.take(proven_host, client, self.clock.now()) {
            let mut lease = Lease::new(kept, Arc::clone(self));
            match self.exchange(&mut lease, req).await {
                Err(error) if may_use_new_connection(&error, req) => drop(lease),
                result => return self.response(result?, InUse::of_connection(lease, slot), req),
            }
        }
        let proven_host = self.proven_host(req).cloned();
        let connection = match Box::pin(self.open(proven_host, client, Offer::Http1)).await? {
            Opened::Alone(connection) => connection,
            // It was not offered.
            Opened::Multiplexed(_) => return Err(not_sent("HTTP/2 without having been asked")),
        };
        let mut lease = Lease::new(connection, Arc::clone(self));
        let received = self.exchange(&mut lease, req).await?;
        self.response(received, InUse::of_connection(lease, slot), req)
    }

    /// True if others may be sent beside `req` on its connection. A change of
    /// protocols takes a whole one.
    fn may_multiplex(&self, req: &OutboundRequest) -> bool {
        self.protocol != OriginProtocol::Http1 && !self.speaks_http1.load(Relaxed) && req.upgrade().is_none()
    }

    /// Sends `req` beside others.
    async fn send_multiplexed(
        self: &Arc<Self>,
        req: &mut OutboundRequest,
        slot: Slot,
    ) -> Result<Response, FetchError> {
        if let Some(mut stream) = self.multiplexed.take(self.proven_host(req)) {
            match self.exchange_on(&mut stream, req).await {
                Err(error) if stream.connection.is_over() && may_use_new_connection(&error, req) => {
                    drop(stream);
                }
                result => return self.response(result?, InUse::of_stream(stream, slot), req),
            }
        }
        let proven_host = self.proven_host(req).cloned();
        match self.another_stream(proven_host.as_ref()).await? {
            Ok(mut stream) => {
                let received = self.exchange_on(&mut stream, req).await?;
                self.response(received, InUse::of_stream(stream, slot), req)
            }
            Err(connection) => {
                let mut lease = Lease::new(connection, Arc::clone(self));
                let received = self.exchange(&mut lease, req).await?;
                self.response(received, InUse::of_connection(lease, slot), req)
            }
        }
    }

    /// A stream of a connection that somebody opened meanwhile, or that is opened
    /// now; or a whole connection, if the server does not speak HTTP/2.
    async fn another_stream(&self, host: Option<&Host>) -> Result<Result<Stream, Connection>, FetchError> {
        let opening = timeout(self.timeouts.connect, self.multiplexed.open()).await;
        // Whoever waits for others of its own has no word of the server.
        let kind = ProxyErrorType::ConnectionLimitReached;
        let opening = opening.map_err(|_| FetchError::new(kind, RequestProgress::NotSent))?;
        if let Some(stream) = self.multiplexed.take(host) {
            return Ok(Ok(stream));
        }
        if self.speaks_http1.load(Relaxed) {
            drop(opening);
            return match self.open(host.cloned(), None, Offer::Http1).await? {
                Opened::Alone(connection) => Ok(Err(connection)),
                Opened::Multiplexed(_) => Err(not_sent("HTTP/2 without having been asked")),
            };
        }
        match timeout(self.timeouts.connect, self.open(host.cloned(), None, Offer::Both)).await {
            Err(_) => Err(ConnectError::TimedOut.into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Opened::Alone(connection))) => Ok(Err(connection)),
            Ok(Ok(Opened::Multiplexed(connection))) => {
                let stream = connection.stream().ok_or_else(|| not_sent("HTTP/2 without a stream"))?;
                self.multiplexed.put(connection);
                Ok(Ok(stream))
            }
        }
    }

    /// Requests under way, those that wait for a connection included.
    pub fn in_flight(&self) -> usize {
        self.slots.in_use()
    }

    /// Connections in use or idle.
    #[cfg(test)]
    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Closes idle connections that were not used for long enough.
    pub fn sweep_idle(&self) {
        self.idle.sweep(self.clock.now());
        self.multiplexed.sweep();
    }

    /// Closes all idle connections, and from now on those that become idle.
    pub fn close_idle(&self) {
        self.idle.close();
        self.multiplexed.close();
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.put(connection, self.clock.now());
    }

    /// The host a connection must have been opened for to carry `req`.
    fn proven_host<'a>(&self, req: &'a OutboundRequest) -> Option<&'a Host> {
        self.tls.as_ref().filter(|tls| tls.server_name.is_none()).map(|_| req.host())
    }

    /// What the server is told first on a connection for `client`.
    pub(super) fn introduction(&self, client: Option<ClientEnds>) -> Vec<u8> {
        self.proxy_protocol.map(|version| introduction::header(version, client)).unwrap_or_default()
    }

    async fn open(
        &self,
        proven_host: Option<Host>,
        client: Option<ClientEnds>,
        offer: Offer,
    ) -> Result<Opened, FetchError> {
        let (open, before) = OpenConnection::count(&self.open);
        if before >= self.max_connections {
            self.idle.drop_one();
            self.multiplexed.drop_one();
        }
        let tls = match &self.tls {
            Some(tls) => {
                let name = tls.server_name(proven_host.as_ref(), self.address.name())?;
                Some((tls.connector(offer), name))
            }
            None => None,
        };
        let header = self.introduction(client);
        let connected = connect(&self.address, &header, tls, self.timeouts.connect).await?;
        self.metrics.origin_connections.increment();
        let mut opened = self.speak(connected, proven_host, Some(open), offer).await?;
        if let Opened::Alone(connection) = &mut opened {
            connection.client = client;
        }
        Ok(opened)
    }

    /// Begins to speak HTTP as was offered and agreed on.
    pub(super) async fn speak(
        &self,
        connected: Connected,
        proven_host: Option<Host>,
        open: Option<OpenConnection>,
        offer: Offer,
    ) -> Result<Opened, FetchError> {
        if offer == Offer::Both {
            self.learn(&connected);
        }
        let Connected { transport, is_http2 } = connected;
        if offer == Offer::Both && (is_http2 || self.protocol == OriginProtocol::Http2) {
            let started = Multiplexed::start(transport, proven_host, open, self.header_bytes, &self.tasks);
            return started.await.map(Opened::Multiplexed);
        }
        let started = Connection::start(transport, proven_host, open, &self.http1, &self.tasks);
        started.await.map(Opened::Alone).map_err(|error| fetch_error(error, RequestProgress::NotSent))
    }

    /// Notes whether a server that could agree to HTTP/2 did.
    pub(super) fn learn(&self, connected: &Connected) {
        if self.protocol == OriginProtocol::Negotiated {
            self.speaks_http1.store(!connected.is_http2, Relaxed);
        }
    }

    /// What is offered where nothing speaks against it.
    pub(super) fn offer(&self) -> Offer {
        if self.protocol == OriginProtocol::Http1 { Offer::Http1 } else { Offer::Both }
    }

    fn response(
        &self,
        received: http::Response<Incoming>,
        mut in_use: InUse,
        req: &OutboundRequest,
    ) -> Result<Response, FetchError> {
        let (mut head, incoming) = received.into_parts();
        if head.headers.len() > self.most_fields {
            let kind = ProxyErrorType::HttpResponseHeaderSectionSize;
            return Err(FetchError::new(kind, RequestProgress::Answered));
        }
        inbound::normalize(&mut head, req.upgrade())?;
        let mut response = Response {
            status: head.status,
            fields: head.headers,
            body: Body::Empty,
            facts: Facts::default(),
            tunnel: head.extensions.remove(),
        };
        if response.tunnel.is_some() {
            in_use.detach();
            return Ok(response);
        }
        if head.version == Version::HTTP_10 {
            // Such a server does not read chunked content, which the next
            // request may have.
            in_use.use_no_more();
        }
        let between_bytes = self.timeouts.between_bytes;
        let silence =
            if is_stream(&response.fields) { between_bytes.max(self.stream_idle) } else { between_bytes };
        response.body = content(incoming, in_use, silence);
        Ok(response)
    }
}

/// True for content that is said piece by piece, whenever there is something to
/// say.
fn is_stream(fields: &HeaderMap) -> bool {
    let Some(kind) = fields.get(CONTENT_TYPE) else { return false };
    [&b"application/grpc"[..], b"text/event-stream"].iter().any(|stream| kind.as_bytes().starts_with(stream))
}

/// Which versions of HTTP a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, and HTTP/1.1 where the server can choose.
    Both,
}

/// A connection that was opened.
pub(super) enum Opened {
    /// For one request at a time.
    Alone(Connection),
    /// For several.
    Multiplexed(Arc<Multiplexed>),
}

impl OriginTlsClient {
    fn new(config: Arc<ClientConfig>, pool: &PoolConfig) -> Result<Self, UpstreamError> {
        let server_name = match &pool.tls.server_name {
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|source| UpstreamError::ServerName { name: name.clone(), source })?,
            ),
            None => None,
        };
        let mut negotiating = ClientConfig::clone(&config);
        negotiating.alpn_protocols.insert(0, H2.to_vec());
        let (http1, negotiating) = (TlsConnector::from(config), TlsConnector::from(Arc::new(negotiating)));
        Ok(Self { http1, negotiating, server_name })
    }

    /// What speaks TLS with that offer.
    pub(super) fn connector(&self, offer: Offer) -> &TlsConnector {
        match offer {
            Offer::Http1 => &self.http1,
            Offer::Both => &self.negotiating,
        }
    }

    /// The name the server must prove to a request for `asked`, or else to
    /// nobody's but its own.
    pub(super) fn server_name(
        &self,
        asked: Option<&Host>,
        own: &str,
    ) -> Result<ServerName<'static>, FetchError> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let name = asked.map_or(own, Host::name).trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(name.to_owned()).map_err(|error| {
            FetchError::new(ProxyErrorType::TlsCertificateError, RequestProgress::NotSent).from_source(error)
        })
    }
}

impl std::fmt::Debug for OriginTlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginTlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
