//! How many connections there may be: limits that bite, are counted, and give
//! places back.

use std::time::Duration;

use super::{Origin, Seawall, edge, edge_before, ok};
use crate::support::raw::RawClient;
use crate::support::websocket::tunnel;
use crate::support::within;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// Waits until the two connections that found out whether it listens have come and
/// gone: one that still waits to be taken would count, too.
async fn none_is_open(seawall: &Seawall) {
    seawall.metric_is("seawall_connections_total", 2).await;
    seawall.metric_is("seawall_connections_open", 0).await;
}

/// Two connections that are served and stay open.
async fn two_open(seawall: &Seawall) -> [RawClient; 2] {
    none_is_open(seawall).await;
    let mut open = [RawClient::connect(seawall.http).await, RawClient::connect(seawall.http).await];
    for client in &mut open {
        client.send(GET).await;
        assert_eq!(client.response().await.status(), 200);
    }
    open
}

#[tokio::test]
async fn connections_beyond_a_limit_are_turned_away_and_counted() {
    for limit in ["connections", "connections_per_ip"] {
        let (seawall, origin) = edge(&format!("[limits]\n{limit} = 2\n")).await;
        let [first, _second] = two_open(&seawall).await;
        let counted = format!("seawall_limit_total{{limit=\"{limit}\"}}");
        assert_eq!(seawall.metric(&counted).await, Some(0));

        let mut third = RawClient::connect(seawall.http).await;
        let res = third.response().await;
        assert_eq!((res.status(), res.field("retry-after")), (503, Some("1")));
        third.closed().await;
        assert_eq!(seawall.metric(&counted).await, Some(1));
        assert_eq!(origin.requests(), 2);

        drop(first);
        seawall.metric_is("seawall_connections_open", 1).await;
        assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 200);
    }
}

#[tokio::test]
async fn a_tunnel_counts_as_the_connection_it_was() {
    for limit in ["connections", "connections_per_ip"] {
        let mut origin = Origin::start().await;
        let seawall = edge_before(origin.address, &format!("[limits]\n{limit} = 1\n")).await;
        none_is_open(&seawall).await;
        let (client, server) = tunnel(&seawall, &mut origin).await;
        assert_eq!(seawall.metric("seawall_connections_open").await, Some(1));
        assert_eq!(RawClient::connect(seawall.http).await.response().await.status(), 503, "{limit}");
        drop((client, server));
        seawall.metric_is("seawall_connections_open", 0).await;
        tunnel(&seawall, &mut origin).await;
    }
}

/// RFC 9112 s9.6
#[tokio::test]
async fn who_asks_for_another_protocol_can_read_why_its_content_is_refused() {
    let (seawall, _origin) = edge("[limits]\nbody = \"1KiB\"\n").await;
    for asks in ["", "Connection: Upgrade\r\nUpgrade: h2c\r\n"] {
        let mut client = RawClient::connect(seawall.http).await;
        let head = format!("POST / HTTP/1.1\r\nHost: site.test\r\n{asks}Content-Length: 200000000\r\n\r\n");
        client.send(head).await;
        // Longer than a reset would take, and more than the system holds.
        for _ in 0..40 {
            client.send("a".repeat(64 << 10)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(client.response().await.status(), 413, "{asks}");
    }
}

#[tokio::test]
async fn a_head_that_begins_behind_another_request_is_waited_for_as_any_other() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "[limits]\nheader_timeout = \"300ms\"\n").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(format!("{GET}GET /n HTTP/1.1\r\nHo")).await;
    origin.next().await.answer(ok("Cache-Control: no-store\r\n", "hello")).await;
    assert_eq!(client.response().await.status(), 200);
    within("its end", client.closed()).await;
    assert_eq!(seawall.metric("seawall_limit_total{limit=\"header_timeout\"}").await, Some(1));
}
