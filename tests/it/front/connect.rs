//! WebSocket over HTTP/2 (RFC 8441): a CONNECT of the client is an upgrade at the
//! origin server, or the same where that speaks HTTP/2 alone.

mod to_origin;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::response::Parts;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Origin, Seawall, ok};
use crate::support::client::{Alpn, secure};
use crate::support::origin::Arrival;
use crate::support::websocket::{AGREEMENT, messages_pass};
use crate::support::within;

/// What passes each way at once in the tests of many small things.
const MANY: usize = 10_000;

async fn edge_before(origin: &Origin, tables: &str) -> Seawall {
    let address = origin.address;
    Seawall::start(&format!(
        "{tables}\n[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n"
    ))
    .await
}

/// A connection by HTTP/2 to a server that takes such a CONNECT.
async fn connection(seawall: &Seawall) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(seawall.https).await.unwrap();
    let tls = secure(stream, &seawall.ca(), "site.test", Alpn::H2).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn connect(protocol: &'static str) -> Request<Empty<Bytes>> {
    let mut req = Request::new(Empty::new());
    *req.method_mut() = Method::CONNECT;
    *req.uri_mut() = "https://site.test/ws?a=b".parse().unwrap();
    req.extensions_mut().insert(Protocol::from_static(protocol));
    req.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    req.headers_mut().insert("sec-websocket-protocol", "chat, other".parse().unwrap());
    req
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, req: Request<Empty<Bytes>>) -> Response<Incoming> {
    within("the server's settings", sender.ready()).await.unwrap();
    within("a response", sender.send_request(req)).await.unwrap()
}

/// What the origin server says to agree.
fn agreement(arrival: &Arrival) -> String {
    let accept = derive_accept_key(arrival.request.field("sec-websocket-key").unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Both ends of a tunnel, and what the client was told of it.
async fn tunnel(
    origin: &mut Origin,
    sender: &mut SendRequest<Empty<Bytes>>,
) -> (TokioIo<Upgraded>, TcpStream, Parts) {
    let agreed = async {
        let mut arrival = origin.next().await;
        arrival.send(agreement(&arrival)).await;
        arrival.into_stream()
    };
    let (mut res, server) = tokio::join!(ask(sender, connect("websocket")), agreed);
    let client = within("the tunnel", hyper::upgrade::on(&mut res)).await.unwrap();
    (TokioIo::new(client), server, res.into_parts().0)
}

/// A tunnel whose client writes and reads frame by frame.
async fn frames(
    origin: &mut Origin,
    seawall: &Seawall,
) -> (TcpStream, h2::SendStream<Bytes>, h2::RecvStream) {
    let stream = TcpStream::connect(seawall.https).await.unwrap();
    let tls = secure(stream, &seawall.ca(), "site.test", Alpn::H2).await;
    let (mut sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let mut head = connect("websocket").map(|_| ());
    head.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (res, sending) = sender.send_request(head, false).unwrap();
    let mut arrival = origin.next().await;
    arrival.send(agreement(&arrival)).await;
    let res = within("a response", res).await.unwrap();
    assert_eq!(res.status(), 200);
    (arrival.into_stream(), sending, res.into_body())
}

async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(stream: S, role: Role) -> WebSocketStream<S> {
    WebSocketStream::from_raw_socket(stream, role, None).await
}

fn proxy_status(res: &Response<Incoming>) -> &str {
    res.headers()["proxy-status"].to_str().unwrap()
}

#[tokio::test]
async fn a_websocket_passes() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    let (client, server, told) = tunnel(&mut origin, &mut sender).await;
    assert_eq!(
        (told.status.as_u16(), &told.headers["sec-websocket-protocol"]),
        (200, &"chat".parse().unwrap())
    );
    for name in ["connection", "upgrade", "sec-websocket-accept", "sec-websocket-key"] {
        assert!(!told.headers.contains_key(name), "{name}");
    }
    let mut client = websocket(client, Role::Client).await;
    let mut server = websocket(server, Role::Server).await;
    messages_pass(&mut client, &mut server, 300_000).await;
    client.close(None).await.unwrap();
    assert!(within("the close", server.next()).await.unwrap().unwrap().is_close());
    assert!(within("the end", server.next()).await.is_none());
    assert!(within("the answer to it", client.next()).await.unwrap().unwrap().is_close());
    drop(server);
    assert!(within("the end", client.next()).await.is_none());
    drop(client);
    let record = &seawall.access_records(1).await[0];
    assert_eq!((&record["status"], &record["protocol"]), (&200.into(), &"HTTP/2.0".into()));
    assert_eq!((&record["path"], &record["end"]), (&"/ws?a=b".into(), &"complete".into()), "{record}");
    assert!(record["bytes_in"].as_u64() > Some(300_000) && record["bytes_out"].as_u64() > Some(300_000));
    assert_eq!(seawall.metric("seawall_tunnels_open").await, Some(0));
}

#[tokio::test]
async fn the_origin_server_is_asked_as_by_http1() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let asked = async {
            let arrival = origin.next().await;
            let req = &arrival.request;
            assert_eq!(req.start, "GET /ws?a=b HTTP/1.1");
            for (name, value) in [
                ("host", "site.test"),
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "chat, other"),
            ] {
                assert_eq!(req.field(name), Some(value), "{name}");
            }
            keys.push(req.field("sec-websocket-key").unwrap().to_owned());
            arrival.answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        };
        let (res, ()) = tokio::join!(ask(&mut sender, connect("websocket")), asked);
        assert_eq!(res.status(), 403);
        assert_eq!(within("the content", res.into_body().collect()).await.unwrap().to_bytes(), "no");
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_is_no_agreement_is_none_for_the_client() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    // To a CONNECT a success of any kind would say that the tunnel is there.
    let answers = [ok("", "hello"), "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), AGREEMENT.to_owned()];
    for answer in answers {
        let answered = async { origin.next().await.answer(&answer).await };
        let (res, ()) = tokio::join!(ask(&mut sender, connect("websocket")), answered);
        assert_eq!(res.status(), 502, "{answer}");
        assert!(proxy_status(&res).contains("error=http_upgrade_failed"), "{answer}");
    }
}

#[tokio::test]
async fn other_tunnels_are_refused() {
    let origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    assert_eq!(ask(&mut sender, connect("connect-udp")).await.status(), 501);
    let mut plain = Request::new(Empty::new());
    *plain.method_mut() = Method::CONNECT;
    *plain.uri_mut() = "site.test:443".parse().unwrap();
    assert_eq!(ask(&mut sender, plain).await.status(), 405);
    assert_eq!(origin.requests(), 0);
}

/// h2 ends connections on which small frames pile up.
#[tokio::test]
async fn many_small_messages_pass_both_ways() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    let (client, server, _) = tunnel(&mut origin, &mut sender).await;
    let (mut to_server, mut from_server) = websocket(client, Role::Client).await.split();
    let (mut to_client, mut from_client) = websocket(server, Role::Server).await.split();
    let say = async {
        for _ in 0..MANY {
            to_server.send(Message::text("a")).await.unwrap();
        }
    };
    let echo = async {
        for _ in 0..MANY {
            let message = from_client.next().await.unwrap().unwrap();
            to_client.send(message).await.unwrap();
        }
    };
    let hear = async {
        for _ in 0..MANY {
            assert_eq!(from_server.next().await.unwrap().unwrap(), Message::text("a"));
        }
    };
    within("all of them", async { tokio::join!(say, echo, hear) }).await;
}

#[tokio::test]
async fn many_small_events_pass() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let mut sender = connection(&seawall).await;
    let event = |number: usize| format!("data: {number}\n\n");
    let says = async {
        let mut arrival = origin.next().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        arrival.send(head).await;
        for number in 0..MANY {
            let event = event(number);
            arrival.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        }
        arrival.send("0\r\n\r\n").await;
    };
    let get = Request::get("https://site.test/events").body(Empty::new()).unwrap();
    let hears = async {
        let content = ask(&mut sender, get).await.into_body().collect();
        within("all of them", content).await.unwrap().to_bytes()
    };
    let ((), heard) = tokio::join!(says, hears);
    assert!(heard == (0..MANY).map(event).collect::<String>());
}

#[tokio::test]
async fn a_tunnel_that_nothing_passes_through_is_reset() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "[limits]\ntunnel_idle = \"200ms\"\n").await;
    let mut sender = connection(&seawall).await;
    let (mut client, mut server, _) = tunnel(&mut origin, &mut sender).await;
    // What reads of hyper takes that reset for an end.
    assert_eq!(within("the end", client.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within("the end", server.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(seawall.metric("seawall_limit_total{limit=\"tunnel_idle\"}").await, Some(1));
    let get = Request::get("https://site.test/").body(Empty::new()).unwrap();
    let (res, ()) =
        tokio::join!(ask(&mut sender, get), async { origin.next().await.answer(ok("", "")).await });
    assert_eq!(res.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn a_client_that_resets_its_tunnel_ends_that_of_the_origin_server() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "").await;
    let (mut server, mut sending, _receiving) = frames(&mut origin, &seawall).await;
    sending.send_reset(h2::Reason::CANCEL);
    // It says nothing more, and does not end by itself.
    let mut rest = Vec::new();
    let _ = within("the end", server.read_to_end(&mut rest)).await;
    within("a write that fails", async { while server.write_all(b"a").await.is_ok() {} }).await;
    assert_eq!(seawall.access_records(1).await[0]["end"], "client-left");
}

#[tokio::test]
async fn a_tunnel_whose_client_reads_nothing_is_reset() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin, "[limits]\nwrite_timeout = \"300ms\"\n").await;
    let (mut server, _sending, mut receiving) = frames(&mut origin, &seawall).await;
    within("the end", async { while server.write_all(&[7; 16 << 10]).await.is_ok() {} }).await;
    let mut received = 0;
    let reset = within("the reset", async {
        loop {
            match receiving.data().await.unwrap() {
                Ok(data) => received += data.len(),
                Err(error) => return error,
            }
        }
    });
    assert_eq!(reset.await.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(received, 65_535, "no more than it had opened a window for");
    assert_eq!(seawall.access_records(1).await[0]["end"], "cut");
}

#[tokio::test]
async fn a_tunnel_lasts_until_the_drain_does() {
    let mut origin = Origin::start().await;
    let mut seawall = edge_before(&origin, "[limits]\ndrain_timeout = \"3s\"\n").await;
    let mut sender = connection(&seawall).await;
    let (mut client, mut server, _) = tunnel(&mut origin, &mut sender).await;
    seawall.terminate();
    seawall.refuses_connections().await;
    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    within("bytes in the drain", server.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"ping");
    assert_eq!(seawall.exit().await.code(), Some(0));
}
