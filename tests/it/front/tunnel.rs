//! WebSocket over HTTP/1.1: the handshake passes, then bytes both ways.

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Origin, edge_before};
use crate::support::raw::RawClient;
use crate::support::websocket::{HANDSHAKE, messages_pass, tunnel};
use crate::support::within;

const URL: &str = "ws://site.test/ws";

#[tokio::test]
async fn a_websocket_passes() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let stream = TcpStream::connect(seawall.http).await.unwrap();
    let server = async {
        let mut arrival = origin.next().await;
        assert_eq!(arrival.request.field("upgrade"), Some("websocket"));
        assert_eq!(
            arrival.request.field("connection").map(str::to_ascii_lowercase).as_deref(),
            Some("upgrade")
        );
        let accept = derive_accept_key(arrival.request.field("sec-websocket-key").unwrap().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        arrival.send(head).await;
        WebSocketStream::from_raw_socket(arrival.into_stream(), Role::Server, None).await
    };
    let (mut server, client) =
        within("a handshake", async { tokio::join!(server, client_async(URL, stream)) }).await;
    let (mut client, _) = client.unwrap();

    messages_pass(&mut client, &mut server, 100_000).await;
    client.close(None).await.unwrap();
    assert!(within("the close", server.next()).await.unwrap().unwrap().is_close());
}

#[tokio::test]
async fn a_tunnel_needs_proof_of_the_handshake() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(HANDSHAKE).await;
    let mut arrival = origin.next().await;
    let accept = derive_accept_key(b"of another handshake");
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    arrival.send(head).await;
    let res = client.response().await;
    assert_eq!(res.status(), 502);
    assert!(res.field("proxy-status").unwrap().contains("error=http_upgrade_failed"));
}

#[tokio::test]
async fn a_refused_handshake_is_an_answer_as_any_other() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(HANDSHAKE).await;
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    origin.next().await.answer(refusal).await;
    let res = client.response().await;
    assert_eq!((res.status(), res.content.as_slice()), (403, b"no".as_slice()));
}

#[tokio::test]
async fn a_tunnel_that_nothing_passes_through_is_closed() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "[limits]\ntunnel_idle = \"200ms\"\n").await;
    let (client, _held) = tunnel(&seawall, &mut origin).await;
    client.closed().await;
    assert_eq!(seawall.metric("seawall_limit_total{limit=\"tunnel_idle\"}").await, Some(1));
}
