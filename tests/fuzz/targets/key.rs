//! Keys: whatever clients ask for, each gets the answer to the very target that
//! would be forwarded for it, so that equal keys imply equal forwarded targets.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use seawall::base::{Clock, SystemClock, Tasks};
use seawall::cache::Cache;
use seawall::config::{self, Config, model::Limits};
use seawall::exchange::{
    Body, ConnectionInfo, FetchError, Handler, Origin, Protocol, Request, RequestId, Response, Scheme, Target,
};
use seawall::router::Router;
use seawall::telemetry::Metrics;
use tokio::runtime::{Builder, Runtime};

const SITES: &str = r#"
cache.memory = "16MiB"
[site."a.test"]
origins = ["127.0.0.1:1"]
aliases = ["*.b.test"]
redirect_http = false
cache = { key = { query = "sorted", drop_query = ["utm_*"] } }
[[site."a.test".route]]
match = { path = "/files/*" }
cache = { ignore_query = true }
[[site."a.test".route]]
match = { path = "/exact/*" }
cache = { key = { query = "exact", drop_query = [] } }
[[site."a.test".route]]
match = { path = "/none/*" }
cache = false
"#;

/// Answers with the target it was asked for.
#[derive(Debug)]
struct Echo(HeaderMap);

impl Origin for Echo {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        let body = Body::Full(req.target.to_string().into());
        let response =
            Response { status: StatusCode::OK, fields: self.0.clone(), body, ..Response::default() };
        std::future::ready(Ok(Box::new(response))).boxed()
    }
}

struct Edge {
    runtime: Runtime,
    /// One that keeps all answers, whatever was asked before: a failure names
    /// the target whose answer was given.
    stored: Router,
    /// One that keeps none.
    forwarded: Router,
    limits: Limits,
}

impl Edge {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let config = config::parse("sites", SITES, Path::new("")).unwrap().config;
        let (stored, forwarded) = (router(&config, "max-age=100000000"), router(&config, "no-store"));
        Self { runtime, stored, forwarded, limits: config.limits }
    }

    fn answer(&self, router: &Router, target: &Target) -> Option<String> {
        self.runtime.block_on(async {
            let answer = router.handle(request(target.clone())).handling.await;
            let content = answer.ok()?.body.collect().await.unwrap().to_bytes();
            Some(String::from_utf8(content.to_vec()).unwrap())
        })
    }
}

fn router(config: &Config, said: &'static str) -> Router {
    let metrics = Arc::new(Metrics::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = Cache::new(&config.cache, clock, &Tasks::new(), Arc::clone(&metrics));
    let fields = [(header::CACHE_CONTROL, HeaderValue::from_static(said))].into_iter().collect();
    let origin: Arc<dyn Origin> = Arc::new(Echo(fields));
    let origins: BTreeMap<_, _> =
        config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&origin))).collect();
    Router::new(config, &origins, cache, &metrics)
}

fn request(target: Target) -> Box<Request> {
    let address = "127.0.0.1:1".parse().unwrap();
    let scheme = target.scheme;
    Box::new(Request {
        method: Method::GET,
        target,
        fields: Arc::default(),
        body: Body::Empty,
        upgrade: None,
        client: [127, 0, 0, 1].into(),
        trusted: false,
        id: RequestId(1),
        protocol: Protocol::Http11,
        connection: Arc::new(ConnectionInfo { peer: address, local: address, scheme, tls: None }),
        session: None,
        interim: None,
        received: SystemClock.now(),
        received_wall: SystemClock.wall(),
    })
}

/// The target of a line: a letter for scheme and version, a host, a space, and a
/// target as in a request line.
fn target(line: &[u8], limits: &Limits) -> Option<Target> {
    let (kind, rest) = line.split_first()?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let (host, written) = (&rest[..space], &rest[space + 1..]);
    let scheme = if kind & 1 == 0 { Scheme::Http } else { Scheme::Https };
    let version = if kind & 2 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
    let req = http::Request::get(written).version(version).header(header::HOST, host).body(()).ok()?;
    seawall::front::fuzzing::target(req.into_parts().0, scheme, limits)
}

thread_local! {
    static EDGE: Edge = Edge::new();
}

fuzz_target!(|data: &[u8]| {
    EDGE.with(|edge| {
        for line in data.split(|byte| *byte == b'\n') {
            let Some(target) = target(line, &edge.limits) else { continue };
            let forwarded = edge.answer(&edge.forwarded, &target);
            assert_eq!(edge.answer(&edge.stored, &target), forwarded, "{target}");
        }
    });
});
