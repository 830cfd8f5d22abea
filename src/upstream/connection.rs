//! One HTTP/1.1 connection to an origin server, and who holds it. A connection
//! is used by one request at a time, and again only if everything said on it
//! was said to its end.

use std::sync::Arc;

use super::http1::Http1;
use super::introduction::ClientEnds;
use super::lifetime::Lifetime;
use super::open::OpenConnection;
use super::read_ahead::{ReadAhead, Reader};
use super::server::OriginServer;
use super::silence::Silence;
use super::stream::{OriginStream, Traffic, Transport};
use crate::base::Tasks;
use crate::exchange::{Host, OpenEnd};
use crate::telemetry::Metrics;

/// An open connection: boxed, as it goes from hand to hand with each request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) http1: Http1,
    pub(super) traffic: Arc<Traffic>,
    pub(super) silence: Silence,
    /// The host whose name the server proved, where that is said by requests:
    /// no other host's requests may use the connection.
    pub(super) proven_host: Option<Host>,
    /// The client whose connection the server takes it for, if it was told: no
    /// other client's requests may use it.
    pub(super) client: Option<ClientEnds>,
    pub(super) lifetime: Lifetime,
}

impl Connection {
    /// One with `server` over `transport`, which nothing was said on yet.
    pub(super) fn new(
        transport: Transport,
        proven_host: Option<Host>,
        lifetime: Lifetime,
        open: Option<OpenConnection>,
        server: &OriginServer,
    ) -> Box<Self> {
        let traffic = Arc::new(Traffic::default());
        let read_ahead = ReadAhead::new(&server.slots, &server.unread);
        let stream = OriginStream::new(transport, Arc::clone(&traffic), read_ahead, open);
        let http1 = Http1::new(stream, server.header_bytes, server.most_fields);
        let silence = Silence::default();
        Box::new(Self { http1, traffic, silence, proven_host, client: None, lifetime })
    }

    /// Gives back what the next request takes again.
    pub(super) fn rest(&mut self) {
        self.http1.rest();
        self.silence = Silence::default();
    }
}

/// A connection in use. Dropping it closes the connection at once.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    server: Arc<OriginServer>,
}

impl Lease {
    /// Takes `connection` into use.
    pub(super) fn new(connection: Box<Connection>, server: Arc<OriginServer>) -> Self {
        connection.lifetime.count();
        Self { connection, server }
    }

    /// A reader of a response on it.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(&self.server.unread)
    }

    /// What runs tasks for it.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.server.tasks
    }

    /// Where is counted what its server does.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.server.metrics
    }

    /// Gives the connection back after the whole response was read. It is closed if it
    /// cannot be used again, such as where not all of the request was sent.
    pub(super) fn give_back(self) {
        if self.connection.http1.is_free() {
            self.server.keep(self.connection);
        } else {
            self.connection.http1.close();
        }
    }

    /// The tunnel that the connection became, which is bounded by the connections of
    /// clients and no longer counts here.
    pub(super) fn into_tunnel(self) -> OpenEnd {
        self.connection.http1.into_tunnel()
    }
}
