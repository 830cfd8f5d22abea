//! A drain over HTTP/2 and in tunnels.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Origin, Seawall, edge_before, ok};
use crate::support::client::{Alpn, Client};
use crate::support::websocket::tunnel;
use crate::support::within;

#[tokio::test]
async fn streams_under_way_are_finished_and_their_connection_ends() {
    let mut origin = Origin::start().await;
    let address = origin.address;
    let mut seawall = Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n"
    ))
    .await;
    let idle = Client::connect(seawall.https, &seawall.ca(), "site.test", Alpn::H2).await;
    let mut client = Client::connect(seawall.https, &seawall.ca(), "site.test", Alpn::H2).await;
    let under_way = tokio::spawn(async move {
        let first = client.get("/first").await;
        // What comes before the client knows of the drain is answered as well.
        while client.get_of("site.test", "/second").await.is_ok() {}
        first
    });
    let arrival = origin.next().await;
    seawall.terminate();
    seawall.refuses_connections().await;
    arrival.answer(ok("Cache-Control: no-store\r\n", "whole")).await;
    let answering = tokio::spawn(async move {
        loop {
            origin.next().await.answer(ok("Cache-Control: no-store\r\n", "whole")).await;
        }
    });
    let first = within("the end of new streams", under_way).await.unwrap();
    assert_eq!(first.body(), "whole");
    assert_eq!(seawall.exit().await.code(), Some(0));
    answering.abort();
    drop(idle);
}

#[tokio::test]
async fn a_tunnel_lasts_until_the_drain_does() {
    let mut origin = Origin::start().await;
    let mut seawall = edge_before(origin.address, "[limits]\ndrain_timeout = \"3s\"\n").await;
    let (mut client, mut origin) = tunnel(&seawall, &mut origin).await;
    seawall.terminate();
    seawall.refuses_connections().await;
    client.send("ping").await;
    let mut received = [0; 4];
    within("bytes in the drain", origin.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"ping");
    assert_eq!(seawall.exit().await.code(), Some(0));
    let _ = origin.shutdown().await;
    client.closed().await;
}
