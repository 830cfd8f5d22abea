//! Several fills, validations and invalidations of the same key at a time.

use super::*;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
const ANEW: &[(&str, &str)] = &[("cache-control", "no-cache")];

#[tokio::test]
async fn a_slow_fill_does_not_replace_a_newer_response() {
    let mut edge = Edge::new();
    let slow = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    content.send("ol").await;
    let slow = answer(slow).await;
    edge.clock.advance(Duration::from_secs(1));
    let anew = edge.get("/", ANEW);
    edge.exchange().await.respond_whole(200, FRESH, "new");
    answer(anew).await;
    content.send("d").await;
    drop(content);
    assert_eq!(text(slow).await.unwrap(), "old");
    edge.settle().await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "new");
}

#[tokio::test]
async fn a_304_does_not_bring_back_what_was_replaced() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "old").await;
    edge.clock.advance(Duration::from_secs(100));
    for method in [Method::GET, Method::HEAD] {
        let client = edge.clients.spawn(edge.ask(edge.request(method.clone(), "/", &[])));
        let validation = edge.exchange().await;
        let anew = edge.get("/", ANEW);
        edge.exchange().await.respond_whole(200, FRESH, "new");
        answer(anew).await;
        validation.respond_whole(if method == Method::GET { 304 } else { 200 }, FRESH, "");
        answer(client).await;
        assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "new", "{method}");
        edge.clock.advance(Duration::from_secs(100));
    }
    assert_eq!(edge.cache.usage().objects, 1);
}

#[tokio::test]
async fn a_validation_does_not_outlive_a_write() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "old").await;
    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[]);
    let validation = edge.exchange().await;
    let write = edge.clients.spawn(edge.ask(edge.request(Method::PUT, "/", &[])));
    edge.exchange().await.respond_whole(204, &[], "");
    answer(write).await;
    validation.respond_whole(304, FRESH, "");
    answer(client).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FRESH, "new");
    assert_eq!(text(answer(client).await).await.unwrap(), "new");
}
