//! Stale responses: validated, refreshed behind the client's back, used in
//! place of a failure; and what writes make of them.

use super::*;

const TAGGED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

async fn with_stale(fields: &[(&'static str, &str)]) -> Edge {
    let mut edge = Edge::new();
    edge.store("/", fields, "hello").await;
    edge.clock.advance(Duration::from_secs(100));
    edge
}

/// A day back: what has come by then is stale, in memory and on the disk.
#[tokio::test]
async fn what_came_before_the_clock_was_put_back_is_validated_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut edge = Edge::over(directory.path());
    let fields = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
    for path in ["/confirmed", "/replaced", "/on-disk"] {
        edge.store(path, fields, "old").await;
    }
    let mut edge = edge.restarted(directory.path(), 3).await;
    for path in ["/confirmed", "/confirmed", "/replaced", "/replaced"] {
        // The second use of it from the disk brings it into memory.
        assert_eq!(text(edge.found(path).await).await.unwrap(), "old");
    }
    edge.clock.put(edge.clock.wall() - Duration::from_secs(24 * 3600));
    let answers =
        [("/confirmed", 304, "", "old"), ("/replaced", 200, "new", "new"), ("/on-disk", 304, "", "old")];
    for (written, (path, code, content, expected)) in (1..).zip(answers) {
        let client = edge.get(path, &[]);
        let exchange = edge.exchange().await;
        assert_eq!(exchange.req.fields["if-none-match"], "\"1\"", "{path}");
        exchange.respond_whole(code, fields, content);
        assert_eq!(text(answer(client).await).await.unwrap(), expected, "{path}");
        edge.written(written).await;
        let again = edge.found(path).await;
        assert_eq!((status(&again).hit, status(&again).ttl), (true, Some(60)), "{path}");
        assert_eq!(text(again).await.unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_304_freshens_the_head_over_the_same_body() {
    let mut edge = Edge::new();
    edge.store("/", TAGGED, "hello").await;
    let before = memory(&edge.hit("/", &[]));
    edge.clock.advance(Duration::from_secs(100));

    let client = edge.get("/", &[("if-none-match", "\"mine\"")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["if-none-match"], "\"1\"");
    exchange.respond_whole(304, &[("cache-control", "max-age=600"), ("etag", "\"1\""), ("x-new", "1")], "");
    let response = answer(client).await;
    assert_eq!(status(&response).to_string(), "Seawall; fwd=stale; fwd-status=304; ttl=600");
    assert_eq!(text(response).await.unwrap(), "hello");

    let after = edge.hit("/", &[]);
    assert_eq!((memory(&after), &after.fields["x-new"]), (before, &HeaderValue::from_static("1")));
    assert_eq!(edge.cache.usage().objects, 1);
}

#[tokio::test]
async fn clients_share_one_validation() {
    let mut edge = with_stale(TAGGED).await;
    let clients = [(); 10].map(|()| edge.get("/", &[]));
    let exchange = edge.exchange().await;
    edge.settle().await;
    exchange.respond_whole(304, TAGGED, "");
    let mut printed = Vec::new();
    for client in clients {
        let response = answer(client).await;
        printed.push(status(&response).to_string());
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    printed.sort();
    assert_eq!(printed[0], "Seawall; fwd=stale; fwd-status=304; ttl=60");
    assert!(printed[1..].iter().all(|line| line == "Seawall; fwd=stale; fwd-status=304; ttl=60; collapsed"));
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_new_response_replaces_the_stale_one() {
    let mut edge = with_stale(TAGGED).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, TAGGED, "new");
    let response = answer(client).await;
    assert_eq!(status(&response).to_string(), "Seawall; fwd=stale; ttl=60; stored");
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "new");
    assert_eq!(edge.cache.usage().objects, 1);
}

/// RFC 9211 s2.3
#[tokio::test]
async fn the_status_of_the_origin_server_is_told_where_another_is_sent() {
    let mut edge = Edge::new();
    let part = [("range", "bytes=0-1"), ("cache-control", "no-cache")];
    for (asked, fields, printed) in [
        (&[("if-none-match", "\"1\"")][..], TAGGED, "fwd=uri-miss; fwd-status=200; ttl=60; stored"),
        (&part, TAGGED, "fwd=request; fwd-status=200; ttl=60; stored; detail=request-no-cache"),
        (
            &[("if-none-match", "\"1\""), ("cache-control", "no-store, no-cache")],
            TAGGED,
            "fwd=request; fwd-status=200; detail=request-no-store",
        ),
    ] {
        let client = edge.get("/", asked);
        edge.exchange().await.respond_whole(200, fields, "hello");
        assert_eq!(status(&answer(client).await).to_string(), format!("Seawall; {printed}"));
    }
}

#[tokio::test]
async fn a_304_that_confirms_something_else_is_asked_again() {
    let mut edge = with_stale(TAGGED).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(304, &[("etag", "\"other\"")], "");
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("if-none-match"));
    exchange.respond_whole(200, TAGGED, "new");
    assert_eq!(text(answer(client).await).await.unwrap(), "new");
}

#[tokio::test]
async fn a_stale_response_stands_in_for_a_failure() {
    let mut edge = with_stale(TAGGED).await;
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    exchange.fail();
    for client in clients {
        let response = answer(client).await;
        assert_eq!(status(&response).to_string(), "Seawall; fwd=stale; ttl=-40; detail=stale-if-error");
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    assert!(edge.is_idle());

    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(503, &[], "down");
    let printed = status(&answer(client).await).to_string();
    assert_eq!(printed, "Seawall; fwd=stale; fwd-status=503; ttl=-40; detail=stale-if-error");
}

/// RFC 9111 s5.1: an Age is made for what is stored.
#[tokio::test]
async fn an_answer_that_was_just_fetched_keeps_its_own_age() {
    for age in ["7", "007", "0, 7", "-7", "new"] {
        let mut edge = Edge::new();
        let client = edge.get("/", &[]);
        edge.exchange().await.respond_whole(200, &[("cache-control", "max-age=60"), ("age", age)], "hello");
        assert_eq!(answer(client).await.fields["age"], age);
        assert_ne!(edge.hit("/", &[]).fields["age"], "new");
    }
}

/// RFC 9111 s4.3.3, RFC 5861 s4
#[tokio::test]
async fn a_failure_that_may_be_stored_takes_no_place_of_what_still_answers() {
    let mut edge = Edge::new();
    edge.store("/", TAGGED, "hello").await;
    let lasting = &[("cache-control", "max-age=600")];
    // One client has what is fresh asked for anew.
    let client = edge.get("/", &[("cache-control", "no-cache")]);
    edge.exchange().await.respond_whole(500, lasting, "down");
    let response = answer(client).await;
    assert_eq!((response.status.as_u16(), status(&response).detail), (500, Some("error")));
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "hello");

    edge.clock.advance(Duration::from_secs(100));
    for _ in 0..2 {
        let client = edge.get("/", &[]);
        edge.exchange().await.respond_whole(503, lasting, "down");
        assert_eq!(text(answer(client).await).await.unwrap(), "hello");
    }
    // Nobody would be answered with it any more.
    edge.clock.advance(Duration::from_secs(48 * 3600));
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(503, lasting, "down");
    assert_eq!(text(answer(client).await).await.unwrap(), "down");
    assert_eq!(edge.hit("/", &[]).status, 503);
}

#[tokio::test]
async fn a_failure_is_told_where_stale_is_not_allowed() {
    let mut edge = with_stale(&[("cache-control", "max-age=60, must-revalidate"), ("etag", "\"1\"")]).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.fail();
    assert!(matches!(soon(client).await.unwrap(), Err(Failure::Fetch { .. })));
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once() {
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"1\"")];
    let mut edge = with_stale(fields).await;
    for _ in 0..3 {
        let response = edge.hit("/", &[]);
        assert_eq!(status(&response).to_string(), "Seawall; hit; ttl=-40");
    }
    let exchange = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    assert_eq!(exchange.req.fields["if-none-match"], "\"1\"");
    exchange.respond_whole(200, fields, "new");
    edge.settle().await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "new");
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_response_that_may_not_be_kept_ends_the_stale_one() {
    let mut edge = with_stale(TAGGED).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(404, &[("cache-control", "no-store")], "gone");
    assert_eq!(answer(client).await.status, StatusCode::NOT_FOUND);
    assert_eq!(edge.cache.usage().objects, 0);
}

#[tokio::test]
async fn an_unsafe_method_invalidates() {
    let mut edge = Edge::new();
    edge.store("/", TAGGED, "old").await;
    let running = edge.get("/running", &[]);
    let fill = edge.exchange().await;
    for path in ["/", "/running"] {
        let client = edge.clients.spawn(edge.ask(edge.request(Method::POST, path, &[])));
        edge.exchange().await.respond_whole(204, &[], "");
        assert_eq!(status(&answer(client).await).to_string(), "Seawall; fwd=method; detail=method");
    }
    assert_eq!(edge.metrics.invalidations.value(), 1);
    // What was asked for before the write is not kept after it.
    fill.respond_whole(200, TAGGED, "old");
    let old = answer(running).await;
    assert_eq!(status(&old).to_string(), "Seawall; fwd=uri-miss; ttl=60");
    assert_eq!(text(old).await.unwrap(), "old");
    for path in ["/", "/running"] {
        let client = edge.get(path, &[]);
        edge.exchange().await.respond_whole(200, TAGGED, "new");
        assert_eq!(text(answer(client).await).await.unwrap(), "new");
    }
}

#[tokio::test]
async fn a_failed_write_invalidates_nothing() {
    let mut edge = Edge::new();
    edge.store("/", TAGGED, "old").await;
    let client = edge.clients.spawn(edge.ask(edge.request(Method::POST, "/", &[])));
    edge.exchange().await.respond_whole(500, &[], "");
    answer(client).await;
    edge.hit("/", &[]);
}

#[tokio::test]
async fn a_head_may_freshen_what_a_get_stored() {
    let fields = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-length", "5")];
    let mut edge = with_stale(fields).await;
    let client = edge.clients.spawn(edge.ask(edge.request(Method::HEAD, "/", &[])));
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.method, Method::HEAD);
    exchange.respond_whole(200, fields, "");
    answer(client).await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_first_client_gets_what_is_for_it_alone() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[]);
    let fields = &[("cache-control", "max-age=60, no-cache=\"x-own\""), ("x-own", "1"), ("age", "7")];
    edge.exchange().await.respond_whole(200, fields, "hello");
    let response = answer(client).await;
    assert_eq!(
        (&response.fields["x-own"], &response.fields["age"]),
        (&"1".parse().unwrap(), &"7".parse().unwrap())
    );
}
