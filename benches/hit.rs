//! What a hit costs from the router to the head of the response: lookup, policy
//! and delivery, without sockets, TLS and HTTP parsing.

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use seawall::base::{Clock, SystemClock, Tasks};
use seawall::cache::Cache;
use seawall::config;
use seawall::exchange::{
    Answer, Body, ConnectionInfo, Facts, FetchError, Handler, Host, Origin, Request, RequestId, Response,
    Scheme, Target,
};
use seawall::router::Router;
use seawall::telemetry::Metrics;

/// An origin server whose every response may be stored for a day.
#[derive(Debug)]
struct Always(Bytes);

impl Origin for Always {
    fn fetch(self: Arc<Self>, _: Request) -> BoxFuture<'static, Result<Response, FetchError>> {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            (header::CACHE_CONTROL, "public, max-age=86400"),
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::ETAG, "\"33a64df551425fcc\""),
            (header::LAST_MODIFIED, "Sun, 01 Nov 2026 00:00:00 GMT"),
            (header::VARY, "Accept-Encoding"),
            (header::VIA, "1.1 seawall"),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        fields.insert(header::CONTENT_LENGTH, self.0.len().into());
        let body = Body::Full(self.0.clone());
        let res = Response { status: StatusCode::OK, fields, body, facts: Facts::default(), tunnel: None };
        std::future::ready(Ok(res)).boxed()
    }
}

struct Edge {
    router: Router,
    clock: Arc<dyn Clock>,
    connection: Arc<ConnectionInfo>,
}

impl Edge {
    fn new(length: usize) -> Self {
        let text = "[cache]\nmemory = \"256MiB\"\n[site.\"bench.test\"]\norigins = [\"127.0.0.1:1\"]\n";
        let config = config::parse("bench", text, Path::new("")).expect("a config").config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::default());
        let cache = Cache::new(&config.cache, Arc::clone(&clock), &Tasks::new(), Arc::clone(&metrics));
        let origin: Arc<dyn Origin> = Arc::new(Always(vec![b'x'; length].into()));
        let origins: BTreeMap<_, _> =
            config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&origin))).collect();
        let address = "127.0.0.1:443".parse().expect("an address");
        let connection = ConnectionInfo { peer: address, local: address, scheme: Scheme::Https, tls: None };
        let router = Router::new(&config, &origins, cache, &metrics);
        Self { router, clock, connection: Arc::new(connection) }
    }

    fn request(&self, fields: &HeaderMap) -> Request {
        Request {
            method: Method::GET,
            target: Target {
                scheme: Scheme::Https,
                host: Host::parse(&HeaderValue::from_static("bench.test"), Scheme::Https).expect("a host"),
                path_and_query: http::uri::PathAndQuery::from_static("/assets/style.css?v=12"),
            },
            fields: fields.clone(),
            body: Body::Empty,
            upgrade: None,
            client: self.connection.peer.ip(),
            trusted: false,
            protocol: seawall::exchange::Protocol::Http11,
            id: RequestId(1),
            connection: Arc::clone(&self.connection),
            received: self.clock.now(),
            received_wall: self.clock.wall(),
        }
    }
}

/// What a browser sends with a request for a style sheet.
fn browser() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (header::ACCEPT, "text/css,*/*;q=0.1"),
        (header::ACCEPT_LANGUAGE, "en-US,en;q=0.5"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (header::REFERER, "https://bench.test/"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields
}

fn hits(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    for (name, length) in [("hit/1KiB", 1 << 10), ("hit/100KiB", 100 << 10)] {
        let edge = Edge::new(length);
        let plain = browser();
        let stored = |answer: Answer| {
            let res = answer.result.expect("a response");
            assert!(res.facts.cache.is_some_and(|cache| cache.hit), "{:?}", res.facts);
            res
        };
        let first = runtime.block_on(edge.router.handle(edge.request(&plain))).result.expect("a response");
        runtime.block_on(http_body_util::BodyExt::collect(first.body)).expect("the content");
        // The first hit has it compressed.
        runtime.block_on(edge.router.handle(edge.request(&plain))).result.expect("a response");
        bench.bench_function(name, |bench| {
            bench.iter(|| {
                let answer = edge.router.handle(edge.request(&plain)).now_or_never();
                stored(answer.expect("a hit is there at once"))
            });
        });
        let mut conditional = browser();
        conditional.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"33a64df551425fcc\""));
        bench.bench_function(&format!("{name}/304"), |bench| {
            bench.iter(|| {
                let answer = edge.router.handle(edge.request(&conditional)).now_or_never();
                let res = stored(answer.expect("a hit is there at once"));
                assert_eq!(res.status, StatusCode::NOT_MODIFIED);
                res
            });
        });
    }
}

criterion_group!(benches, hits);
criterion_main!(benches);
