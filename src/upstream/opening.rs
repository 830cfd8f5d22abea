//! How a connection to an origin server comes about: which HTTP is offered and
//! spoken on it, by TLS or not, and what it begins with. Whether one is needed is
//! decided in `server`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::UpstreamError;
use super::connect::{ConnectError, Connected, connect};
use super::connection::Connection;
use super::failure::not_sent;
use super::http2::{Multiplexed, Stream};
use super::introduction::{self, ClientEnds};
use super::open::OpenConnection;
use super::server::OriginServer;
use super::tls::H2;
use crate::config::model::{OriginProtocol, PoolConfig};
use crate::exchange::{FetchError, Host, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;

/// How TLS is spoken to one origin server.
pub(super) struct OriginTlsClient {
    /// With HTTP/1.1 alone,
    http1: TlsConnector,
    /// and with HTTP/2 as well.
    negotiating: TlsConnector,
    /// The name it must prove; `None`: the host of the request.
    pub(super) server_name: Option<ServerName<'static>>,
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
    Alone(Box<Connection>),
    /// For several.
    Multiplexed(Arc<Multiplexed>),
}

impl OriginServer {
    /// A stream of a connection that somebody opened meanwhile, or that is opened
    /// now; or a whole connection, if the server does not speak HTTP/2. Where no more
    /// may be opened, other workers' will do.
    pub(super) async fn another_stream(
        &self,
        host: Option<&Host>,
    ) -> Result<Result<Stream, Box<Connection>>, FetchError> {
        let Ok(opening) = timeout(self.timeouts.connect, self.multiplexed.open(host)).await else {
            // Somebody else has been at it for as long as one may be, or waits as well.
            let is_full = self.open.demand().is_any();
            return Err(if is_full { self.slots.refusal() } else { ConnectError::TimedOut.into() });
        };
        if let Some(stream) = self.multiplexed.take(host, self.clock.now()) {
            return Ok(Ok(stream));
        }
        let look = || self.multiplexed.take_any(host, self.clock.now());
        let open = match self.make_room(look, || self.multiplexed.take_last_resort(host)).await? {
            Ok(open) => open,
            Err(stream) => return Ok(Ok(stream)),
        };
        if self.speaks_http1.load(Relaxed) {
            drop(opening);
            return match self.open(open, host.cloned(), None, Offer::Http1).await? {
                Opened::Alone(connection) => Ok(Err(connection)),
                Opened::Multiplexed(_) => Err(not_sent("HTTP/2 without having been asked")),
            };
        }
        match timeout(self.timeouts.connect, self.open(open, host.cloned(), None, Offer::Both)).await {
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

    /// What the server is told first on a connection for `client`.
    pub(super) fn introduction(&self, client: Option<ClientEnds>) -> Vec<u8> {
        self.proxy_protocol.map(|version| introduction::header(version, client)).unwrap_or_default()
    }

    /// The right to open a connection, in the place of one that is idle if need be, or
    /// what `look` finds among those that are open, or where none is idle `last_resort`;
    /// within `queue.timeout`. Cancel safe.
    pub(super) async fn make_room<T>(
        &self,
        mut look: impl FnMut() -> Option<T>,
        mut last_resort: impl FnMut() -> Option<T>,
    ) -> Result<Result<OpenConnection, T>, FetchError> {
        if let Some(open) = self.open.try_open() {
            return Ok(Ok(open));
        }
        let opening = self.open.open(|| {
            let found = look();
            if found.is_none() && !self.close_one_idle() { last_resort() } else { found }
        });
        let open = timeout(self.slots.patience(), opening).await.ok().flatten();
        open.ok_or_else(|| self.slots.refusal())
    }

    /// Opens a connection, within `timeouts.connect`. Cancel safe.
    pub(super) async fn open(
        &self,
        open: OpenConnection,
        proven_host: Option<Host>,
        client: Option<ClientEnds>,
        offer: Offer,
    ) -> Result<Opened, FetchError> {
        let tls = match &self.tls {
            Some(tls) => {
                let name = tls.server_name(proven_host.as_ref(), self.endpoint.name())?;
                Some((tls.connector(offer), name))
            }
            None => None,
        };
        let header = self.introduction(client);
        let connected = connect(&self.endpoint, &header, tls, self.timeouts.connect).await;
        let connected = connected.map_err(|error| {
            let is_requests_fault = proven_host.is_some() && error.is_wrong_name();
            FetchError { is_requests_fault, ..error.into() }
        })?;
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
        let life = self.lifetime();
        if offer == Offer::Both && (is_http2 || self.protocol == OriginProtocol::Http2) {
            let started = Multiplexed::start(transport, proven_host, life, open, self);
            return started.await.map(Opened::Multiplexed);
        }
        Ok(Opened::Alone(Connection::new(transport, proven_host, life, open, self)))
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
}

impl OriginTlsClient {
    /// As the settings of `pool` say.
    pub(super) fn new(config: Arc<ClientConfig>, pool: &PoolConfig) -> Result<Self, UpstreamError> {
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
            let kind = ProxyErrorType::TlsCertificateError;
            let error = FetchError::new(kind, RequestProgress::NotSent).from_source(error);
            FetchError { is_requests_fault: asked.is_some(), ..error }
        })
    }
}

impl std::fmt::Debug for OriginTlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginTlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
