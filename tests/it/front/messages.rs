//! Where messages begin and end: responses that have no content,
//! `Expect: 100-continue`, trailers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Origin, edge, edge_before, ok};
use crate::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: site.test\r\n";

/// What a client gets for a request with `method` that is answered with `answer`,
/// and then, on the same connection, for one more.
async fn both(method: &str, answer: &str) -> [(u16, Option<String>, Vec<u8>); 2] {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    let mut got = Vec::new();
    for (method, answer) in [(method, answer), ("GET", &ok("Cache-Control: no-store\r\n", "next"))] {
        client.send(format!("{method} /{method} HTTP/1.1\r\nHost: site.test\r\n\r\n")).await;
        origin.next().await.answer(answer).await;
        let res = if method == "HEAD" { client.head().await } else { client.response().await };
        got.push((res.status(), res.field("content-length").map(str::to_owned), res.content));
    }
    got.try_into().unwrap()
}

#[tokio::test]
async fn a_response_without_content_is_followed_by_the_next() {
    let next = (200, Some("4".to_owned()), b"next".to_vec());
    for (method, answer, status, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, Some("5")),
        ("HEAD", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", 404, None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", 304, None),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Some("0")),
    ] {
        let [first, second] = both(method, answer).await;
        let expected = (status, length.map(str::to_owned), Vec::new());
        assert_eq!(first, expected, "{method}: {answer}");
        assert_eq!(second, next, "{method}: {answer}");
    }
}

#[tokio::test]
async fn content_that_is_wanted_is_asked_for() {
    let (seawall, origin) = edge("").await;
    let mut client = RawClient::connect(seawall.http).await;
    for _ in 0..2 {
        client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), 100);
        client.send("hello").await;
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn content_that_is_not_wanted_is_not_asked_for() {
    let (seawall, origin) = edge("[limits]\nbody = \"1KiB\"\n").await;
    for (what, status, request) in [
        ("too large", 413, format!("{POST}Expect: 100-continue\r\nContent-Length: 2048\r\n\r\n")),
        ("expects more", 417, format!("{POST}Expect: 100-continue, more\r\nContent-Length: 5\r\n\r\n")),
        (
            "of no site",
            404,
            "POST / HTTP/1.1\r\nHost: other.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".into(),
        ),
    ] {
        let mut client = RawClient::connect(seawall.http).await;
        client.send(request).await;
        assert_eq!(client.response().await.status(), status, "{what}");
        // What follows could be the content or the next request.
        client.closed().await;
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn trailers_end_here() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    let content = "5\r\nhello\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\nHost: other.test\r\n\r\n";
    client.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{content}")).await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.content, b"hello");
    let trailing =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSet-Cookie: a=b\r\n\r\n";
    arrival.answer(trailing).await;
    let res = client.response().await;
    assert_eq!((res.status(), res.content.as_slice()), (200, b"hi".as_slice()));
    client.send(format!("{POST}Content-Length: 2\r\n\r\nhi")).await;
    assert_eq!(origin.next().await.request.content, b"hi");
}

#[tokio::test]
async fn of_what_is_stored_the_log_tells_what_a_client_took() {
    const LENGTH: usize = 32 << 20;
    let origin = Origin::answering(ok("Cache-Control: max-age=60\r\n", &"a".repeat(LENGTH))).await;
    let seawall = edge_before(origin.address, "").await;
    assert_eq!(RawClient::ask(seawall.http, GET).await.content.len(), LENGTH);
    let mut client = TcpStream::connect(seawall.http).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    client.read_exact(&mut [0; 4096]).await.unwrap();
    drop(client);
    let records = seawall.access_records(2).await;
    let (whole, left) = (&records[0], &records[1]);
    assert_eq!((whole["end"].as_str(), whole["bytes_out"].as_u64()), (Some("complete"), Some(LENGTH as u64)));
    assert_eq!(left["end"], "client-left", "{left}");
    assert!(left["bytes_out"].as_u64().unwrap() < LENGTH as u64, "{left}");
}
