//! Parts that origin servers answer ranges with: what is kept of them, what
//! they answer, and what becomes of several (RFC 9111 s3.3, s3.4).

use super::*;
use crate::fields::cache_status::ForwardReason;

const WHOLE: &str = "0123456789";

impl Edge {
    /// Asks for a range that has to be fetched, and answers with that of
    /// [`WHOLE`], under these fields.
    async fn part(&mut self, range: (usize, usize), fields: &[(&'static str, &str)]) -> Response {
        let (first, last) = range;
        let asked = format!("bytes={first}-{last}");
        let client = self.get("/", &[("range", &asked)]);
        let exchange = self.exchange().await;
        assert_eq!(exchange.req.fields["range"], asked.as_str());
        let range = format!("bytes {first}-{last}/10");
        let fields = [&[("content-range", &*range), ("cache-control", "max-age=60")], fields].concat();
        exchange.respond_whole(206, &fields, &WHOLE[first..=last]);
        let response = answer(client).await;
        assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
        response
    }

    /// What a range is answered with that is stored.
    async fn stored_part(&self, range: &str) -> (String, String) {
        let response = self.hit("/", &[("range", range)]);
        assert_eq!((response.status, status(&response).hit), (StatusCode::PARTIAL_CONTENT, true));
        let lies = response.fields["content-range"].to_str().unwrap().to_owned();
        let length = response.fields["content-length"].to_str().unwrap().to_owned();
        let text = text(response).await.unwrap();
        assert_eq!(length, text.len().to_string());
        (lies, text)
    }
}

const TAG: (&str, &str) = ("etag", "\"1\"");

fn lies(range: &str, text: &str) -> (String, String) {
    (range.to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_part_is_kept_and_answers_what_lies_in_it() {
    let mut edge = Edge::new();
    let first = edge.part((4, 9), &[]).await;
    assert!(status(&first).stored);
    assert_eq!(first.fields["content-range"], "bytes 4-9/10");
    assert_eq!(text(first).await.unwrap(), "456789");
    for (range, expected) in [
        ("bytes=4-9", lies("bytes 4-9/10", "456789")),
        ("bytes=6-8", lies("bytes 6-8/10", "678")),
        ("bytes=6-", lies("bytes 6-9/10", "6789")),
        ("bytes=-1", lies("bytes 9-9/10", "9")),
        ("bytes=8-20", lies("bytes 8-9/10", "89")),
    ] {
        assert_eq!(edge.stored_part(range).await, expected, "{range}");
    }
    assert_eq!(edge.metrics.fills.value(), 1);
}

#[tokio::test]
async fn a_part_is_nobodys_whole() {
    let mut edge = Edge::new();
    edge.part((4, 9), &[]).await;
    let client = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    exchange.respond_whole(200, &[("cache-control", "max-age=60")], WHOLE);
    let response = answer(client).await;
    assert_eq!(status(&response).fwd, Some(ForwardReason::Partial));
    assert_eq!((response.status, text(response).await.unwrap().as_str()), (StatusCode::OK, WHOLE));
    // The whole has taken its place.
    assert_eq!(edge.cache.usage().objects, 1);
    assert_eq!(edge.stored_part("bytes=1-2").await, lies("bytes 1-2/10", "12"));
    let client = edge.clients.spawn(edge.ask(edge.request(Method::HEAD, "/other", &[])));
    edge.exchange().await.respond_whole(200, &[], "");
    answer(client).await;
}

#[tokio::test]
async fn a_part_that_comes_late_leaves_the_whole_where_it_is() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("range", "bytes=0-1")]);
    let late = edge.exchange().await;
    edge.store("/", &[TAG, ("cache-control", "max-age=60")], WHOLE).await;
    let fields = [TAG, ("content-range", "bytes 0-1/10"), ("cache-control", "max-age=60")];
    late.respond_whole(206, &fields, "01");
    assert_eq!(text(answer(client).await).await.unwrap(), "01");
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), WHOLE);
}

#[tokio::test]
async fn parts_of_one_representation_become_the_whole() {
    let mut edge = Edge::new();
    edge.part((0, 2), &[TAG]).await;
    edge.part((7, 9), &[TAG]).await;
    assert_eq!(edge.cache.usage().objects, 2, "there is a gap");
    assert_eq!(edge.stored_part("bytes=1-2").await.1, "12");
    assert_eq!(edge.stored_part("bytes=-2").await.1, "89");
    edge.part((2, 4), &[TAG]).await;
    assert_eq!(edge.stored_part("bytes=0-4").await.1, "01234");
    edge.part((5, 6), &[TAG, ("x", "newest")]).await;
    let whole = edge.hit("/", &[]);
    assert_eq!((whole.status, &whole.fields["x"]), (StatusCode::OK, &HeaderValue::from_static("newest")));
    assert!(!whole.fields.contains_key("content-range"));
    assert_eq!(whole.fields["content-length"], "10");
    assert_eq!(text(whole).await.unwrap(), WHOLE);
    assert_eq!(edge.cache.usage().objects, 1);
}

#[tokio::test]
async fn parts_without_a_strong_validator_never_meet() {
    for fields in [&[][..], &[("etag", "W/\"1\"")]] {
        let mut edge = Edge::new();
        edge.part((0, 4), fields).await;
        edge.part((5, 9), fields).await;
        assert_eq!(edge.cache.usage().objects, 1, "the newer one has taken its place");
        assert_eq!(edge.stored_part("bytes=5-9").await.1, "56789");
        edge.get("/", &[("range", "bytes=3-6")]);
        edge.exchange().await;
    }
}

#[tokio::test]
async fn parts_of_another_representation_take_the_place_of_the_old_ones() {
    let mut edge = Edge::new();
    edge.part((0, 2), &[TAG]).await;
    edge.part((3, 5), &[("etag", "\"2\"")]).await;
    assert_eq!(edge.cache.usage().objects, 1);
    edge.part((0, 2), &[("etag", "\"2\"")]).await;
    assert_eq!(edge.stored_part("bytes=0-5").await.1, "012345");
}

#[tokio::test]
async fn a_stale_part_is_asked_for_again() {
    let mut edge = Edge::new();
    edge.part((4, 9), &[TAG]).await;
    edge.clock.advance(Duration::from_secs(100));
    let response = edge.part((5, 6), &[TAG]).await;
    assert_eq!(status(&response).fwd, Some(ForwardReason::Stale));
    let client = edge.get("/", &[("range", "bytes=5-6"), ("cache-control", "no-cache")]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("if-none-match"));
    exchange.fail();
    assert!(soon(client).await.unwrap().is_err());
}

#[tokio::test]
async fn a_stale_part_stands_in_for_an_origin_server_that_fails() {
    let mut edge = Edge::new();
    edge.part((4, 9), &[TAG]).await;
    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[("range", "bytes=5-6")]);
    edge.exchange().await.fail();
    let response = answer(client).await;
    assert_eq!(status(&response).detail, Some("stale-if-error"));
    assert_eq!(
        (response.status, text(response).await.unwrap().as_str()),
        (StatusCode::PARTIAL_CONTENT, "56")
    );
}

#[tokio::test]
async fn the_whole_in_answer_to_a_range_is_kept_as_the_whole() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("range", "bytes=1-2")]);
    edge.exchange().await.respond_whole(200, &[("cache-control", "max-age=60")], WHOLE);
    let response = answer(client).await;
    assert_eq!(
        (response.status, text(response).await.unwrap().as_str()),
        (StatusCode::PARTIAL_CONTENT, "12")
    );
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), WHOLE);
}

#[tokio::test]
async fn what_answers_the_range_only_is_not_kept() {
    for (asked, code, fields) in [
        (&[("range", "bytes=50-60")][..], 416, &[("content-range", "bytes */10")][..]),
        (&[("range", "bytes=1-2")], 404, &[]),
        (&[("range", "bytes=1-2")], 206, &[]),
        (&[("range", "bytes=1-2")], 206, &[("content-range", "bytes 1-2/*")]),
        (&[("range", "bytes=1-2")], 206, &[("content-range", "bytes 1-3/10"), ("content-length", "4")]),
        (&[("range", "bytes=1-2"), ("if-range", "\"1\"")], 206, &[("content-range", "bytes 1-2/10")]),
        (&[], 206, &[("content-range", "bytes 1-2/10")]),
    ] {
        let mut edge = Edge::new();
        let client = edge.get("/", asked);
        let fields = [&[("cache-control", "max-age=60")], fields].concat();
        edge.exchange().await.respond_whole(code, &fields, "12");
        assert_eq!(answer(client).await.status.as_u16(), code, "{asked:?}");
        assert_eq!(edge.cache.usage().objects, 0, "{asked:?} {code} {fields:?}");
        if asked.is_empty() {
            continue;
        }
        // Nor does it keep others from waiting for one another.
        let clients = [edge.get("/", &[]), edge.get("/", &[])];
        edge.exchange().await.respond_whole(200, &[("cache-control", "max-age=60")], WHOLE);
        for client in clients {
            assert_eq!(text(answer(client).await).await.unwrap(), WHOLE);
        }
    }
}

#[tokio::test]
async fn content_that_ends_before_its_range_is_kept_as_what_it_is() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("range", "bytes=-5")]);
    let fields =
        [("cache-control", "max-age=60"), ("content-range", "bytes 4-9/10"), ("content-length", "5")];
    edge.exchange().await.respond_whole(206, &fields, "abcde");
    assert_eq!(text(answer(client).await).await.unwrap(), "abcde");
    assert_eq!(edge.stored_part("bytes=-1").await, lies("bytes 8-8/9", "e"));
    assert_eq!(edge.stored_part("bytes=5-6").await, lies("bytes 5-6/9", "bc"));
}

#[tokio::test]
async fn a_part_that_is_cut_is_not_kept() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("range", "bytes=4-9")]);
    let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 4-9/10")];
    let content = edge.exchange().await.respond(206, &fields);
    content.send("456").await;
    let response = answer(client).await;
    content.cut().await;
    assert!(text(response).await.is_err());
    edge.settle().await;
    assert_eq!(edge.cache.usage().objects, 0);
}

#[tokio::test]
async fn a_part_streams_and_is_kept_though_its_client_leaves() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("range", "bytes=4-9")]);
    let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 4-9/10")];
    let content = edge.exchange().await.respond(206, &fields);
    content.send("456").await;
    let mut response = answer(client).await;
    assert_eq!(chunk(&mut response).await.unwrap().unwrap(), "456");
    drop(response);
    content.send("789").await;
    drop(content);
    edge.settle().await;
    assert_eq!(edge.stored_part("bytes=7-8").await.1, "78");
}

#[tokio::test]
async fn a_write_or_a_purge_is_for_parts_too() {
    for purges in [false, true] {
        let mut edge = Edge::new();
        edge.part((0, 4), &[TAG]).await;
        let late = edge.get("/", &[("range", "bytes=5-9")]);
        let exchange = edge.exchange().await;
        if purges {
            let key = Cache::key(&edge.request(Method::GET, "/", &[]).target);
            edge.cache.purge(crate::cache::Purge::keys(vec![key]).unwrap()).await.unwrap();
        } else {
            let write = edge.clients.spawn(edge.ask(edge.request(Method::PUT, "/", &[])));
            edge.exchange().await.respond_whole(204, &[], "");
            answer(write).await;
        }
        let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 5-9/10"), TAG];
        exchange.respond_whole(206, &fields, "56789");
        assert_eq!(text(answer(late).await).await.unwrap(), "56789");
        edge.settle().await;
        assert_eq!(edge.cache.usage().objects, 0, "{purges}");
    }
}

/// RFC 9110 s8.8.2.2: a date that was as old as the response is a weak one.
#[tokio::test]
async fn what_a_weak_date_names_is_not_put_together() {
    let mut edge = Edge::new();
    let modified = ("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT");
    for (asked, range, date, content) in [
        ("bytes=0-4", "bytes 0-4/10", "Fri, 15 Jan 2027 08:00:00 GMT", "AAAAA"),
        ("bytes=5-9", "bytes 5-9/10", "Fri, 15 Jan 2027 08:00:10 GMT", "bbbbb"),
    ] {
        let client = edge.get("/", &[("range", asked)]);
        let fields = [("content-range", range), ("cache-control", "max-age=600"), modified, ("date", date)];
        edge.exchange().await.respond_whole(206, &fields, content);
        answer(client).await;
        edge.clock.advance(Duration::from_secs(10));
    }
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, &[], "bbbbbbbbbb");
    assert_eq!(text(answer(client).await).await.unwrap(), "bbbbbbbbbb");
}

#[tokio::test]
async fn parts_that_end_out_of_order_are_put_together() {
    let mut edge = Edge::new();
    let one = edge.get("/", &[("range", "bytes=0-4")]);
    let fields = [("content-range", "bytes 0-4/10"), ("cache-control", "max-age=60"), ("foo", "older"), TAG];
    let slow = edge.exchange().await.respond(206, &fields);
    let one = answer(one).await;
    edge.clock.advance(Duration::from_secs(1));
    edge.part((5, 9), &[("foo", "newer"), TAG]).await;
    slow.send("01234").await;
    drop(slow);
    assert_eq!(text(one).await.unwrap(), "01234");
    edge.settle().await;
    let whole = edge.hit("/", &[]);
    assert_eq!(whole.fields["foo"], "newer");
    assert_eq!(text(whole).await.unwrap(), WHOLE);
}

/// RFC 9530 s2
#[tokio::test]
async fn a_digest_of_the_content_goes_with_that_content_only() {
    let digest = |response: &Response| response.fields.contains_key("content-digest");
    let mut edge = Edge::new();
    edge.part((0, 4), &[TAG, ("content-digest", "sha-256=:one:")]).await;
    assert!(digest(&edge.hit("/", &[("range", "bytes=0-4")])));
    assert!(!digest(&edge.hit("/", &[("range", "bytes=1-2")])));
    edge.part((5, 9), &[TAG, ("content-digest", "sha-256=:two:"), ("repr-digest", "sha-256=:all:")]).await;
    let whole = edge.hit("/", &[]);
    assert_eq!((whole.status, digest(&whole)), (StatusCode::OK, false));
    assert_eq!(whole.fields["repr-digest"], "sha-256=:all:");
    let stored = [("cache-control", "max-age=60"), ("content-digest", "sha-256=:all:")];
    edge.store("/whole", &stored, WHOLE).await;
    assert!(digest(&edge.hit("/whole", &[])));
    for range in ["bytes=1-2", "bytes=1-2, 5-6"] {
        assert!(!digest(&edge.hit("/whole", &[("range", range)])), "{range}");
    }
}

#[tokio::test]
async fn what_is_put_together_stays_within_the_budget_of_fills() {
    let mut edge = Edge::new();
    edge.part((0, 4), &[TAG]).await;
    let mut others = edge.cache.budget.share();
    while others.grow(1 << 20) {}
    while others.grow(1) {}
    others.shrink(9);
    edge.part((5, 9), &[TAG]).await;
    let key = Cache::key(&edge.request(Method::GET, "/", &[]).target);
    let kept = edge.cache.store.memory.look_again(&key).await.unwrap();
    assert_eq!(kept.responses().len(), 2, "parts of ten bytes together");
    drop((others, kept));
    edge.part((4, 6), &[TAG]).await;
    assert_eq!(edge.stored_part("bytes=0-9").await.1, WHOLE);
    assert_eq!(edge.cache.budget.taken(), 0);
}

/// Where what is put together with it is not worth a copy, or there is no room for one.
#[tokio::test]
async fn a_short_part_does_not_take_the_place_of_a_longer_one() {
    let mut edge = Edge::new();
    edge.part((0, 6), &[TAG]).await;
    let mut others = edge.cache.budget.share();
    while others.grow(1 << 20) {}
    while others.grow(1) {}
    others.shrink(9);
    edge.part((5, 8), &[TAG]).await;
    assert_eq!(edge.stored_part("bytes=0-6").await.1, "0123456");
    edge.part((1, 9), &[TAG]).await;
    assert_eq!(edge.stored_part("bytes=1-9").await.1, "123456789");
}

#[tokio::test]
async fn what_is_put_together_is_no_larger_than_the_route_keeps() {
    let mut edge = Edge::new();
    edge.rules = Arc::new(CacheRules { max_object: 8, ..CacheRules::default() });
    edge.part((0, 4), &[TAG]).await;
    edge.part((5, 9), &[TAG]).await;
    let key = Cache::key(&edge.request(Method::GET, "/", &[]).target);
    let kept = edge.cache.store.memory.look_again(&key).await.unwrap();
    assert!(kept.responses().iter().all(|kept| kept.head.part().is_some()), "{kept:?}");
}
