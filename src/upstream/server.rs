//! One origin server: sends it a request over a connection that is idle or
//! new, and waits for the head of the response.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::Version;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::Builder;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::pin;
use tokio::select;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::connect::connect;
use super::connection::{Connection, Lease, OpenConnection};
use super::content::{InUse, content};
use super::failure::fetch_error;
use super::idle::IdleConnections;
use super::slots::Slots;
use super::stream::Traffic;
use super::upload::{RequestContent, Upload};
use super::{OutboundRequest, UpstreamError, inbound};
use crate::base::{Clock, Tasks};
use crate::config::model::{OriginTimeouts, PoolConfig, ServerConfig};
use crate::exchange::{Body, Facts, FetchError, Host, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::Metrics;

/// How much of a response is read ahead of its reader, unless its head may be
/// larger.
const READ_AHEAD: usize = 64 << 10;

/// One origin server with its connections.
#[derive(Debug)]
pub struct OriginServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<OriginTlsClient>,
    pub(super) http: Builder,
    pub(super) tasks: Tasks,
    timeouts: OriginTimeouts,
    idle: IdleConnections,
    slots: Slots,
    /// Connections in use or idle.
    open: Arc<AtomicUsize>,
    max_connections: usize,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// How TLS is spoken to one origin server.
pub(super) struct OriginTlsClient {
    pub(super) connector: TlsConnector,
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
        let mut http = Builder::new();
        http.max_headers(pool.headers)
            .max_header_size(pool.header_bytes)
            .max_buf_size(pool.header_bytes.max(READ_AHEAD));
        Ok(Arc::new(Self {
            host: server.host.clone(),
            port: server.port,
            tls,
            http,
            tasks,
            timeouts: pool.timeouts.clone(),
            idle: IdleConnections::new(pool.timeouts.keep_alive, pool.max_connections),
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
        let proven_host = self.proven_host(req);
        if let Some(kept) = self.idle.take(proven_host, self.clock.now()) {
            let mut lease = Lease::new(kept, Arc::clone(self));
            match self.exchange(&mut lease, req).await {
                Err(error) if may_use_new_connection(&error, req) => drop(lease),
                result => return self.response(result?, InUse { lease, slot }, req),
            }
        }
        let proven_host = self.proven_host(req).cloned();
        let mut lease = Lease::new(self.open(proven_host).await?, Arc::clone(self));
        let received = self.exchange(&mut lease, req).await?;
        self.response(received, InUse { lease, slot }, req)
    }

    /// Requests under way, those that wait for a connection included.
    pub fn in_flight(&self) -> usize {
        self.slots.in_use()
    }

    /// Closes idle connections that were not used for long enough.
    pub fn sweep_idle(&self) {
        self.idle.sweep(self.clock.now());
    }

    /// Closes all idle connections, and from now on those that become idle.
    pub fn close_idle(&self) {
        self.idle.close();
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.put(connection, self.clock.now());
    }

    /// The host a connection must have been opened for to carry `req`.
    fn proven_host<'a>(&self, req: &'a OutboundRequest) -> Option<&'a Host> {
        self.tls.as_ref().filter(|tls| tls.server_name.is_none()).map(|_| req.host())
    }

    async fn open(&self, proven_host: Option<Host>) -> Result<Connection, FetchError> {
        let (open, before) = OpenConnection::count(&self.open);
        if before >= self.max_connections {
            self.idle.drop_one();
        }
        let tls = match &self.tls {
            Some(tls) => Some((&tls.connector, tls.server_name(proven_host.as_ref(), &self.host)?)),
            None => None,
        };
        let transport = connect((&self.host, self.port), tls, self.timeouts.connect).await?;
        self.metrics.origin_connections.increment();
        Connection::start(transport, proven_host, Some(open), &self.http, &self.tasks)
            .await
            .map_err(|error| fetch_error(error, RequestProgress::NotSent))
    }

    /// Sends the message and waits for the head of the response.
    async fn exchange(
        &self,
        lease: &mut Lease,
        req: &mut OutboundRequest,
    ) -> Result<http::Response<Incoming>, FetchError> {
        let gone = || FetchError::new(ProxyErrorType::ProxyInternalError, RequestProgress::Sent);
        let connection = lease.connection().ok_or_else(gone)?;
        let message = req.take().ok_or_else(gone)?;
        let upload = match message.body() {
            Body::Empty | Body::Full(_) => None,
            _ => Some(Upload::begin(Arc::clone(&self.clock))),
        };
        self.metrics.origin_requests.increment();
        connection.traffic.restart();
        let message = message.map(|body| RequestContent::new(body, upload.clone()));
        let answer = connection.sender.try_send_request(message);
        let Some(answer) = self.in_time(answer, upload.as_deref()).await else {
            let progress = connection.traffic.progress();
            return Err(FetchError::new(ProxyErrorType::HttpResponseTimeout, progress));
        };
        answer.map_err(|failed| unanswered(failed, req, &connection.traffic, upload.as_deref()))
    }

    /// `answer`, unless the server has been silent for `timeouts.first_byte`.
    /// Time in which the client's content is waited for does not count.
    async fn in_time<T>(&self, answer: impl Future<Output = T>, upload: Option<&Upload>) -> Option<T> {
        let limit = self.timeouts.first_byte;
        let timer = sleep(limit);
        pin!(answer, timer);
        loop {
            select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = &mut timer => {
                    let waited = upload.map_or(Some(limit), Upload::waited_for_server).unwrap_or_default();
                    if waited >= limit {
                        return None;
                    }
                    timer.set(sleep(limit - waited));
                }
            }
        }
    }

    fn response(
        &self,
        received: http::Response<Incoming>,
        mut in_use: InUse,
        req: &OutboundRequest,
    ) -> Result<Response, FetchError> {
        let (mut head, incoming) = received.into_parts();
        inbound::normalize(&mut head, req.upgrade())?;
        let mut response = Response {
            status: head.status,
            fields: head.headers,
            body: Body::Empty,
            facts: Facts::default(),
            tunnel: head.extensions.remove(),
        };
        if response.tunnel.is_some() {
            in_use.lease.detach();
            return Ok(response);
        }
        if head.version != Version::HTTP_11 {
            // Such a server does not read chunked content, which the next
            // request may have.
            in_use.lease.use_no_more();
        }
        response.body = content(incoming, in_use, self.timeouts.between_bytes);
        Ok(response)
    }
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
        Ok(Self { connector: TlsConnector::from(config), server_name })
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

/// Why there is no answer; takes the request back if nothing of it left.
fn unanswered(
    mut failed: TrySendError<http::Request<RequestContent>>,
    req: &mut OutboundRequest,
    traffic: &Traffic,
    upload: Option<&Upload>,
) -> FetchError {
    let progress = match failed.take_message() {
        Some(message) => {
            req.put_back(message.map(RequestContent::into_body));
            RequestProgress::NotSent
        }
        None => traffic.progress(),
    };
    let mut error = fetch_error(failed.into_error(), progress);
    if let Some(reason) = upload.and_then(Upload::take_failure) {
        error.kind = ProxyErrorType::HttpRequestError;
        error.request_body = Some(reason);
    }
    error
}

/// True if a request that failed on a kept connection may go out on a new one:
/// nothing of it left, or the connection was dead before the server answered
/// and processing it twice does no harm (RFC 9112 s9.3.1).
fn may_use_new_connection(error: &FetchError, req: &OutboundRequest) -> bool {
    let was_dead = error.kind == ProxyErrorType::ConnectionTerminated;
    let is_safe = match error.progress {
        RequestProgress::NotSent => true,
        RequestProgress::Sent => was_dead && req.is_idempotent(),
        RequestProgress::Answered => false,
    };
    is_safe && req.is_at_hand() && error.request_body.is_none()
}

#[cfg(test)]
mod tests;
