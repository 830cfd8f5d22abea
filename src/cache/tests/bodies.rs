//! Content that does not come as it should.

use super::*;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
const FIVE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("content-length", "5")];

/// Two clients of one response that begins with `hel`.
async fn two_clients(edge: &mut Edge, fields: &[(&'static str, &str)]) -> (Content, [Response; 2]) {
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, fields);
    content.send("hel").await;
    let [one, other] = clients;
    (content, [answer(one).await, answer(other).await])
}

async fn is_not_stored(edge: &mut Edge) {
    edge.settle().await;
    assert_eq!(edge.cache.usage().objects, 0);
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FRESH, "again");
    assert_eq!(text(answer(client).await).await.unwrap(), "again");
}

#[tokio::test]
async fn a_cut_body_is_whole_for_nobody() {
    let mut edge = Edge::new();
    let (content, clients) = two_clients(&mut edge, FRESH).await;
    content.cut().await;
    for client in clients {
        assert!(text(client).await.is_err());
    }
    assert_eq!(edge.metrics.fills_failed.value(), 1);
    is_not_stored(&mut edge).await;
}

#[tokio::test]
async fn a_short_body_is_whole_for_nobody() {
    let mut edge = Edge::new();
    let (content, clients) = two_clients(&mut edge, FIVE).await;
    drop(content);
    for client in clients {
        assert!(text(client).await.is_err());
    }
    is_not_stored(&mut edge).await;
}

#[tokio::test]
async fn a_body_longer_than_declared_is_whole_for_nobody() {
    let mut edge = Edge::new();
    let (content, clients) = two_clients(&mut edge, FIVE).await;
    content.send("lo!").await;
    for client in clients {
        assert!(text(client).await.is_err());
    }
    is_not_stored(&mut edge).await;
}

#[tokio::test]
async fn who_has_the_last_byte_finds_it_stored() {
    let mut edge = Edge::new();
    let (content, [one, other]) = two_clients(&mut edge, FIVE).await;
    content.send("lo").await;
    drop(content);
    assert_eq!(text(one).await.unwrap(), "hello");
    edge.hit("/", &[]);
    assert_eq!(text(other).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_whole_body_of_another_length_is_not_stored() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FIVE, "hell");
    assert_eq!(status(&answer(client).await).detail, Some("length-mismatch"));
    is_not_stored(&mut edge).await;
}

#[tokio::test]
async fn what_is_declared_too_large_is_passed_on_at_once() {
    let mut edge = Edge::new();
    let length = (9 << 20).to_string();
    let fields = &[("cache-control", "max-age=60"), ("content-length", &length)];
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let first = edge.exchange().await;
    edge.settle().await;
    let _first = first.respond(200, fields);
    let _second = edge.exchange().await.respond(200, fields);
    for client in clients {
        let response = answer(client).await;
        assert_eq!(status(&response).detail, Some("too-large"));
    }
}
