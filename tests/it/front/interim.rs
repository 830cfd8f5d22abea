//! Interim responses (RFC 9110 s15.2): an origin server's are passed on while the
//! answer is waited for, and never get into anything else.

use super::{Origin, edge_before, ok};
use crate::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

fn hello() -> String {
    ok("Cache-Control: no-store\r\n", "hello")
}

#[tokio::test]
async fn a_client_is_told_while_it_waits() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let mut arrival = origin.next().await;
    arrival.send("HTTP/1.1 102 Processing\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: a\r\n\r\n").await;
    let processing = client.head().await;
    assert_eq!(processing.start, "HTTP/1.1 102 Processing");
    assert_eq!(processing.fields, [("via".to_owned(), "1.1 seawall".to_owned())]);
    arrival.send(HINTS).await;
    let hints = client.head().await;
    assert_eq!((hints.status(), hints.field("link")), (103, Some("</a.css>; rel=preload")));
    arrival.answer(hello()).await;
    let res = client.response().await;
    assert_eq!((res.status(), res.content.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(res.field("link"), None);
}

#[tokio::test]
async fn what_comes_at_once_with_the_answer_comes_before_it() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    for _ in 0..20 {
        client.send(GET).await;
        origin.next().await.answer(format!("{HINTS}{HINTS}{}", hello())).await;
        let statuses = [client.head().await.status(), client.head().await.status()];
        assert_eq!(statuses, [103, 103]);
        assert_eq!(client.response().await.status(), 200);
    }
}

#[tokio::test]
async fn an_expectation_that_was_met_here_is_not_met_once_more() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    origin.next().await.answer(format!("HTTP/1.1 100 Continue\r\n\r\n{}", hello())).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_told_nothing() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("GET / HTTP/1.0\r\nHost: site.test\r\n\r\n").await;
    origin.next().await.answer(format!("{HINTS}{}", hello())).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_has_not_taken_its_last_answer_is_told_nothing_in_its_midst() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    let large = "l".repeat(8 << 20);
    client.send(format!("{GET}{GET}")).await;
    let first = origin.next().await;
    let answer = tokio::spawn(async move { first.answer(ok("Cache-Control: no-store\r\n", &large)).await });
    // The second comes once all of the first is with the edge, or in its sockets.
    let res = client.response().await;
    assert!(res.content.iter().all(|byte| *byte == b'l') && res.content.len() == 8 << 20);
    answer.await.unwrap();
    origin.next().await.answer(format!("{HINTS}{}", hello())).await;
    let mut res = client.response().await;
    if res.status() == 103 {
        res = client.response().await;
    }
    assert_eq!(res.content, b"hello");
}

#[tokio::test]
async fn a_stored_response_is_told_of_by_nothing() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    origin.next().await.answer(format!("{HINTS}{}", ok("Cache-Control: max-age=60\r\n", "hello"))).await;
    assert_eq!(client.head().await.status(), 103);
    assert_eq!(client.response().await.status(), 200);
    client.send(GET).await;
    let res = client.response().await;
    assert_eq!((res.status(), res.field("link"), origin.requests()), (200, None, 1));
}
