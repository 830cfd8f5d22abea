//! Upgrades while clients ask without a pause.

use super::*;
use crate::support::load::{Kept, Load};
use crate::support::websocket::tunnel_to;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn three_upgrades_under_load_lose_no_request() {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    let mut to_socket = Origin::start().await;
    let place = Place::new();
    let sockets = format!(
        "[site.\"sockets.test\"]\norigins = [\"{}\"]\nhealth = false\ntls = \"off\"\n",
        to_socket.address
    );
    place.configure(&(tables(&place, origin.address) + &sockets));
    let mut seawall = place.run().await;
    let load = Load::begin(seawall.https, &seawall.ca(), Kept::UntilTold);
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        load.goes_on(100).await;
        tunnels.push(tunnel_to("sockets.test", &seawall, &mut to_socket).await);
        upgraded(&mut seawall).await;
        load.goes_on(100).await;
        // Those of the processes before last as long as their drains.
        for (client, server) in &mut tunnels {
            client.send("ping").await;
            let mut received = [0; 4];
            within("bytes through a tunnel", server.read_exact(&mut received)).await.unwrap();
            server.write_all(b"HTTP/1.1 204 pong\r\n\r\n").await.unwrap();
            assert_eq!((client.response().await.status(), &received), (204, b"ping"));
        }
    }
    load.ends_well().await;
}

#[tokio::test]
async fn an_answer_that_is_waited_for_comes_from_the_process_that_was_asked() {
    let (mut seawall, mut origin, mut client, arrival) = edge_with_request().await;
    upgraded(&mut seawall).await;
    let mut next = RawClient::connect(seawall.http).await;
    next.send("GET /next HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    origin.next().await.answer(ok("Cache-Control: no-store\r\n", "next")).await;
    assert_eq!(next.response().await.content, b"next");
    arrival.answer(ok("Cache-Control: no-store\r\n", "first")).await;
    let res = client.response().await;
    assert_eq!((res.content.as_slice(), res.field("connection")), (b"first".as_slice(), Some("close")));
    assert_eq!(seawall.exit().await.code(), Some(0), "the process before has ended well");
}
