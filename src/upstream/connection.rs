//! One HTTP/1.1 connection to an origin server, and who holds it. A connection
//! is used by one request at a time, and again only if everything said on it
//! was said to its end.

use std::sync::Arc;

use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::introduction::ClientEnds;
use super::lifetime::Lifetime;
use super::open::OpenConnection;
use super::read_ahead::{ReadAhead, Reader};
use super::server::OriginServer;
use super::stream::{OriginStream, Traffic, Transport};
use super::upload::RequestContent;
use crate::exchange::Host;
use crate::telemetry::Metrics;

/// An open connection with the task that moves its bytes: boxed, as it goes from hand to
/// hand with each request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestContent>,
    pub(super) traffic: Arc<Traffic>,
    /// The host whose name the server proved, where that is said by requests:
    /// no other host's requests may use the connection.
    pub(super) proven_host: Option<Host>,
    /// The client whose connection the server takes it for, if it was told: no
    /// other client's requests may use it.
    pub(super) client: Option<ClientEnds>,
    pub(super) lifetime: Lifetime,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Begins to speak HTTP with `server` over `transport`.
    pub(super) async fn start(
        transport: Transport,
        proven_host: Option<Host>,
        lifetime: Lifetime,
        open: Option<OpenConnection>,
        server: &OriginServer,
    ) -> Result<Box<Self>, hyper::Error> {
        let traffic = Arc::new(Traffic::default());
        let stream =
            OriginStream::new(transport, Arc::clone(&traffic), ReadAhead::new(&server.slots, &server.unread));
        let (sender, connection) = server.http1.handshake(TokioIo::new(stream)).await?;
        let driver = server.tasks.spawn(async move {
            let _open = open;
            if let Err(error) = connection.with_upgrades().await {
                // Whoever waits for a response is told by its sender.
                tracing::debug!(error = &error as &dyn std::error::Error, "origin connection ended");
            }
        });
        Ok(Box::new(Self { sender, traffic, proven_host, client: None, lifetime, driver }))
    }

    /// True if a request may be sent on it.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }
}

/// A connection in use. Dropping it closes the connection at once, which also
/// stops a request that is still being sent.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<Box<Connection>>,
    server: Arc<OriginServer>,
    is_last_use: bool,
}

impl Lease {
    /// Takes `connection` into use.
    pub(super) fn new(connection: Box<Connection>, server: Arc<OriginServer>) -> Self {
        connection.lifetime.count();
        Self { connection: Some(connection), server, is_last_use: false }
    }

    /// A reader of a response on it.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(&self.server.unread)
    }

    /// Where is counted what its server does.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.server.metrics
    }

    /// The connection; `None` once it was given back.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_deref_mut()
    }

    /// Has the connection closed after this use.
    pub(super) fn use_no_more(&mut self) {
        self.is_last_use = true;
    }

    /// Gives the connection back after the whole response was read. It is
    /// closed if it cannot be used again, such as while a request's content is
    /// still being sent.
    pub(super) fn give_back(mut self) {
        if !self.is_last_use
            && self.connection.as_ref().is_some_and(|connection| connection.is_ready())
            && let Some(connection) = self.connection.take()
        {
            self.server.keep(connection);
        }
    }

    /// Leaves the connection to the tunnel that it became, which is bounded by
    /// the connections of clients and no longer counts here.
    pub(super) fn detach(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.driver.abort();
        }
    }
}
