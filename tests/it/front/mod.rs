//! The edge of HTTP, byte by byte: what is refused, what is repaired, what
//! reaches the origin server and what comes back.

mod connect;
mod connections;
mod drain;
mod failures;
mod fields;
mod interim;
mod messages;
mod names;
mod refusals;
mod routes;
mod tunnel;

use super::support::origin::{FixedOrigin, Origin, ok};
use super::support::process::Seawall;

/// The site `site.test` in cleartext before one origin server.
async fn edge_before(origin: std::net::SocketAddr, tables: &str) -> Seawall {
    Seawall::start(&format!(
        "{tables}\n[site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n"
    ))
    .await
}

/// The same before an origin server that answers every request with `hello`.
async fn edge(tables: &str) -> (Seawall, FixedOrigin) {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    (edge_before(origin.address, tables).await, origin)
}
