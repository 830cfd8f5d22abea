//! What is one client's own neither reaches others nor spoils what is theirs.

use super::*;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
/// Stored with a made-up lifetime, which is not for credentials.
const UNSTATED: &[(&str, &str)] =
    &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"), ("content-length", "5")];
const COOKIE: &[(&str, &str)] = &[("cookie", "id=1")];

#[tokio::test]
async fn a_validation_by_one_with_credentials_leaves_what_is_stored() {
    let mut edge = Edge::new();
    edge.store("/", UNSTATED, "hello").await;
    for (asked, status) in [(COOKIE, 304), (&[("authorization", "x"), ("cache-control", "no-cache")], 401)] {
        let client = edge.get("/", asked);
        edge.exchange().await.respond_whole(status, &[("x-user", "alice")], "");
        answer(client).await;
        let shared = edge.hit("/", &[]);
        assert!(!shared.fields.contains_key("x-user"));
        assert_eq!(text(shared).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_head_by_one_with_credentials_changes_nothing_for_others() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    for asked in [("authorization", "x"), ("cache-control", "no-store")] {
        let mut req = edge.request(Method::HEAD, "/", &[asked]);
        Arc::make_mut(&mut req.fields).append("cache-control", HeaderValue::from_static("no-cache"));
        let client = edge.clients.spawn(edge.ask(req));
        let own = [FRESH, &[("x-user", "alice")]].concat();
        edge.exchange().await.respond_whole(200, &own, "");
        assert_eq!(answer(client).await.fields["x-user"], "alice");
        assert!(!edge.hit("/", &[]).fields.contains_key("x-user"));
    }
}

#[tokio::test]
async fn a_head_that_may_not_be_stored_ends_what_is_stored() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    let req = edge.request(Method::HEAD, "/", &[("cache-control", "no-cache")]);
    let client = edge.clients.spawn(edge.ask(req));
    edge.exchange().await.respond_whole(200, &[("cache-control", "private"), ("etag", "\"1\"")], "");
    answer(client).await;
    assert_eq!(edge.cache.usage().objects, 0);
}

#[tokio::test]
async fn who_wants_nothing_stored_makes_nobody_wait() {
    let mut edge = Edge::new();
    let unwanted = edge.get("/", &[("cache-control", "no-store")]);
    let others = [edge.get("/", &[]), edge.get("/", &[])];
    let (first, second) = (edge.exchange().await, edge.exchange().await);
    edge.settle().await;
    assert!(edge.is_idle());
    first.respond_whole(200, FRESH, "own");
    second.respond_whole(200, FRESH, "shared");
    assert_eq!(text(answer(unwanted).await).await.unwrap(), "own");
    for other in others {
        assert_eq!(text(answer(other).await).await.unwrap(), "shared");
    }
}

#[tokio::test]
async fn who_has_credentials_does_not_part_the_others() {
    let mut edge = Edge::new();
    let personal = edge.get("/", &[("authorization", "x")]);
    let exchange = edge.exchange().await;
    let others: Vec<_> = (0..10).map(|_| edge.get("/", &[])).collect();
    edge.settle().await;
    exchange.respond_whole(200, FRESH, "alice");
    assert_eq!(status(&answer(personal).await).detail, Some("authorization"));
    // One of the others asks for all of them.
    edge.exchange().await.respond_whole(200, FRESH, "shared");
    for other in others {
        assert_eq!(text(answer(other).await).await.unwrap(), "shared");
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn those_with_credentials_do_not_wait_for_one_another() {
    let mut edge = Edge::new();
    let clients: Vec<_> = (0..4).map(|_| edge.get("/", COOKIE)).collect();
    let first = edge.exchange().await;
    edge.settle().await;
    first.respond_whole(200, UNSTATED, "0");
    let mut exchanges = Vec::new();
    for _ in 1..4 {
        exchanges.push(edge.exchange().await);
    }
    // Nor do those that come later; the others still do.
    let later = [edge.get("/", COOKIE), edge.get("/", COOKIE)];
    exchanges.extend([edge.exchange().await, edge.exchange().await]);
    let plain = [edge.get("/", &[]), edge.get("/", &[])];
    exchanges.push(edge.exchange().await);
    edge.settle().await;
    assert!(edge.is_idle());
    for exchange in exchanges {
        exchange.respond_whole(200, UNSTATED, "other");
    }
    for client in clients.into_iter().chain(later).chain(plain) {
        answer(client).await;
    }
}

#[tokio::test]
async fn an_error_of_one_request_says_nothing_to_the_others() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    let client = edge.get("/", &[("cache-control", "no-cache"), ("x-odd", "1")]);
    edge.exchange().await.respond_whole(400, &[("cache-control", "no-store")], "odd");
    assert_eq!(answer(client).await.status, StatusCode::BAD_REQUEST);
    edge.hit("/", &[]);
    edge.clock.advance(Duration::from_secs(100));
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    exchange.respond_whole(304, FRESH, "");
    for client in clients {
        answer(client).await;
    }
}

#[tokio::test]
async fn what_one_request_provoked_is_not_kept() {
    let mut edge = Edge::new();
    let dated = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
    for (asked, status, fields) in [
        (&[("range", "bytes=9-")][..], 416, &[FRESH[0], ("content-range", "bytes */5")][..]),
        (&[("range", "bytes=0-1")], 206, &[FRESH[0], ("content-range", "bytes 0-1/5")]),
        (&[], 206, &[FRESH[0], ("content-range", "bytes 0-1/5")]),
        (&[("if-none-match", "\"1\"")], 304, FRESH),
        (&[("x-odd", "1")], 400, &[dated]),
        (&[("x-odd", "1")], 413, &[dated]),
        (&[("x-odd", "1")], 500, &[dated]),
        (&[("x-odd", "1")], 503, &[dated]),
    ] {
        let client = edge.get("/", asked);
        edge.exchange().await.respond_whole(status, fields, "");
        assert_eq!(answer(client).await.status, status);
        edge.store("/", FRESH, "hello").await;
        edge.hit("/", &[]);
        edge.cache.clear();
    }
}

#[tokio::test]
async fn content_that_cannot_be_decoded_is_asked_for_again() {
    let mut edge = Edge::new();
    let encoded = &[("cache-control", "max-age=60"), ("content-encoding", "gzip")];
    edge.store("/", encoded, "gzipped").await;
    let client = edge.get("/", &[("accept-encoding", "identity")]);
    edge.exchange().await.respond_whole(200, FRESH, "plain");
    assert_eq!(text(answer(client).await).await.unwrap(), "plain");
    assert_eq!(text(edge.hit("/", &[("accept-encoding", "gzip")])).await.unwrap(), "plain");
}

#[tokio::test]
async fn fields_that_are_passed_on_part_what_is_kept_but_not_what_a_write_ends() {
    let mut edge = Edge::new();
    let key_fields = vec![HeaderName::from_static("x-forwarded-prefix")];
    edge.rules = Arc::new(CacheRules { key_fields, ..CacheRules::default() });
    for prefix in ["/a", "/b"] {
        let client = edge.get("/", &[("x-forwarded-prefix", prefix)]);
        edge.exchange().await.respond_whole(200, FRESH, if prefix == "/a" { "a" } else { "b" });
        answer(client).await;
    }
    edge.store("/", FRESH, "none").await;
    for (asked, expected) in [(&[][..], "none"), (&[("x-forwarded-prefix", "/a")], "a")] {
        assert_eq!(text(edge.hit("/", asked)).await.unwrap(), expected);
    }
    let write = edge.clients.spawn(edge.ask(edge.request(Method::PUT, "/", &[])));
    edge.exchange().await.respond_whole(204, &[], "");
    answer(write).await;
    assert_eq!(edge.cache.usage().objects, 0);
}

#[tokio::test]
async fn variants_of_one_target_are_bounded() {
    let mut edge = Edge::new();
    let varying = &[("cache-control", "max-age=60"), ("vary", "x-odd")];
    for number in 0..100 {
        let client = edge.get("/", &[("x-odd", &number.to_string())]);
        edge.exchange().await.respond_whole(200, varying, "hello");
        answer(client).await;
    }
    assert_eq!(edge.cache.usage().objects, 32);
}
