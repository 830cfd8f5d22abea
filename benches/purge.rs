//! How soon a purge of 100,000 stored responses holds, and when it has gone
//! through all of them. Not a benchmark of many rounds: each needs the store
//! filled anew.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "it stops where something is wrong, and prints a table"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use seawall::base::{Clock, SystemClock, Tasks};
use seawall::cache::{Cache, Purge};
use seawall::config;
use seawall::exchange::{
    Body, ConnectionInfo, Facts, FetchError, Handler, Host, Origin, Protocol, Request, RequestId, Response,
    Scheme, Target,
};
use seawall::router::Router;
use seawall::telemetry::Metrics;

const OBJECTS: usize = 100_000;

/// An origin server whose every response has two tags.
#[derive(Debug)]
struct Tagged;

impl Origin for Tagged {
    fn fetch(self: Arc<Self>, _: Request) -> BoxFuture<'static, Result<Response, FetchError>> {
        let mut fields = HeaderMap::new();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
        fields.insert("surrogate-key", HeaderValue::from_static("article all"));
        let body = Body::Full(Bytes::from_static(b"content"));
        let res = Response { status: StatusCode::OK, fields, body, facts: Facts::default(), tunnel: None };
        std::future::ready(Ok(res)).boxed()
    }
}

struct Edge {
    router: Router,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    connection: Arc<ConnectionInfo>,
}

impl Edge {
    fn new() -> Self {
        let text = "[cache]\nmemory = \"512MiB\"\n[site.\"bench.test\"]\norigins = [\"127.0.0.1:1\"]\n";
        let config = config::parse("bench", text, Path::new("")).expect("a config").config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::default());
        let cache = Cache::new(&config.cache, Arc::clone(&clock), &Tasks::new(), Arc::clone(&metrics));
        let origin: Arc<dyn Origin> = Arc::new(Tagged);
        let origins: BTreeMap<_, _> =
            config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&origin))).collect();
        let address = "127.0.0.1:443".parse().expect("an address");
        let connection = ConnectionInfo { peer: address, local: address, scheme: Scheme::Https, tls: None };
        let router = Router::new(&config, &origins, Arc::clone(&cache), &metrics);
        Self { router, cache, clock, connection: Arc::new(connection) }
    }

    fn request(&self, number: usize) -> Request {
        Request {
            method: Method::GET,
            target: Target {
                scheme: Scheme::Https,
                host: Host::parse(&HeaderValue::from_static("bench.test"), Scheme::Https).expect("a host"),
                path_and_query: format!("/articles/{number}").try_into().expect("a path"),
            },
            fields: HeaderMap::new(),
            body: Body::Empty,
            upgrade: None,
            client: self.connection.peer.ip(),
            trusted: false,
            protocol: Protocol::Http11,
            id: RequestId(1),
            connection: Arc::clone(&self.connection),
            received: self.clock.now(),
            received_wall: self.clock.wall(),
        }
    }

    async fn fill(&self) {
        for number in 0..OBJECTS {
            self.router.handle(self.request(number)).await.result.expect("a response");
        }
        assert!(self.is_hit(OBJECTS - 1));
    }

    /// True if a stored response answers at once.
    fn is_hit(&self, number: usize) -> bool {
        let answer = self.router.handle(self.request(number)).now_or_never();
        answer.and_then(|answer| answer.result.ok()?.facts.cache).is_some_and(|cache| cache.hit)
    }

    /// When a purge holds for a reader, when it is over, and what it removed.
    async fn purge(&self, purge: Purge) -> (Duration, Duration, u64) {
        let begun = self.clock.now();
        let cache = Arc::clone(&self.cache);
        let tasks = Tasks::new();
        let purging = tasks.spawn(async move { cache.purge(purge).await.expect("a purge") });
        // A lookup that misses asks the origin server: the last object is spent on it.
        while self.is_hit(OBJECTS / 2) {
            tokio::task::yield_now().await;
        }
        let holds = self.clock.now() - begun;
        let purged = purging.await.expect("the purge ends");
        (holds, self.clock.now() - begun, purged.purged.memory)
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let edge = Edge::new();
        println!("{:<8} {:>12} {:>12} {:>9}", "purge", "holds", "is over", "removed");
        for (name, purge) in [
            ("tag", Purge::tags(["article"])),
            ("prefix", Purge::prefixes(&["https://bench.test/articles/".to_owned()])),
            ("host", Purge::hosts(&["bench.test".to_owned()])),
            ("all", Ok(Purge::everything())),
        ] {
            edge.fill().await;
            let (holds, over, removed) = edge.purge(purge.expect("a purge")).await;
            println!("{name:<8} {holds:>12.1?} {over:>12.1?} {removed:>9}");
        }
    });
}
