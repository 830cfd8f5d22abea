//! How a running process is looked into and told what to do: HTTP and JSON
//! over a Unix socket, metrics for Prometheus over TCP, and the client of the
//! command line. It decides nothing about traffic; what it tells and does
//! comes from [`Inspect`] and [`Lifecycle`].

mod api;
pub mod client;
mod duty;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod look;
mod metrics_endpoint;
mod purge;
mod server;
pub mod show;
pub mod show_cache;
pub mod show_changes;
mod socket;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use crate::balance::Duty;
use crate::config::Changes;
use crate::router::Router;

pub use self::duty::Assigned;
pub use self::error::ControlError;
pub use self::metrics_endpoint::MetricsEndpoint;
pub use self::socket::AdminSocket;

/// Tells what goes on. Called for each request, on the control runtime: quick,
/// and without secrets in any answer.
pub trait Inspect: Send + Sync + 'static {
    /// The process as a whole.
    fn status(&self) -> Status;

    /// The configuration in force, as TOML.
    fn config_text(&self) -> String;

    /// What a reload would change.
    fn plan(&self) -> Result<Changes, ReloadRefused>;

    /// The routes in force.
    fn router(&self) -> Arc<Router>;

    /// An array of pools: `{ name, servers: [{ label, state, is_down, in_flight,
    /// tunnels, latency_ms, requests, failures, last_error }] }`. A name that no server was
    /// found under is a server whose state is `unresolved`.
    fn origins(&self) -> Value;

    /// An array of certificates: `{ site, names, issuer, authority, not_after,
    /// next_renewal, why_then, last_error, what_to_do }`, times as RFC 3339.
    fn certificates(&self) -> Value;

    /// All metrics in the text format of Prometheus.
    fn metrics_text(&self) -> String;
}

/// Does what the process is told to.
pub trait Lifecycle: Send + Sync + 'static {
    /// Begins a graceful stop and returns at once. Further calls do nothing.
    fn drain(&self);

    /// Reads the configuration anew and has it in force from then on, or changes
    /// nothing.
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, ReloadRefused>>;

    /// Has the program started anew, as it is now on the disk, and leaves everything to
    /// it once it serves; or changes nothing.
    fn upgrade(&self) -> BoxFuture<'_, Result<Upgraded, UpgradeRefused>>;

    /// Has new certificates made for the site of this name, or those that have it
    /// among their names, and returns at once; says how many.
    fn renew_certificates(&self, name: &str) -> usize;

    /// Gives the origin server that is called so this duty, in one pool or in
    /// all that have it; says which those are.
    fn assign(&self, server: &str, pool: Option<&str>, duty: Duty) -> Vec<Assigned>;
}

/// A configuration that came into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// How many were in force, this one included.
    pub generation: u64,
    /// What is other than in the one before.
    pub changes: Changes,
}

/// Why the configuration in force stays, as text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused(pub String);

/// The process that took over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// Why no other process took over, as text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeRefused(pub String);

/// The process as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The version of the program.
    pub version: &'static str,
    /// The process id.
    pub pid: u32,
    /// Since the start.
    pub uptime_seconds: u64,
    /// How many configurations were in force, this one included.
    pub generation: u64,
    /// Where the configuration was read from.
    pub config_file: Option<String>,
    /// Worker threads.
    pub workers: usize,
    /// Client connections open now.
    pub connections_open: u64,
    /// What the memory tier of the cache holds.
    pub cache: CacheUsage,
    /// A graceful stop is under way.
    pub draining: bool,
}

/// What the memory tier of the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CacheUsage {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub limit: u64,
    /// Stored responses.
    pub objects: u64,
}
