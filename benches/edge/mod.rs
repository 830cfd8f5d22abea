//! The router, the cache and an origin server in one process, without sockets,
//! TLS and HTTP parsing.

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]
#![allow(dead_code, unreachable_pub, reason = "no bench uses all of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use seawall::base::{Clock, SystemClock, Tasks};
use seawall::cache::Cache;
use seawall::config;
use seawall::exchange::{
    Body, ConnectionInfo, Facts, FetchError, Host, Origin, Request, RequestId, Response, Scheme, Target,
};
use seawall::router::Router;
use seawall::telemetry::Metrics;

/// An origin server whose every response may be stored for a day.
#[derive(Debug)]
struct Always {
    content: Bytes,
    tag: Option<&'static str>,
}

impl Origin for Always {
    fn fetch(self: Arc<Self>, _: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
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
        fields.insert(header::CONTENT_LENGTH, self.content.len().into());
        if let Some(tag) = self.tag {
            fields.insert("surrogate-key", HeaderValue::from_static(tag));
        }
        let body = Body::Full(self.content.clone());
        let (status, facts) = (StatusCode::OK, Facts::default());
        let res = Box::new(Response { status, fields, body, facts, tunnel: None });
        std::future::ready(Ok(res)).boxed()
    }
}

/// A router and a cache before one origin server.
pub struct Edge {
    /// Answers requests.
    pub router: Router,
    /// What it answers from.
    pub cache: Arc<Cache>,
    /// What is counted of it.
    pub metrics: Arc<Metrics>,
    /// The time they go by.
    pub clock: Arc<dyn Clock>,
    connection: Arc<ConnectionInfo>,
}

impl Edge {
    /// One with these keys in `[cache]`, whose responses have so many bytes.
    pub fn new(keys: &str, length: usize) -> Self {
        Self::tagged(keys, length, None)
    }

    /// The same, where every response has this tag.
    pub fn tagged(keys: &str, length: usize, tag: Option<&'static str>) -> Self {
        let text = format!("[cache]\n{keys}\n[site.\"bench.test\"]\norigins = [\"127.0.0.1:1\"]\n");
        let config = config::parse("bench", &text, Path::new("")).expect("a config").config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::default());
        let cache = Cache::new(&config.cache, Arc::clone(&clock), &Tasks::new(), Arc::clone(&metrics));
        let origin: Arc<dyn Origin> = Arc::new(Always { content: vec![b'x'; length].into(), tag });
        let origins: BTreeMap<_, _> =
            config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&origin))).collect();
        let address = "127.0.0.1:443".parse().expect("an address");
        let connection = ConnectionInfo { peer: address, local: address, scheme: Scheme::Https, tls: None };
        let router = Router::new(&config, &origins, Arc::clone(&cache), &metrics);
        Self { router, cache, metrics, clock, connection: Arc::new(connection) }
    }

    /// A GET of `path`.
    pub fn request(&self, path: &str, fields: &HeaderMap) -> Box<Request> {
        Box::new(Request {
            method: Method::GET,
            target: Target {
                scheme: Scheme::Https,
                host: Host::parse(&HeaderValue::from_static("bench.test"), Scheme::Https).expect("a host"),
                path_and_query: path.parse().expect("a path"),
            },
            fields: Arc::new(fields.clone()),
            body: Body::Empty,
            upgrade: None,
            client: self.connection.peer.ip(),
            trusted: false,
            protocol: seawall::exchange::Protocol::Http11,
            id: RequestId(1),
            connection: Arc::clone(&self.connection),
            session: None,
            interim: None,
            received: self.clock.now(),
            received_wall: self.clock.wall(),
        })
    }
}

/// What a browser sends with a request for a style sheet.
pub fn browser() -> HeaderMap {
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
