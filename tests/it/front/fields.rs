//! Which fields pass, which are taken out, which are added; and the record
//! that is kept of it.

use super::{Origin, edge, edge_before, ok};
use crate::support::raw::{Message, RawClient};

/// What the origin server sees of a request with `fields`.
async fn forwarded(fields: &str) -> Message {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(format!("GET /a HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n")).await;
    let arrival = origin.next().await;
    let request = Message {
        start: arrival.request.start.clone(),
        fields: arrival.request.fields.clone(),
        content: Vec::new(),
        trailers: Vec::new(),
    };
    arrival.answer(ok("", "")).await;
    client.response().await;
    request
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_end_here() {
    let request = forwarded(
        "Connection: keep-alive, X-Named\r\nX-Named: secret\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip, deflate\r\n\
         Upgrade: h2c\r\nX-Kept: yes\r\n",
    )
    .await;
    for name in ["x-named", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(request.all(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(request.field("x-kept"), Some("yes"));
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_end_here() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let fields = "Connection: X-Named\r\nX-Named: secret\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: yes\r\n";
    origin.next().await.answer(ok(fields, "")).await;
    let res = client.response().await;
    for name in ["x-named", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(res.all(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(res.field("x-kept"), Some("yes"));
}

#[tokio::test]
async fn connection_cannot_take_out_what_the_edge_needs() {
    let request = forwarded("Connection: Host, X-Forwarded-For, Cookie\r\nCookie: a=b\r\n").await;
    assert_eq!(request.field("host"), Some("site.test"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn the_origin_server_learns_who_asked() {
    let request = forwarded("").await;
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("site.test"));
    let forwarded = request.field("forwarded").unwrap().to_ascii_lowercase();
    for part in ["for=127.0.0.1", "proto=http", "host=site.test"] {
        assert!(forwarded.contains(part), "{part} is not in {forwarded}");
    }
    assert!(request.field("via").unwrap().starts_with("1.1 "), "{:?}", request.field("via"));
}

#[tokio::test]
async fn what_a_stranger_says_of_itself_is_not_believed() {
    let request = forwarded(
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: other.test\r\n\
         Forwarded: for=192.0.2.1;host=other.test\r\nX-Real-IP: 192.0.2.1\r\n",
    )
    .await;
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("site.test"));
    for (name, value) in &request.fields {
        assert!(!value.contains("192.0.2.1") && !value.contains("other.test"), "{name}: {value}");
    }
}

#[tokio::test]
async fn the_response_says_what_the_cache_did() {
    let origin = Origin::answering(ok("Cache-Control: max-age=60\r\n", "hello")).await;
    let seawall = edge_before(origin.address, "").await;
    let get = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let first = RawClient::ask(seawall.http, get).await;
    assert!(first.field("cache-status").unwrap().starts_with("Seawall; fwd=uri-miss"));
    let second = RawClient::ask(seawall.http, get).await;
    assert!(second.field("cache-status").unwrap().starts_with("Seawall; hit"));
    assert!(second.field("age").is_some());
    assert_eq!((second.content.as_slice(), origin.requests()), (b"hello".as_slice(), 1));
}

#[tokio::test]
async fn every_exchange_leaves_one_line_in_the_access_log() {
    let (seawall, _origin) = edge("").await;
    let mut client = RawClient::connect(seawall.http).await;
    for number in 0..3 {
        let target = format!("/page?n={number}&token=secret");
        client.send(format!("GET {target} HTTP/1.1\r\nHost: site.test\r\nUser-Agent: a\"\\b\r\n\r\n")).await;
        client.response().await;
    }
    assert_eq!(
        RawClient::ask(seawall.http, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await.status(),
        404
    );

    let records = seawall.access_records(4).await;
    assert_eq!(records.len(), 4);
    let pages: Vec<_> = records.iter().filter(|record| record["status"] == 200).collect();
    assert_eq!(pages.len(), 3);
    for record in pages {
        assert_eq!((&record["method"], &record["host"]), (&"GET".into(), &"site.test".into()));
        assert_eq!((&record["client"], &record["bytes_out"]), (&"127.0.0.1".into(), &5.into()));
        assert_eq!((&record["user_agent"], &record["end"]), (&"a\"\\b".into(), &"complete".into()));
        assert!(!record.to_string().contains("secret"), "{record}");
    }
}
