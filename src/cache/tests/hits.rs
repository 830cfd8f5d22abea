//! What is answered from memory.

use super::*;
use crate::cache::store::StoredBody;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

#[tokio::test]
async fn a_hit_is_there_at_once_and_shares_the_memory() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    edge.clock.advance(Duration::from_secs(10));
    let (one, other) = (edge.hit("/", &[]), edge.hit("/", &[]));
    assert_eq!(memory(&one), memory(&other));
    let key = Cache::key(&edge.request(Method::GET, "/", &[]).target);
    let kept = edge.cache.store.memory.look(key.as_bytes()).unwrap();
    let StoredBody::Memory(stored) = &kept.responses()[0].body else { panic!() };
    assert_eq!(memory(&one), stored.as_ptr(), "no byte of it is copied");
    let part = edge.hit("/", &[("range", "bytes=2-3")]);
    assert_eq!(memory(&part), stored[2..].as_ptr(), "nor of a part");
    assert_eq!(one.fields["age"], "10");
    assert_eq!(status(&one).to_string(), "Seawall; hit; ttl=50");
    assert_eq!(text(one).await.unwrap(), "hello");
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_slice_of_a_read_buffer_is_not_kept_alive() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[]);
    let buffer = Bytes::from(vec![b'x'; 8192]);
    let received = edge.exchange().await;
    let body = Body::Full(buffer.slice(..5));
    let _ = received.answer.send(Ok(Exchange::response(200, FRESH, body)));
    answer(client).await;
    assert_ne!(memory(&edge.hit("/", &[])), buffer.as_ptr());
    assert!(buffer.is_unique());
}

#[tokio::test]
async fn a_head_is_answered_from_a_get() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    match edge.ask(edge.request(Method::HEAD, "/", &[])) {
        Handling::Ready(Some(Ok(response))) => {
            assert_eq!(response.fields["content-length"], "5");
            assert!(response.body.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn preconditions_and_ranges_are_answered_from_memory() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    let known = edge.hit("/", &[("if-none-match", "\"1\"")]);
    assert_eq!((known.status, known.body.is_empty()), (StatusCode::NOT_MODIFIED, true));
    let part = edge.hit("/", &[("range", "bytes=1-3")]);
    assert_eq!(
        (part.status, &part.fields["content-range"]),
        (StatusCode::PARTIAL_CONTENT, &"bytes 1-3/5".parse().unwrap())
    );
    assert_eq!(text(part).await.unwrap(), "ell");
    let beyond = edge.hit("/", &[("range", "bytes=7-")]);
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.fields["content-range"], "bytes */5");
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let mut edge = Edge::new();
    let handling = edge.ask(edge.request(Method::GET, "/", &[("cache-control", "only-if-cached")]));
    assert!(matches!(handling, Handling::Ready(Some(Err(Failure::OnlyIfCached)))));
    edge.store("/", FRESH, "hello").await;
    edge.hit("/", &[("cache-control", "only-if-cached")]);
    assert!(edge.is_idle());
}

#[tokio::test]
async fn variants_are_kept_beside_each_other() {
    let mut edge = Edge::new();
    let fields = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let languages = ["de", "en", "fr"];
    // All of them run at the same time, and each follower finds that the others are not for it.
    let clients = languages.map(|language| edge.get("/", &[("accept-language", language)]));
    for _ in languages {
        let exchange = edge.exchange().await;
        match exchange.req.fields["accept-language"].to_str().unwrap() {
            "de" => exchange.respond_whole(200, fields, "de"),
            "en" => exchange.respond_whole(200, fields, "en"),
            _ => exchange.respond_whole(200, fields, "fr"),
        }
    }
    for client in clients {
        answer(client).await;
    }
    for language in languages {
        assert_eq!(text(edge.hit("/", &[("accept-language", language)])).await.unwrap(), language);
    }
    assert!(edge.is_idle());
    assert_eq!(edge.cache.usage().objects, 3);
}

#[tokio::test]
async fn a_purge_forgets_everything() {
    let mut edge = Edge::new();
    edge.store("/1", FRESH, "one").await;
    edge.store("/2", FRESH, "two").await;
    assert_eq!(edge.cache.usage().objects, 2);
    let running = edge.get("/3", &[]);
    let exchange = edge.exchange().await;
    assert_eq!(edge.cache.clear().memory, 2);
    exchange.respond_whole(200, FRESH, "three");
    answer(running).await;
    for path in ["/1", "/2", "/3"] {
        let client = edge.get(path, &[]);
        edge.exchange().await.respond_whole(200, FRESH, "new");
        assert_eq!(text(answer(client).await).await.unwrap(), "new");
    }
}

#[tokio::test]
async fn a_small_response_costs_little_more_than_its_content() {
    let mut edge = Edge::new();
    let fields = [
        ("server", "nginx/1.22.1"),
        ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "4096"),
        ("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT"),
        ("etag", "\"2ebc9a01-1000\""),
        ("cache-control", "public, max-age=3600"),
        ("via", "1.1 seawall"),
    ];
    let client = edge.get("/objects/12345.html", &[]);
    let body = Body::Full(Bytes::from(vec![0; 4 << 10]));
    let _ = edge.exchange().await.answer.send(Ok(Exchange::response(200, &fields, body)));
    answer(client).await;
    let bytes = edge.cache.usage().bytes;
    assert!((4 << 10..=5200).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn memory_is_bounded_and_counted() {
    let mut edge = Edge::sized(64 << 10, 8 << 10);
    for number in 0..200 {
        let client = edge.get(&format!("/{number}"), &[]);
        let body = Body::Full(Bytes::from(vec![0; 4 << 10]));
        let _ = edge.exchange().await.answer.send(Ok(Exchange::response(200, FRESH, body)));
        answer(client).await;
    }
    edge.cache.store.memory.settle().await;
    let usage = edge.cache.usage();
    assert!((1..=15).contains(&usage.objects), "{usage:?}");
    assert!(usage.bytes <= usage.capacity, "{usage:?}");
    assert_eq!(edge.metrics.evictions.value() + usage.objects, 200);
}

/// A response for which an origin server is asked if it is not stored; says
/// whether it was.
async fn is_hit(edge: &mut Edge, path: &str) -> bool {
    match edge.ask(edge.request(Method::GET, path, &[])) {
        Handling::Ready(Some(Ok(_))) => true,
        handling => {
            let client = edge.clients.spawn(handling);
            let body = Body::Full(Bytes::from(vec![0; 4 << 10]));
            let _ = edge.exchange().await.answer.send(Ok(Exchange::response(200, FRESH, body)));
            answer(client).await;
            false
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_again_and_again_stays_while_others_pass() {
    // Room for a hundred.
    let mut edge = Edge::sized(100 * (5 << 10), 64 << 10);
    let hot: Vec<String> = (0..60).map(|number| format!("/hot/{number}")).collect();
    for _ in 0..5 {
        for path in &hot {
            is_hit(&mut edge, path).await;
        }
    }
    // Between two requests for one of them there are 600 for others, each once:
    // who keeps what was used last has none of them any more.
    let (mut hits, mut asked) = (0, 0);
    for (number, path) in hot.iter().cycle().take(300).enumerate() {
        for passing in 0..10 {
            assert!(!is_hit(&mut edge, &format!("/passing/{number}/{passing}")).await);
        }
        hits += u32::from(is_hit(&mut edge, path).await);
        asked += 1;
    }
    assert!(hits * 100 >= asked * 90, "{hits} of {asked}");
}

#[tokio::test]
async fn room_is_made_where_moka_lost_count() {
    let mut edge = Edge::new();
    for path in ["/1", "/2", "/3"] {
        edge.store(path, FRESH, "hello").await;
    }
    let lost = i64::try_from(edge.cache.usage().capacity / 8 * 9).unwrap();
    edge.metrics.cache_bytes.add(lost);
    edge.store("/4", FRESH, "hello").await;
    edge.metrics.cache_bytes.add(-lost);
    edge.cache.store.memory.settle().await;
    assert_eq!((edge.cache.usage().bytes, edge.cache.usage().objects), (0, 0));
}

#[tokio::test]
async fn what_goes_past_is_forwarded_as_it_is_and_named() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "hello").await;
    let mut content = edge.request(Method::GET, "/", &[("if-none-match", "\"x\"")]);
    content.body = Body::Full(Bytes::from_static(b"q"));
    let mut upgrade = edge.request(Method::GET, "/", &[("if-none-match", "\"x\"")]);
    upgrade.upgrade = Some(HeaderValue::from_static("websocket"));
    for (req, detail) in [(content, "content"), (upgrade, "upgrade")] {
        let client = edge.clients.spawn(edge.ask(req));
        let exchange = edge.exchange().await;
        assert_eq!(exchange.req.fields["if-none-match"], "\"x\"");
        exchange.respond_whole(200, FRESH, "past");
        assert_eq!(
            status(&answer(client).await).to_string(),
            format!("Seawall; fwd=bypass; detail={detail}")
        );
    }
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "hello");
}
