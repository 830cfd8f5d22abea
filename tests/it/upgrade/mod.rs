//! A new process takes over from the running one: no request is lost, what is on the
//! disk stays, and one that does not start changes nothing.

mod failures;
mod load;
mod successor;

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::client::{Alpn, Client};
use crate::support::origin::{Arrival, FixedOrigin, Origin, ok};
use crate::support::process::{Place, Seawall, words};
use crate::support::raw::RawClient;
use crate::support::{eventually, ports, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A site with TLS and without before one origin server, and a cache on the disk.
fn tables(place: &Place, origin: SocketAddr) -> String {
    format!(
        "[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n[site.\"site.test\"]\n\
         origins = [\"{origin}\"]\nhealth = false\ntls = \"internal\"\nredirect_http = false\n",
        place.path().join("cache").display()
    )
}

/// The edge before an origin server whose answers are stored.
async fn edge() -> (Seawall, FixedOrigin) {
    let origin = Origin::answering(ok("Cache-Control: max-age=600\r\n", "hello")).await;
    let place = Place::new();
    place.configure(&tables(&place, origin.address));
    (place.run().await, origin)
}

/// The edge before an origin server that has a client's request, and has not answered.
async fn edge_with_request() -> (Seawall, Origin, RawClient, Arrival) {
    let mut origin = Origin::start().await;
    let place = Place::new();
    place.configure(&tables(&place, origin.address));
    let seawall = place.run().await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = origin.next().await;
    (seawall, origin, client, arrival)
}

/// Has a new process take over, which must serve then.
async fn upgraded(seawall: &mut Seawall) {
    let before = seawall.pid();
    let output = seawall.upgrade().await;
    assert!(output.status.success(), "{}", words(&output));
    assert_ne!(seawall.pid(), before);
    assert_eq!(status(seawall).await["pid"], seawall.pid().as_raw_nonzero().get());
}

/// What the running process says of itself.
async fn status(seawall: &Seawall) -> Value {
    let output = seawall.ask("status", &["--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)))
}
