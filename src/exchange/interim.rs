//! Interim responses (1xx, RFC 9110 s15.2): what a client is told while its answer is
//! still waited for. They are passed on or dropped, never stored and never waited for.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

/// A client's connection that can carry interim responses.
pub trait InterimClient: fmt::Debug + Send + Sync + 'static {
    /// Tells the client, unless it has its answer to `exchange` by now, or was answered at
    /// once, or its connection has no room for more. Never waits.
    fn tell(&self, exchange: u64, status: StatusCode, fields: &HeaderMap);
}

/// The way of interim responses to whoever sent one request.
#[derive(Clone, Debug)]
pub struct Interim {
    client: Arc<dyn InterimClient>,
    exchange: u64,
}

impl Interim {
    /// The way to `client` for as long as it waits for its answer to `exchange`.
    pub fn new(client: Arc<dyn InterimClient>, exchange: u64) -> Self {
        Self { client, exchange }
    }

    /// The number of the exchange.
    pub fn exchange(&self) -> u64 {
        self.exchange
    }

    /// Passes on an interim response whose fields are meant for the client.
    pub fn pass_on(&self, status: StatusCode, fields: &HeaderMap) {
        self.client.tell(self.exchange, status, fields);
    }
}
