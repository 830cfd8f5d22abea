//! Connections as the kernel hands them over: addresses of both families, and a
//! process that has no descriptors left.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use super::support::origin::{FixedOrigin, Origin, ok};
use super::support::process::{Place, Seawall, words};
use super::support::raw::RawClient;
use super::support::{eventually, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn site(origin: &FixedOrigin) -> String {
    let address = origin.address;
    format!("[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n")
}

async fn answered(to: SocketAddr) -> RawClient {
    let mut client = RawClient::connect(to).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200);
    client
}

#[tokio::test]
async fn one_address_takes_both_versions_of_ip() {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    let mut place = Place::new();
    let port = place.http.port();
    place.http = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    place.configure(&site(&origin));
    let seawall = place.run().await;

    let mut clients = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    // A machine without IPv6 is served by IPv4 alone.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        clients.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    }
    for to in clients {
        drop(answered(to).await);
        let records = seawall.access_records(1).await;
        assert_eq!(records.last().unwrap()["client"], to.ip().to_string());
        fs::write(seawall.directory().join("access.log"), "").unwrap();
    }
}

#[tokio::test]
async fn without_descriptors_it_waits_for_some_and_does_not_spin() {
    let origin = Origin::answering(ok("", "hello")).await;
    let seawall = Seawall::start(&site(&origin)).await;
    none_is_open(&seawall).await;
    let in_use = fs::read_dir(format!("/proc/{}/fd", seawall.pid())).unwrap().count();
    seawall.limit_open_files(in_use as u64 + 4);

    let mut crowd = Vec::new();
    for _ in 0..16 {
        crowd.push(RawClient::connect(seawall.http).await);
    }
    eventually("no descriptor is left", || {
        seawall.read("stderr").contains("cannot accept connections").then_some(())
    })
    .await;
    drop(crowd);
    answered(seawall.http).await;
    let metrics = words(&seawall.ask("metrics", &[]).await);
    let errors = metrics.lines().find_map(|line| line.strip_prefix("seawall_accept_errors_total "));
    let errors: u64 = errors.expect(&metrics).parse().unwrap();
    assert!((1..100).contains(&errors), "{errors} tries");
}

/// Waits until no client has a connection.
async fn none_is_open(seawall: &Seawall) {
    within("the end of all connections", async {
        while !words(&seawall.ask("status", &[]).await).contains("connections  0 open") {}
    })
    .await;
}
