//! How many connections there may be: limits that bite, are counted, and give
//! places back.

use super::{Seawall, edge};
use crate::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// Two connections that are served and stay open.
async fn two_open(seawall: &Seawall) -> [RawClient; 2] {
    // Until the two connections that found out whether it listens have come and
    // gone: one that still waits to be taken would count, too.
    seawall.metric_is("seawall_connections_total", 2).await;
    seawall.metric_is("seawall_connections_open", 0).await;
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
