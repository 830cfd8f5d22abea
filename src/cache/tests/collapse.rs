//! Requests for the same at the same time.

use super::*;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test]
async fn a_hundred_requests_are_one_fetch() {
    let mut edge = Edge::new();
    let clients: Vec<_> = (0..100).map(|_| edge.get("/", &[])).collect();
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, FRESH);
    content.send("hel").await;
    let mut responses = Vec::new();
    for client in clients {
        responses.push(answer(client).await);
    }
    assert_eq!(responses.iter().filter(|response| status(response).collapsed).count(), 99);
    content.send("lo").await;
    drop(content);
    for response in responses {
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    assert!(edge.is_idle());
    assert_eq!(edge.metrics.fills.value(), 1);
    assert_eq!(edge.metrics.fills_stored.value(), 1);
    assert_eq!(edge.metrics.fills_joined.value(), 99);
}

#[tokio::test]
async fn a_late_client_reads_the_running_fill() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    content.send("hel").await;
    let mut first = answer(first).await;
    assert_eq!(chunk(&mut first).await.unwrap().unwrap(), "hel");

    edge.clock.advance(Duration::from_secs(2));
    let mut late = answer(edge.get("/", &[])).await;
    assert_eq!(chunk(&mut late).await.unwrap().unwrap(), "hel");
    assert_eq!(status(&late).to_string(), "Seawall; fwd=uri-miss; ttl=58; collapsed");
    assert_eq!(late.fields["age"], "2");
    content.send("lo").await;
    drop(content);
    assert_eq!(text(late).await.unwrap(), "lo");
    assert_eq!(text(first).await.unwrap(), "lo");
    assert!(edge.is_idle());
}

#[tokio::test]
async fn the_first_client_may_leave_before_the_head() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let other = edge.get("/", &[]);
    edge.settle().await;
    first.abort();
    edge.settle().await;
    exchange.respond_whole(200, FRESH, "hello");
    assert_eq!(text(answer(other).await).await.unwrap(), "hello");
    edge.hit("/", &[]);
}

#[tokio::test]
async fn every_client_may_leave_and_it_is_stored() {
    let mut edge = Edge::new();
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let content = edge.exchange().await.respond(200, FRESH);
    content.send("hel").await;
    for client in clients {
        drop(answer(client).await);
    }
    content.send("lo").await;
    drop(content);
    edge.settle().await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_cannot_be_shared_queues_nobody() {
    let mut edge = Edge::new();
    let mut clients: Vec<_> = (0..4).map(|_| edge.get("/", &[])).collect();
    let first = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    first.respond_whole(200, &[("cache-control", "no-store")], "0");
    // The others go at once and all together, and so do those that come later.
    clients.push(edge.get("/", &[]));
    let mut exchanges = Vec::new();
    for _ in 0..4 {
        exchanges.push(edge.exchange().await);
    }
    for exchange in exchanges {
        exchange.respond_whole(200, &[("cache-control", "private")], "1");
    }
    for client in clients {
        let response = answer(client).await;
        assert!(["no-store", "private"].contains(&status(&response).detail.unwrap()));
    }
    assert_eq!(edge.metrics.fills_joined.value(), 0);

    // A storable response ends it.
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FRESH, "2");
    answer(client).await;
    edge.hit("/", &[]);
}

#[tokio::test]
async fn conditions_reach_the_origin_server_where_nothing_is_kept() {
    let mut edge = Edge::new();
    let condition = &[("if-none-match", "\"1\"")];
    let client = edge.get("/", condition);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("if-none-match"));
    exchange.respond_whole(200, &[("cache-control", "no-store"), ("etag", "\"1\"")], "0");
    assert_eq!(answer(client).await.status, StatusCode::NOT_MODIFIED);

    let client = edge.get("/", condition);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["if-none-match"], "\"1\"");
    exchange.respond_whole(304, &[("cache-control", "no-store"), ("etag", "\"1\"")], "");
    assert_eq!(answer(client).await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_failure_is_handed_over_once() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let others: Vec<_> = (0..5).map(|_| edge.get("/", &[])).collect();
    edge.settle().await;
    exchange.fail();
    assert!(matches!(soon(first).await.unwrap(), Err(Failure::Fetch { cache: Some(_), .. })));
    let second = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    second.fail();
    for other in others {
        match soon(other).await.unwrap() {
            Err(Failure::Fetch { error, .. }) => {
                assert_eq!(error.kind, ProxyErrorType::ConnectionRefused);
                assert_eq!(error.source.unwrap().to_string(), "refused");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn another_leader_may_succeed() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let others: Vec<_> = (0..5).map(|_| edge.get("/", &[])).collect();
    edge.settle().await;
    exchange.fail();
    edge.exchange().await.respond_whole(200, FRESH, "hello");
    for other in others {
        assert_eq!(text(answer(other).await).await.unwrap(), "hello");
    }
    assert!(soon(first).await.unwrap().is_err());
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_range_joins_a_fill_but_begins_none() {
    let mut edge = Edge::new();
    let whole = edge.get("/", &[]);
    let fields = &[("cache-control", "max-age=60"), ("content-length", "5")];
    let content = edge.exchange().await.respond(200, fields);
    let part = answer(edge.get("/", &[("range", "bytes=1-2")])).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    content.send("hel").await;
    assert_eq!(text(part).await.unwrap(), "el");
    content.send("lo").await;
    drop(content);
    assert_eq!(text(answer(whole).await).await.unwrap(), "hello");

    let part = edge.get("/other", &[("range", "bytes=1-2")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["range"], "bytes=1-2");
    exchange.respond_whole(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 1-2/5")], "el");
    assert_eq!(answer(part).await.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(edge.cache.usage().objects, 2, "the part is kept by itself");

    // Several ranges bring the whole, and no origin server is bothered with them.
    let several = edge.get("/other", &[("range", "bytes=0-,0-,0-")]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    exchange.respond_whole(200, fields, "hello");
    assert_eq!(text(answer(several).await).await.unwrap(), "hello");
    assert_eq!(edge.cache.usage().objects, 2);
}

#[tokio::test]
async fn who_wants_a_new_response_does_not_get_anothers() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "old").await;
    let clients = [(); 2].map(|()| edge.get("/", &[("cache-control", "no-cache")]));
    let exchanges = [edge.exchange().await, edge.exchange().await];
    for exchange in exchanges {
        exchange.respond_whole(200, FRESH, "new");
    }
    for client in clients {
        assert_eq!(text(answer(client).await).await.unwrap(), "new");
    }
}
