//! Headless Chromium before the edge: HTTP/2, no complaint, and a second visit
//! that the origin servers do not notice; and a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Edge;
use crate::support::chromium::{Chromium, Load, Loaded};
use crate::support::client::{Alpn, Client};
use crate::support::eventually;
use crate::support::origin::{Origin, ok};
use crate::support::process::Seawall;
use crate::support::site;

const PAGE: &str = "/library/json.html";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_loads_over_h2_and_again_from_the_cache() {
    let edge = Edge::start(&site::root(), "").await;
    let client = Client::connect(edge.seawall.https, &edge.seawall.ca(), "localhost", Alpn::H2).await;
    let mut chromium = Chromium::start(&client.certificate).await;
    let url = format!("https://localhost:{}{PAGE}", edge.seawall.https.port());

    let tab = chromium.tab().await;
    let first = chromium.open(&tab, &url).await;
    assert_sound(&first);
    assert!(first.responses.iter().any(|response| response.url == url), "{first:#?}");
    assert!(first.responses.len() > 3, "a page with styles and scripts: {first:#?}");

    let reload = chromium.reload(&tab).await;
    assert_sound(&reload);
    for response in &reload.responses {
        assert!(response.from_own_cache || is_from_cache(response), "{response:#?}");
    }

    // A tab with a cache of its own has to ask the edge for all of it.
    let before = edge.origin_requests();
    let other = chromium.tab().await;
    let second = chromium.open(&other, &url).await;
    assert_sound(&second);
    assert!(second.responses.iter().all(is_hit), "{second:#?}");
    assert!(second.responses.iter().filter(|response| !response.from_own_cache).count() > 3, "{second:#?}");
    assert_eq!(edge.origin_requests(), before, "the origin servers saw nothing of the second visit");
}

/// RFC 8441: it goes as a stream of the connection that the page came by.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_shares_the_connection_of_its_page() {
    let mut origin = Origin::start().await;
    let seawall = Seawall::start(&format!(
        "[site.\"localhost\"]\norigins = [\"{}\"]\nhealth = false\ntls = \"internal\"\n",
        origin.address
    ))
    .await;
    let client = Client::connect(seawall.https, &seawall.ca(), "localhost", Alpn::H2).await;
    let mut chromium = Chromium::start(&client.certificate).await;
    let tab = chromium.tab().await;
    let serving = tokio::spawn(async move {
        loop {
            let mut arrival = origin.next().await;
            let Some(key) = arrival.request.field("sec-websocket-key") else {
                arrival.answer(ok("Content-Type: text/html\r\n", "<title>waits</title>")).await;
                continue;
            };
            let accept = derive_accept_key(key.as_bytes());
            arrival
                .send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                ))
                .await;
            let stream = arrival.into_stream();
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
        }
    });
    chromium.open(&tab, &format!("https://localhost:{}/", seawall.https.port())).await;
    let speak = "window.socket ??= Object.assign(new WebSocket('/ws'), {
                     onopen() { this.send('Ahoy'); },
                     onmessage({data}) { document.title = data; this.close(); },
                     onclose({wasClean}) { document.title += wasClean; },
                 }), document.title";
    chromium.evaluate(&tab, speak, |title| *title == "Ahoytrue").await;
    let is_there = |record: &Value| record["path"] == "/ws";
    let record = eventually("the tunnel is logged", || seawall.logged(is_there)).await;
    assert_eq!((&record["protocol"], &record["status"]), (&"HTTP/2.0".into(), &200.into()), "{record}");
    serving.abort();
}

fn assert_sound(load: &Load) {
    assert!(load.complaints.is_empty(), "{:#?}", load.complaints);
    for response in &load.responses {
        assert_eq!(response.status, 200, "{response:#?}");
        assert!(response.from_own_cache || response.protocol == "h2", "{response:#?}");
    }
}

fn is_hit(response: &Loaded) -> bool {
    response.cache_status.as_deref().is_some_and(|status| status.starts_with("Seawall; hit"))
}

/// A reload asks for the page itself with `max-age=0`: an edge may validate it.
fn is_from_cache(response: &Loaded) -> bool {
    let validated = |status: &str| status.contains("fwd-status=304");
    is_hit(response) || response.cache_status.as_deref().is_some_and(validated)
}
