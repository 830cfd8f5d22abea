//! Stored responses in content codings that are made here.

use super::*;
use crate::cache::encode::decode;
use crate::fields::coding::Coding;
use crate::policy::CompressionRules;

const TEXT: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("content-type", "text/html"), ("etag", "\"1\"")];
const GZIP: (&str, &str) = ("accept-encoding", "gzip");

fn page() -> &'static str {
    static PAGE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PAGE.get_or_init(|| (0..500).map(|line| format!("<p>line {line} of a page</p>\n")).collect())
}

impl Edge {
    async fn asked(&self, path: &str, fields: &[(&'static str, &str)]) -> Response {
        *soon(self.ask(self.request(Method::GET, path, fields))).await.unwrap()
    }

    async fn with_page(fields: &[(&'static str, &str)]) -> Self {
        let mut edge = Self::new();
        edge.store("/", fields, page()).await;
        edge
    }
}

fn coding(response: &Response) -> Option<&str> {
    response.fields.get("content-encoding").map(|coding| coding.to_str().unwrap())
}

async fn content(response: Response) -> Bytes {
    soon(response.body.collect()).await.unwrap().to_bytes()
}

#[tokio::test]
async fn each_coding_is_made_when_it_is_first_asked_for_and_kept() {
    let edge = Edge::with_page(TEXT).await;
    for (at, (asked, expected)) in
        [("zstd, br, gzip", "zstd"), ("br, gzip", "br"), ("gzip, deflate", "gzip")].into_iter().enumerate()
    {
        let first = edge.asked("/", &[("accept-encoding", asked)]).await;
        assert_eq!(edge.metrics.encodings.value(), at as u64 + 1);
        assert_eq!(
            (coding(&first), &first.fields["vary"]),
            (Some(expected), &HeaderValue::from_static("Accept-Encoding"))
        );
        assert_eq!(first.fields["etag"], "W/\"1\"");
        assert!(status(&first).hit);
        let length = first.fields["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        let again = edge.hit("/", &[("accept-encoding", asked)]);
        assert_eq!((memory(&first), coding(&again)), (memory(&again), Some(expected)), "it is not copied");
        let bytes = content(first).await;
        assert_eq!(bytes.len(), length);
        assert!(length * 2 < page().len() && decode(&bytes, expected) == page().as_bytes());
    }
    edge.asked("/", &[GZIP]).await;
    assert_eq!(edge.metrics.encodings.value(), 3);
    assert!(edge.metrics.encoded_to_bytes.value() < edge.metrics.encoded_from_bytes.value());
}

#[tokio::test]
async fn who_takes_no_coding_gets_the_identity() {
    let edge = Edge::with_page(TEXT).await;
    edge.asked("/", &[GZIP]).await;
    for asked in [&[][..], &[("accept-encoding", "identity")], &[("accept-encoding", "gzip;q=0")]] {
        let response = edge.hit("/", asked);
        assert_eq!((coding(&response), &response.fields["etag"]), (None, &HeaderValue::from_static("\"1\"")));
        assert_eq!(response.fields["vary"], "Accept-Encoding");
        assert_eq!(text(response).await.unwrap(), page());
    }
    assert_eq!(edge.metrics.encodings.value(), 1);
}

#[tokio::test]
async fn the_first_response_streams_as_it_came_and_says_that_it_varies() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[GZIP]);
    let content = edge.exchange().await.respond(200, TEXT);
    let first = answer(client).await;
    let follower = answer(edge.get("/", &[GZIP])).await;
    for response in [&first, &follower] {
        assert_eq!(
            (coding(response), &response.fields["vary"]),
            (None, &HeaderValue::from_static("Accept-Encoding"))
        );
    }
    content.send(page()).await;
    drop(content);
    for response in [first, follower] {
        assert_eq!(text(response).await.unwrap(), page());
    }
    assert_eq!(coding(&edge.asked("/", &[GZIP]).await), Some("gzip"));
}

/// What is short, and there at once.
#[tokio::test]
async fn the_first_response_is_compressed_if_that_holds_up_nobody() {
    for streams in [false, true] {
        let mut edge = Edge::new();
        let length = page().len().to_string();
        let fields = [TEXT, &[("content-length", length.as_str()), ("set-cookie", "a=b")]].concat();
        edge.rules = Arc::new(CacheRules { ignore_cookies: true, ..CacheRules::default() });
        let client = edge.get("/", &[GZIP]);
        let exchange = edge.exchange().await;
        if streams {
            let content = exchange.respond(200, &fields);
            content.send(&page()[..100]).await;
            content.send(&page()[100..]).await;
        } else {
            exchange.respond_whole(200, &fields, page());
        }
        let first = answer(client).await;
        assert_eq!((coding(&first), status(&first).stored), (Some("gzip"), true));
        assert_eq!(first.fields["set-cookie"], "a=b", "it is this client's");
        assert_eq!(memory(&first), memory(&edge.hit("/", &[GZIP])));
        assert!(decode(&content(first).await, "gzip") == page().as_bytes());
        assert_eq!(edge.metrics.encodings.value(), 1);
    }
}

#[tokio::test]
async fn a_content_that_dawdles_is_sent_as_it_comes() {
    let mut edge = Edge::new();
    let length = page().len().to_string();
    let client = edge.get("/", &[GZIP]);
    let coming = edge.exchange().await.respond(200, &[TEXT, &[("content-length", length.as_str())]].concat());
    coming.send(&page()[..100]).await;
    let mut first = answer(client).await;
    assert_eq!((coding(&first), &first.fields["vary"]), (None, &HeaderValue::from_static("Accept-Encoding")));
    assert_eq!(chunk(&mut first).await.unwrap().unwrap(), page()[..100]);
    coming.send(&page()[100..]).await;
    drop(coming);
    assert_eq!(text(first).await.unwrap(), page()[100..]);
}

#[tokio::test]
async fn what_is_not_for_compression_is_left_alone() {
    let short = &page()[..1000];
    for (fields, body) in [
        (&[("cache-control", "max-age=60"), ("content-type", "image/png")][..], page()),
        (&[("cache-control", "max-age=60, no-transform"), TEXT[1]], page()),
        (TEXT, short),
    ] {
        let mut edge = Edge::new();
        edge.store("/", fields, body).await;
        let response = edge.hit("/", &[GZIP]);
        assert_eq!((coding(&response), response.fields.get("vary")), (None, None), "{fields:?}");
        assert_eq!(text(response).await.unwrap(), body);
    }
    let mut edge = Edge::with_page(TEXT).await;
    edge.rules = Arc::new(CacheRules { compression: None, ..CacheRules::default() });
    assert_eq!(edge.hit("/", &[GZIP]).fields.get("vary"), None);
    let rules = CompressionRules { codings: vec![Coding::Brotli], min: 0 };
    edge.rules = Arc::new(CacheRules { compression: Some(rules), ..CacheRules::default() });
    assert_eq!(coding(&edge.hit("/", &[GZIP])), None);
    assert_eq!(coding(&edge.asked("/", &[("accept-encoding", "gzip, br;q=0.1")]).await), Some("br"));
}

#[tokio::test]
async fn what_is_not_stored_is_never_compressed() {
    for fields in
        [&[("cache-control", "no-store"), TEXT[1]][..], &[TEXT[0], TEXT[1], ("set-cookie", "session=secret")]]
    {
        let mut edge = Edge::new();
        let client = edge.get("/", &[GZIP]);
        edge.exchange().await.respond_whole(200, fields, page());
        let response = answer(client).await;
        assert_eq!((coding(&response), response.fields.get("vary")), (None, None));
        assert_eq!(text(response).await.unwrap(), page());
        assert_eq!(edge.metrics.encodings.value(), 0);
    }
}

#[tokio::test]
async fn content_that_does_not_shrink_is_tried_once() {
    let mut edge = Edge::new();
    let body: Bytes = (0..4096).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let client = edge.get("/", &[]);
    let response = Exchange::response(200, TEXT, Body::Full(body.clone()));
    let _ = edge.exchange().await.answer.send(Ok(response));
    content(answer(client).await).await;
    for _ in 0..2 {
        let response = edge.asked("/", &[GZIP]).await;
        let is_identity = coding(&response).is_none();
        assert_eq!(content(response).await == body, is_identity);
    }
    assert_eq!(edge.metrics.encodings.value(), 1);
}

#[tokio::test]
async fn conditions_and_ranges_know_the_representation() {
    let edge = Edge::with_page(TEXT).await;
    let full = edge.asked("/", &[GZIP]).await;
    for (condition, expected) in [
        (("if-none-match", "W/\"1\""), 304),
        (("if-none-match", "\"1\""), 304),
        (("if-none-match", "\"2\""), 200),
    ] {
        let response = edge.hit("/", &[GZIP, condition]);
        assert_eq!(response.status.as_u16(), expected);
        assert_eq!(
            (&response.fields["etag"], &response.fields["vary"]),
            (&full.fields["etag"], &full.fields["vary"])
        );
    }
    // Parts are of the identity, whose tag is strong.
    let part = edge.hit("/", &[GZIP, ("range", "bytes=3-5"), ("if-range", "\"1\"")]);
    assert_eq!((part.status, coding(&part)), (StatusCode::PARTIAL_CONTENT, None));
    assert_eq!(part.fields["vary"], "Accept-Encoding");
    assert_eq!(text(part).await.unwrap(), page()[3..6]);
    let head = soon(edge.ask(edge.request(Method::HEAD, "/", &[GZIP]))).await.unwrap();
    for name in ["content-encoding", "content-length", "etag", "vary"] {
        assert_eq!(head.fields[name], full.fields[name]);
    }
    assert_eq!(edge.metrics.encodings.value(), 1);
}

/// One makes it; nobody else waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_makes_it_once() {
    let edge = Edge::with_page(TEXT).await;
    let clients: Vec<_> = (0..100).map(|_| edge.get("/", &[GZIP])).collect();
    let mut encoded = 0;
    for client in clients {
        let response = answer(client).await;
        let coding = coding(&response).map(str::to_owned);
        let bytes = content(response).await;
        match coding {
            Some(coding) => {
                encoded += 1;
                assert!(decode(&bytes, &coding) == page().as_bytes());
            }
            None => assert!(bytes == page()),
        }
    }
    assert!(encoded > 0);
    assert_eq!(edge.metrics.encodings.value(), 1);
}

#[tokio::test]
async fn it_is_weighed_stays_when_it_is_confirmed_and_goes_with_the_content() {
    let mut edge = Edge::with_page(TEXT).await;
    edge.settle().await;
    let before = edge.cache.usage().bytes;
    let encoded = edge.asked("/", &[GZIP]).await;
    let length = encoded.fields["content-length"].to_str().unwrap().parse::<u64>().unwrap();
    edge.cache.store.memory.settle().await;
    assert!(edge.cache.usage().bytes >= before + length);
    assert_eq!(edge.cache.usage().bytes, edge.cache.store.memory.added_up());

    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[GZIP]);
    edge.exchange().await.respond_whole(304, TEXT, "");
    answer(client).await;
    assert_eq!(memory(&edge.hit("/", &[GZIP])), memory(&encoded), "the content is the same");

    edge.cache.purge(crate::cache::Purge::everything()).await.unwrap();
    assert_eq!(edge.cache.usage().objects, 0);
    edge.store("/", TEXT, "new").await;
    assert_eq!(text(edge.hit("/", &[GZIP])).await.unwrap(), "new");
}

/// RFC 9110 s12.5.3: what the origin server encodes is its own affair.
#[tokio::test]
async fn what_comes_encoded_passes_through() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[GZIP]);
    edge.exchange().await.respond_whole(200, &[TEXT[0], TEXT[1], ("content-encoding", "gzip")], page());
    assert_eq!(text(answer(client).await).await.unwrap(), page());
    let response = edge.hit("/", &[("accept-encoding", "gzip, br, zstd")]);
    assert_eq!((coding(&response), response.fields.get("vary")), (Some("gzip"), None));
    assert_eq!(edge.metrics.encodings.value(), 0);
}

/// What is validated each time would never be compressed otherwise.
#[tokio::test]
async fn what_is_confirmed_is_answered_in_a_coding() {
    let no_cache = [("cache-control", "no-cache"), TEXT[1], TEXT[2]];
    for fields in [TEXT, &no_cache] {
        let mut edge = Edge::with_page(fields).await;
        edge.clock.advance(Duration::from_secs(100));
        for _ in 0..2 {
            let client = edge.get("/", &[GZIP]);
            edge.exchange().await.respond_whole(304, fields, "");
            let response = answer(client).await;
            assert_eq!(
                (coding(&response), response.fields["etag"].as_bytes()),
                (Some("gzip"), &b"W/\"1\""[..])
            );
            assert_eq!(status(&response).fwd_status, Some(304));
            edge.clock.advance(Duration::from_secs(100));
        }
        assert_eq!(edge.metrics.encodings.value(), 1);
        let client = edge.get("/", &[]);
        edge.exchange().await.respond_whole(304, fields, "");
        let response = answer(client).await;
        assert_eq!(
            (coding(&response), &response.fields["vary"]),
            (None, &HeaderValue::from_static("Accept-Encoding"))
        );
    }
}

#[tokio::test]
async fn a_304_has_the_tag_of_what_the_client_gets() {
    let weak = ("if-none-match", "W/\"1\"");
    let long: &'static str = Box::leak(page().repeat(60).into_boxed_str());
    for (asked, expected) in [(&[GZIP, weak][..], "W/\"1\""), (&[weak], "\"1\"")] {
        let mut edge = Edge::new();
        // Nobody waits for the coding of so much.
        edge.store("/", TEXT, long).await;
        for _ in 0..2 {
            let response = edge.asked("/", asked).await;
            assert_eq!(
                (response.status, &response.fields["etag"]),
                (StatusCode::NOT_MODIFIED, &HeaderValue::from_static(expected))
            );
            edge.settle().await;
        }
        edge.clock.advance(Duration::from_secs(100));
        let client = edge.get("/", asked);
        edge.exchange().await.respond_whole(304, TEXT, "");
        assert_eq!(answer(client).await.fields["etag"], expected);
    }
}

#[tokio::test]
async fn codings_that_are_made_at_a_time_are_all_kept() {
    use crate::cache::encode::Made;
    let edge = Edge::with_page(TEXT).await;
    let key = Cache::key(&edge.request(Method::GET, "/", &[]).target);
    let memory = &edge.cache.store.memory;
    let plain = Arc::clone(&memory.look_again(&key).await.unwrap().responses()[0]);
    for coding in [Coding::Gzip, Coding::Brotli] {
        memory.add_encoded(&key, &plain, coding, &Made::NotShorter).await;
    }
    let kept = Arc::clone(&memory.look_again(&key).await.unwrap().responses()[0]);
    assert!([Coding::Gzip, Coding::Brotli].iter().all(|coding| kept.encoded(*coding).is_some()));
}
