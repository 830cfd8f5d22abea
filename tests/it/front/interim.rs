//! Interim responses (RFC 9110 s15.2): an origin server's are passed on while the
//! answer is waited for, and never get into anything else.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use tokio::net::TcpStream;

use super::{Origin, Seawall, edge_before, ok};
use crate::support::client::{Alpn, secure};
use crate::support::raw::RawClient;
use crate::support::within;

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

/// The same site over TLS, and a connection to it by HTTP/2.
async fn http2_before(origin: &Origin) -> (Seawall, SendRequest<Bytes>) {
    let address = origin.address;
    let site =
        format!("[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n");
    let seawall = Seawall::start(&site).await;
    let stream = TcpStream::connect(seawall.https).await.unwrap();
    let tls = secure(stream, &seawall.ca(), "site.test", Alpn::H2).await;
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    (seawall, sender)
}

fn get() -> Request<()> {
    Request::get("https://site.test/").body(()).unwrap()
}

/// The next interim response; `None` once the answer is there.
async fn told(res: &mut ResponseFuture) -> Option<Response<()>> {
    let next = poll_fn(|context| res.poll_informational(context));
    within("an interim response", next).await.map(|head| head.unwrap())
}

#[tokio::test]
async fn a_client_of_http2_is_told_while_it_waits() {
    let mut origin = Origin::start().await;
    let (_seawall, mut sender) = http2_before(&origin).await;
    let (mut res, _) = sender.send_request(get(), true).unwrap();
    let mut arrival = origin.next().await;
    arrival.send("HTTP/1.1 102 Processing\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: a\r\n\r\n").await;
    let processing = told(&mut res).await.unwrap();
    let fields: Vec<_> = processing.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(
        (processing.status().as_u16(), fields.as_slice()),
        (102, [("via", &"1.1 seawall".parse().unwrap())].as_slice())
    );
    for _ in 0..2 {
        arrival.send(HINTS).await;
        let hints = told(&mut res).await.unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"</a.css>; rel=preload".parse().unwrap())
        );
    }
    arrival.answer(hello()).await;
    let res = within("the answer", res).await.unwrap();
    assert_eq!((res.status().as_u16(), res.headers().get("link")), (200, None));
    assert_eq!(within("its content", res.into_body().data()).await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn what_comes_at_once_with_the_answer_comes_before_it_by_http2() {
    let mut origin = Origin::start().await;
    let (_seawall, mut sender) = http2_before(&origin).await;
    for _ in 0..20 {
        let (mut res, _) = sender.send_request(get(), true).unwrap();
        origin.next().await.answer(format!("{HINTS}{HINTS}{}", hello())).await;
        for _ in 0..2 {
            assert_eq!(told(&mut res).await.map(|head| head.status().as_u16()), Some(103));
        }
        assert_eq!(within("the answer", res).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_stream_that_is_given_up_before_it_is_told_harms_no_other() {
    let mut origin = Origin::start().await;
    let (_seawall, mut sender) = http2_before(&origin).await;
    for number in 0..20 {
        let own = Request::get(format!("https://site.test/{number}")).body(()).unwrap();
        let (res, mut sending) = sender.send_request(own, true).unwrap();
        let mut arrival = origin.next().await;
        sending.send_reset(h2::Reason::CANCEL);
        drop(res);
        arrival.send(format!("{HINTS}{HINTS}{}", hello())).await;
    }
    let (mut res, _) = sender.send_request(get(), true).unwrap();
    origin.next().await.answer(format!("{HINTS}{}", hello())).await;
    assert_eq!(told(&mut res).await.map(|head| head.status().as_u16()), Some(103));
    assert_eq!(within("the answer", res).await.unwrap().status(), 200);
}

/// RFC 9110 s10.1.1
#[tokio::test]
async fn a_client_of_http2_that_waits_with_its_content_is_told_to_go_on() {
    let mut origin = Origin::start().await;
    let (_seawall, mut sender) = http2_before(&origin).await;
    let put = Request::put("https://site.test/").header("expect", "100-continue").body(()).unwrap();
    let (mut res, mut content) = sender.send_request(put, false).unwrap();
    assert_eq!(told(&mut res).await.map(|head| head.status().as_u16()), Some(100));
    content.send_data("content".into(), true).unwrap();
    let arrival = origin.next().await;
    assert_eq!(arrival.request.content, b"content");
    arrival.answer(hello()).await;
    assert_eq!(within("the answer", res).await.unwrap().status(), 200);
}
