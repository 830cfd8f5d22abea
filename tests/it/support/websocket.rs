//! WebSocket (RFC 6455) on raw connections: the two heads of its handshake, and
//! messages both ways.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::origin::Origin;
use super::process::Seawall;
use super::raw::RawClient;
use super::within;

/// A client's side of the handshake.
pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The server's side of it, with the answer to that key (RFC 6455 s1.3).
pub(crate) const AGREEMENT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Both ends of a tunnel through `seawall`, through which nothing has passed yet.
pub(crate) async fn tunnel(seawall: &Seawall, origin: &mut Origin) -> (RawClient, TcpStream) {
    tunnel_to("site.test", seawall, origin).await
}

/// The same to a site of another name.
pub(crate) async fn tunnel_to(site: &str, seawall: &Seawall, origin: &mut Origin) -> (RawClient, TcpStream) {
    let mut client = RawClient::connect(seawall.http).await;
    client.send(HANDSHAKE.replace("site.test", site)).await;
    let mut arrival = origin.next().await;
    arrival.send(AGREEMENT).await;
    assert_eq!(client.response().await.status(), 101);
    (client, arrival.into_stream())
}

/// Has a short message and one of `length` pass both ways.
pub(crate) async fn messages_pass<C, S>(
    client: &mut WebSocketStream<C>,
    server: &mut WebSocketStream<S>,
    length: usize,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    for message in [Message::text("Ahoy"), Message::binary(vec![7; length])] {
        let (sent, received) = tokio::join!(client.send(message.clone()), within("a message", server.next()));
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
        let (sent, received) = tokio::join!(server.send(message.clone()), within("a message", client.next()));
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
    }
}
