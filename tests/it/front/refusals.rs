//! Malformed, ambiguous and oversized requests: the right status, the end of
//! the connection, and nothing of it at the origin server.

use super::{Origin, edge, edge_before, ok};
use crate::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn what_is_malformed_or_ambiguous_is_refused() {
    let (seawall, origin) = edge("").await;
    for (what, request) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two Hosts", format!("{GET}Host: site.test\r\n\r\n")),
        ("two different Hosts", format!("{GET}Host: other.test\r\n\r\n")),
        ("a Host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
        ("a Host with userinfo", "GET / HTTP/1.1\r\nHost: me@site.test\r\n\r\n".to_owned()),
        ("a target of another host", "GET http://other.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n".to_owned()),
        ("no version", "GET /\r\nHost: site.test\r\n\r\n".to_owned()),
        ("two lengths", format!("{GET}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx")),
        ("a signed length", format!("{GET}Content-Length: +1\r\n\r\nx")),
        (
            "length and coding",
            format!("{GET}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("a foreign coding", format!("{GET}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (
            "chunked twice",
            format!("{GET}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "a coding in HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        ("a chunk longer than its size", format!("{CHUNKED}5\r\nhelloo\r\n0\r\n\r\n")),
        ("a chunk that ends with LF", format!("{CHUNKED}5\r\nhello\n0\r\n\r\n")),
        ("a chunk without measure", format!("{CHUNKED}7fffffffffffffff\r\nhello")),
        ("a NUL beside a chunk", format!("{CHUNKED}5;a\0b\r\nhello\r\n0\r\n\r\n")),
        ("a trailer without colon", format!("{CHUNKED}5\r\nhello\r\n0\r\nnothing\r\n\r\n")),
        ("a folded trailer", format!("{CHUNKED}5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n")),
        ("a space before the colon", format!("{GET}X-A : b\r\n\r\n")),
        ("a folded field", format!("{GET}X-A: b\r\n c\r\n\r\n")),
        ("a NUL in a value", format!("{GET}X-A: b\0c\r\n\r\n")),
        ("a bare CR in a value", format!("{GET}X-A: b\rc\r\n\r\n")),
    ] {
        let mut client = RawClient::connect(seawall.http).await;
        client.send(&request).await;
        let res = client.response().await;
        assert_eq!(res.status(), 400, "{what}");
        client.closed().await;
    }
    assert_eq!(origin.requests(), 0, "nothing of it was forwarded");
}

#[tokio::test]
async fn after_a_refusal_nothing_more_is_read() {
    let (seawall, origin) = edge("").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(format!("{GET}X-A : b\r\n\r\n{GET}\r\n")).await;
    assert_eq!(client.response().await.status(), 400);
    client.closed().await;
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let limits =
        "[limits]\nrequest_line = \"8KiB\"\nheader_bytes = \"32KiB\"\nheaders = 100\nbody = \"1KiB\"\n";
    let (seawall, origin) = edge(limits).await;
    let long = "a".repeat(9 << 10);
    let many: String = (0..101).map(|number| format!("X-{number}: a\r\n")).collect();
    for (what, status, request) in [
        ("a long target", 414, format!("GET /{long} HTTP/1.1\r\nHost: site.test\r\n\r\n")),
        ("long fields", 431, format!("{GET}X-A: {}\r\n\r\n", "a".repeat(40 << 10))),
        ("many fields", 431, format!("{GET}{many}\r\n")),
        (
            "long content",
            413,
            "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2048\r\n\r\n".to_owned(),
        ),
    ] {
        assert_eq!(RawClient::ask(seawall.http, request).await.status(), status, "{what}");
    }
    assert_eq!(origin.requests(), 0, "nothing of it was forwarded");
}

#[tokio::test]
async fn content_without_a_length_is_cut_at_the_limit() {
    let (seawall, _origin) = edge("[limits]\nbody = \"1KiB\"\n").await;
    let head = "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}800\r\n{}\r\n0\r\n\r\n", "a".repeat(0x800));
    assert_eq!(RawClient::ask(seawall.http, request).await.status(), 413);
}

#[tokio::test]
async fn methods_that_are_not_for_an_edge_are_refused() {
    let (seawall, origin) = edge("").await;
    let trace = "TRACE / HTTP/1.1\r\nHost: site.test\r\n\r\n";
    assert_eq!(RawClient::ask(seawall.http, trace).await.status(), 405);
    let connect = "CONNECT site.test:80 HTTP/1.1\r\nHost: site.test:80\r\n\r\n";
    assert_eq!(RawClient::ask(seawall.http, connect).await.status(), 405);
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (seawall, origin) = edge("").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(format!("{GET}\r\n").repeat(5)).await;
    for _ in 0..5 {
        let res = client.response().await;
        assert_eq!((res.status(), res.content.as_slice()), (200, b"hello".as_slice()));
    }
    assert_eq!(origin.requests(), 5);
}

#[tokio::test]
async fn a_request_sent_before_its_turn_is_checked_as_any_other() {
    let no_store = ok("Cache-Control: no-store\r\n", "");
    for (what, early, late, status) in [
        ("both framings", "POST / HTTP/1.1\r\nContent-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", 400),
        ("a fragment", "GET /a#b HTTP/1.1\r\n", "", 400),
        ("a field that begins late", "GET / HTTP/1.1\r\nReferer: http://site.test/", "#a\r\n", 200),
    ] {
        let mut origin = Origin::start().await;
        let seawall = edge_before(origin.address, "").await;
        let mut client = RawClient::connect(seawall.http).await;
        client.send(format!("{GET}\r\n")).await;
        let first = origin.next().await;
        client.send(early).await;
        first.answer(&no_store).await;
        assert_eq!(client.response().await.status(), 200, "{what}");
        client.send(format!("{late}Host: site.test\r\n\r\n0\r\n\r\n")).await;
        if status == 200 {
            origin.next().await.answer(&no_store).await;
        }
        assert_eq!(client.response().await.status(), status, "{what}");
    }
}

#[tokio::test]
async fn a_client_that_sends_on_can_read_its_refusal() {
    let (seawall, origin) = edge("[limits]\nbody = \"1KiB\"\n").await;
    let mut client = RawClient::connect(seawall.http).await;
    let length = 32 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n\r\n")).await;
    client.try_send(vec![b'a'; length]).await.expect("no reset while it sends");
    assert_eq!(client.response().await.status(), 413);
    client.closed().await;
    assert_eq!(origin.requests(), 0);
}
