//! One origin server: sends it a request over a connection that is idle or
//! new, and waits for the head of the response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Version};
use rustls::ClientConfig;
use tokio::time::Instant;

use super::connection::{Connection, Lease};
use super::content::{InUse, content};
use super::endpoint::Endpoint;
use super::exchange::{Received, may_be_sent_anew};
use super::failure::{malformed, not_sent};
use super::http2::MultiplexedConnections;
use super::idle::IdleConnections;
use super::lifetime::Lifetime;
use super::open::OpenConnections;
use super::opening::{Offer, Opened, OriginTlsClient};
use super::read_ahead::Unread;
use super::slots::{Room, Slot, Slots};
use super::{OutboundRequest, UpstreamError, inbound};
use crate::base::{Clock, Tasks, random_unit};
use crate::config::model::{ConnectionLife, OriginProtocol, OriginTimeouts, PoolConfig, ProxyProtocol};
use crate::exchange::{Body, Facts, FetchError, Host, RequestProgress, Response, Tunnel};
use crate::fields::proxy_status::ProxyErrorType;
use crate::fields::section;
use crate::telemetry::metrics::Metrics;

/// One origin server with its connections.
#[derive(Debug)]
pub struct OriginServer {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<OriginTlsClient>,
    pub(super) header_bytes: usize,
    pub(super) protocol: OriginProtocol,
    /// True if the server did not agree to HTTP/2 when it was last offered.
    pub(super) speaks_http1: AtomicBool,
    pub(super) tasks: Tasks,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) timeouts: OriginTimeouts,
    stream_idle: Duration,
    pub(super) idle: IdleConnections,
    pub(super) multiplexed: MultiplexedConnections,
    /// Number of fields of a response.
    pub(super) most_fields: usize,
    pub(super) slots: Arc<Slots>,
    /// What readers of its responses hold.
    pub(super) unread: Arc<Unread>,
    pub(super) open: OpenConnections,
    tunnels: Arc<AtomicUsize>,
    connection_life: ConnectionLife,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl OriginServer {
    /// The server at `endpoint`, no connection open yet. `tls` is what
    /// [`client_config`](super::client_config) made for its pool; without it
    /// the server is spoken to in cleartext.
    pub fn new(
        endpoint: Endpoint,
        protocol: OriginProtocol,
        pool: &PoolConfig,
        tls: Option<Arc<ClientConfig>>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, UpstreamError> {
        let tls = tls.map(|config| OriginTlsClient::new(config, pool)).transpose()?;
        // A connection that is one client's carries no other's requests.
        let protocol = match pool.proxy_protocol {
            Some(_) => OriginProtocol::Http1,
            None => protocol,
        };
        let most_requests = match protocol {
            OriginProtocol::Http1 => pool.max_requests.min(pool.max_connections),
            OriginProtocol::Http2 | OriginProtocol::Negotiated => pool.max_requests,
        };
        Ok(Arc::new(Self {
            endpoint,
            tls,
            header_bytes: pool.header_bytes,
            protocol,
            speaks_http1: AtomicBool::new(false),
            tasks,
            proxy_protocol: pool.proxy_protocol,
            timeouts: pool.timeouts.clone(),
            stream_idle: pool.stream_idle,
            idle: IdleConnections::new(pool.timeouts.keep_alive, pool.max_connections),
            multiplexed: MultiplexedConnections::new(pool.timeouts.clone()),
            most_fields: pool.headers,
            unread: Arc::default(),
            slots: Arc::new(Slots::new(most_requests, pool.queue.clone(), Arc::clone(&metrics))),
            open: OpenConnections::new(pool.max_connections),
            tunnels: Arc::default(),
            connection_life: pool.connection_life.clone(),
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
    pub async fn send(self: &Arc<Self>, req: &mut OutboundRequest) -> Result<Box<Response>, FetchError> {
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
    ) -> Result<Box<Response>, FetchError> {
        let client = self.proxy_protocol.map(|_| req.client());
        let proven_host = self.proven_host(req);
        let look = || self.idle.take_any(proven_host, client, self.clock.now());
        let mut asked = self.clock.now();
        let open = match self.idle.take(proven_host, client, asked) {
            Some(kept) => Err(kept),
            None => {
                let room = Box::pin(self.make_room(look, || None)).await?;
                asked = self.clock.now();
                room
            }
        };
        let open = match open {
            Ok(open) => open,
            Err(kept) => {
                let mut lease = Lease::new(kept, Arc::clone(self));
                match self.exchange(&mut lease, req).await {
                    Err(error) if self.may_use_new_connection(&error, req, asked) => drop(lease),
                    result => return self.response(result?, InUse::of_connection(lease, slot), req),
                }
                // Not of those that are kept: the next one may be as dead.
                let Ok(open) = Box::pin(self.make_room(|| None::<Infallible>, || None)).await?;
                open
            }
        };
        let proven_host = self.proven_host(req).cloned();
        let connection = match Box::pin(self.open(open, proven_host, client, Offer::Http1)).await? {
            Opened::Alone(connection) => connection,
            // It was not offered.
            Opened::Multiplexed(_) => return Err(not_sent("HTTP/2 without having been asked")),
        };
        let mut lease = Lease::new(connection, Arc::clone(self));
        let received = self.exchange(&mut lease, req).await?;
        self.response(received, InUse::of_connection(lease, slot), req)
    }

    /// True if others may be sent beside `req` on its connection. A change of
    /// protocols takes a whole one, where the server can speak HTTP/1.1.
    fn may_multiplex(&self, req: &OutboundRequest) -> bool {
        match self.protocol {
            OriginProtocol::Http1 => false,
            OriginProtocol::Negotiated => !self.speaks_http1.load(Relaxed) && req.upgrade().is_none(),
            OriginProtocol::Http2 => true,
        }
    }

    /// Sends `req` beside others.
    async fn send_multiplexed(
        self: &Arc<Self>,
        req: &mut OutboundRequest,
        slot: Slot,
    ) -> Result<Box<Response>, FetchError> {
        let asked = self.clock.now();
        if let Some(mut stream) = self.multiplexed.take(self.proven_host(req), asked) {
            match self.exchange_on(&mut stream, req).await {
                Err(error)
                    if !stream.connection.is_usable() && self.may_use_new_connection(&error, req, asked) =>
                {
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

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Requests under way, those that wait for their turn included.
    pub fn in_flight(&self) -> usize {
        self.slots.in_use()
    }

    /// Connections and streams that became tunnels, which are no requests any more.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Relaxed)
    }

    /// What would become of another request.
    pub fn room(&self) -> Room {
        self.slots.room()
    }

    /// Connections in use or idle.
    #[cfg(test)]
    pub(crate) fn open_connections(&self) -> usize {
        self.open.count()
    }

    /// Closes idle connections that were not used for long enough.
    pub fn sweep_idle(&self) {
        let now = self.clock.now();
        self.idle.sweep(now);
        self.multiplexed.sweep(now);
    }

    /// Closes all idle connections, and from now on those that become idle.
    pub fn close_idle(&self) {
        self.idle.close();
        self.multiplexed.close();
    }

    /// That of a connection that is opened now.
    pub(super) fn lifetime(&self) -> Lifetime {
        Lifetime::new(&self.connection_life, self.clock.now(), random_unit())
    }

    /// Keeps a connection for the next request; somebody who waits may need its place.
    pub(super) fn keep(&self, connection: Box<Connection>) {
        self.idle.put(connection, self.clock.now());
        self.open.demand().connection_left();
    }

    /// Closes a connection that is not in use; false if there is none.
    pub(super) fn close_one_idle(&self) -> bool {
        self.idle.drop_one() || self.multiplexed.drop_one()
    }

    /// True if a request that failed on a kept connection, which it was given when it
    /// `asked` for one, may go out on a new one: soon after, if anything of it was sent.
    fn may_use_new_connection(&self, error: &FetchError, req: &OutboundRequest, asked: Instant) -> bool {
        let is_soon = || self.clock.now().saturating_duration_since(asked) < self.timeouts.connect;
        may_be_sent_anew(error, req) && (error.progress == RequestProgress::NotSent || is_soon())
    }

    /// The host a connection must have been opened for to carry `req`.
    fn proven_host<'a>(&self, req: &'a OutboundRequest) -> Option<&'a Host> {
        self.tls.as_ref().filter(|tls| tls.server_name.is_none()).map(|_| req.host())
    }

    fn response(
        &self,
        received: Received,
        in_use: InUse,
        req: &OutboundRequest,
    ) -> Result<Box<Response>, FetchError> {
        let Received { mut head, content: incoming, upload, tunnel } = received;
        let is_http2 = head.version == Version::HTTP_2;
        let is_large = is_http2 && section::size(&head.headers) > self.header_bytes;
        if is_large || head.headers.len() > self.most_fields {
            let kind = ProxyErrorType::HttpResponseHeaderSectionSize;
            return Err(FetchError::new(kind, RequestProgress::Answered));
        }
        inbound::normalize(&mut head, req.upgrade(), is_http2 && tunnel.is_some())?;
        let mut response = Box::new(Response {
            status: head.status,
            fields: head.headers,
            body: Body::Empty,
            facts: Facts::default(),
            tunnel: None,
        });
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = in_use.into_tunnel(tunnel).ok_or_else(|| malformed("101 by HTTP/2"))?;
            let (end, stream) = tunnel;
            response.tunnel = Some(Tunnel { end, carrier: Box::new((stream, Counted::new(&self.tunnels))) });
            return Ok(response);
        }
        let between_bytes = self.timeouts.between_bytes;
        response.body = if is_stream(&response.fields) {
            // Which has its time for silence, whatever the client says meanwhile.
            content(incoming, in_use, between_bytes.max(self.stream_idle), None)
        } else {
            content(incoming, in_use, between_bytes, upload)
        };
        Ok(response)
    }
}

/// True for content that is said piece by piece, whenever there is something to
/// say.
fn is_stream(fields: &HeaderMap) -> bool {
    let Some(kind) = fields.get(CONTENT_TYPE) else { return false };
    [&b"application/grpc"[..], b"text/event-stream"].iter().any(|stream| kind.as_bytes().starts_with(stream))
}

/// Counts one as long as it is held.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
