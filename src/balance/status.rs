//! The state of a pool for people to look at.

use serde::Serialize;

/// A pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// Its name in the config.
    pub name: String,
    /// Its servers, in the order of the config; those that are found under a name in
    /// the place of the name.
    pub servers: Vec<ServerStatus>,
}

/// A server of a pool.
#[derive(Clone, Debug, Serialize)]
pub struct ServerStatus {
    /// As the config writes it, with the address of one that was found by name.
    pub label: String,
    /// Whether it is asked.
    pub state: ServerState,
    /// Its health checks fail, whether or not it would be asked otherwise.
    pub is_down: bool,
    /// Its share against the others.
    pub weight: u32,
    /// Only asked when the others are down.
    pub backup: bool,
    /// Requests under way, those that wait for a connection included.
    pub in_flight: usize,
    /// WebSockets that are open.
    pub tunnels: usize,
    /// The average time to the head of a response, in milliseconds.
    pub latency_ms: f64,
    /// Requests that were sent to it and ended.
    pub requests: u64,
    /// Those among them that failed.
    pub failures: u64,
    /// What went wrong last: with the server, or when its name was last looked up.
    pub last_error: Option<String>,
}

/// Whether a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It is.
    Up,
    /// It will be, if its first check does not end in time.
    Unknown,
    /// Nobody is, for no server was found under the name.
    Unresolved,
    /// Not for a while: it failed too many requests.
    Ejected,
    /// One request at a time, until one succeeds: it was ejected.
    Probation,
    /// No: its health checks fail.
    Down,
    /// Only for sessions that it has: an operator wants it so.
    Draining,
    /// No: an operator wants it so.
    Disabled,
}
