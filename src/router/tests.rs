//! Routes with a cache behind them and an origin server that tells what it was
//! asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::Router;
use crate::base::{Clock, SystemClock, Tasks};
use crate::cache::Cache;
use crate::config::{self, model::Secret};
use crate::exchange::{
    Body, ConnectionInfo, Failure, FetchError, Handler, Host, Origin, Protocol, Request, RequestId, Response,
    Scheme, Target,
};
use crate::telemetry::Metrics;

mod clients;

/// Answers with what it was asked for, and keeps a list of it.
#[derive(Debug)]
struct Echo {
    fields: HeaderMap,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin for Echo {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        let asked = format!("{} {}", req.method, req.target);
        let body = match req.method {
            Method::HEAD => Body::Empty,
            _ => Body::Full(req.target.to_string().into()),
        };
        self.asked.lock().unwrap().push(asked);
        let response =
            Response { status: StatusCode::OK, fields: self.fields.clone(), body, ..Response::default() };
        std::future::ready(Ok(Box::new(response))).boxed()
    }
}

struct Edge {
    router: Router,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Edge {
    fn new(sites: &str, fields: &[(&'static str, &'static str)]) -> Self {
        Self::purged_by(None, sites, fields)
    }

    /// One that `token` may purge.
    fn purged_by(token: Option<&str>, sites: &str, fields: &[(&'static str, &'static str)]) -> Self {
        let mut config = config::parse("test", sites, Path::new("")).unwrap().config;
        config.purge_token = token.map(|token| Secret::new(token.as_bytes()));
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let cache = Cache::new(&config.cache, clock, &Tasks::new(), Arc::clone(&metrics));
        let asked = Arc::default();
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let origin: Arc<dyn Origin> = Arc::new(Echo { fields, asked: Arc::clone(&asked) });
        let origins: BTreeMap<_, _> =
            config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&origin))).collect();
        Self { router: Router::new(&config, &origins, cache, &metrics), asked }
    }

    /// The status and the content of the answer.
    async fn ask(&self, method: Method, url: &str) -> Option<String> {
        let handling = self.router.handle(request(method, url)).handling;
        let answer = tokio::time::timeout(Duration::from_secs(10), handling).await.unwrap();
        let content = answer.ok()?.body.collect().await.unwrap().to_bytes();
        Some(String::from_utf8(content.to_vec()).unwrap())
    }

    async fn get(&self, url: &str) -> Option<String> {
        self.ask(Method::GET, url).await
    }

    /// What the origin server was asked for since this was last called.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn request(method: Method, url: &str) -> Box<Request> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let address = "127.0.0.1:1".parse().unwrap();
    Box::new(Request {
        method,
        target: Target {
            scheme,
            host: Host::parse(&host.parse().unwrap(), scheme).unwrap(),
            path_and_query: path.parse().unwrap(),
        },
        fields: Arc::new(HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("*/*"))])),
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

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

const SITE: &str = r#"
[site."a.test"]
origins = ["127.0.0.1:1"]
aliases = ["b.test"]
redirect_http = false
cache = { key = { query = "sorted", drop_query = ["utm_*"] } }
[[site."a.test".route]]
match = { path = "/files/*" }
cache = { ignore_query = true }
[[site."a.test".route]]
match = { path = "/exact/*" }
cache = { key = { query = "exact", drop_query = [] } }
[[site."a.test".route]]
match = { path = "/api/*", method = ["POST"] }
cache = { ignore_query = true }
[[site."a.test".route]]
match = { path = "/none/*" }
cache = false
"#;

#[tokio::test]
async fn the_normal_form_is_what_is_forwarded() {
    let edge = Edge::new(SITE, &[("cache-control", "no-store")]);
    for (method, target, forwarded) in [
        (Method::GET, "/x?b=1&utm_a=2&a=3", "/x?a=3&b=1"),
        (Method::HEAD, "/x?b=1&a=3", "/x?a=3&b=1"),
        (Method::GET, "/x?utm_a=2", "/x"),
        (Method::GET, "/files/x?v=1", "/files/x"),
        (Method::GET, "/exact/x?b&utm_a&a", "/exact/x?b&utm_a&a"),
        (Method::GET, "/none/x?b&utm_a&a", "/none/x?b&utm_a&a"),
        (Method::POST, "/x?b=1&utm_a=2&a=3", "/x?b=1&utm_a=2&a=3"),
        (Method::OPTIONS, "/x?b=1&a=3", "/x?b=1&a=3"),
    ] {
        edge.ask(method.clone(), &format!("http://a.test{target}")).await.unwrap();
        assert_eq!(edge.asked(), [format!("{method} http://a.test{forwarded}")]);
    }
}

#[tokio::test]
async fn one_normal_form_is_fetched_once() {
    let edge = Edge::new(SITE, FRESH);
    for target in ["/x?a=3&b=1", "/x?b=1&a=3", "/x?b=1&utm_source=mail&a=3"] {
        assert_eq!(edge.get(&format!("https://a.test{target}")).await.unwrap(), "https://a.test/x?a=3&b=1");
    }
    assert_eq!(edge.asked().len(), 1);
}

/// RFC 9111 s4.4, where another route takes the write.
#[tokio::test]
async fn a_write_invalidates_what_a_get_of_its_target_stored() {
    let edge = Edge::new(SITE, FRESH);
    for (get, write) in [
        ("https://a.test/api/x?a=1&b=2", "https://a.test/api/x?b=2&a=1"),
        ("https://a.test/x?a=1&b=2", "https://a.test/x?b=2&utm_a=1&a=1"),
        ("https://a.test/files/x?v=1", "https://a.test/files/x?v=2"),
        ("https://a.test/exact/x?b&a", "https://a.test/exact/x?b&a"),
    ] {
        for expected in [1, 0] {
            edge.get(get).await.unwrap();
            assert_eq!(edge.asked().len(), expected, "{get}");
        }
        edge.ask(Method::POST, write).await.unwrap();
        assert_eq!(edge.asked(), [format!("POST {write}")]);
        edge.get(get).await.unwrap();
        assert_eq!(edge.asked().len(), 1, "{get} is fetched anew after {write}");
    }
}

const TOKEN: &str = "0123456789abcdef";

impl Edge {
    /// What a request for caches comes to: the stored responses that are gone,
    /// or the failure.
    async fn purge(&self, method: &str, url: &str, fields: &[(&'static str, &str)]) -> Result<u64, Failure> {
        let mut req = request(method.parse().unwrap(), url);
        for (name, value) in fields {
            Arc::make_mut(&mut req.fields).append(*name, value.parse().unwrap());
        }
        let res =
            tokio::time::timeout(Duration::from_secs(10), self.router.handle(req).handling).await.unwrap()?;
        assert_eq!(res.status, StatusCode::OK);
        let content = res.body.collect().await.unwrap().to_bytes();
        let purged: serde_json::Value = serde_json::from_slice(&content).unwrap();
        Ok(purged["purged"]["memory"].as_u64().unwrap())
    }
}

#[tokio::test]
async fn who_has_the_token_may_purge() {
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    let tagged = &[("cache-control", "max-age=60"), ("surrogate-key", "one two")];
    for (url, fields, expected) in [
        ("https://a.test/x?b=1&a=3", &[bearer][..], 1),
        ("https://a.test/x?utm_a&b=1&a=3", &[bearer], 1),
        ("http://a.test/x?b=1&a=3", &[("authorization", "bearer 0123456789abcdef")], 1),
        ("https://a.test/y", &[bearer, ("purge-by", "prefix")], 0),
        ("https://a.test/", &[bearer, ("purge-by", "prefix")], 2),
        ("https://a.test/", &[bearer, ("purge-by", "host")], 2),
        ("https://b.test/", &[bearer, ("purge-by", "host")], 0),
        ("https://b.test/", &[bearer, ("purge-by", "all")], 2),
        ("https://b.test/", &[bearer, ("surrogate-key", "none two")], 2),
        ("https://b.test/", &[bearer, ("cache-tag", "three")], 0),
    ] {
        let edge = Edge::purged_by(Some(TOKEN), SITE, tagged);
        for page in ["https://a.test/x?a=3&b=1", "https://a.test/files/z"] {
            edge.get(page).await.unwrap();
        }
        edge.asked();
        assert_eq!(edge.purge("PURGE", url, fields).await.unwrap(), expected, "{url} {fields:?}");
        assert_eq!(edge.purge("PURGE", url, fields).await.unwrap(), 0, "{url} {fields:?}");
        assert_eq!(edge.asked(), [""; 0], "no origin server sees a token");
    }
}

#[tokio::test]
async fn others_may_not() {
    let too_long = "x".repeat(129);
    let too_many = (0..257).map(|tag| tag.to_string()).collect::<Vec<_>>().join(" ");
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    for (token, method, fields) in [
        (None, "PURGE", &[bearer][..]),
        (Some(TOKEN), "BAN", &[bearer]),
        (Some(TOKEN), "REFRESH", &[bearer]),
        (Some(TOKEN), "PURGE", &[]),
        (Some(TOKEN), "PURGE", &[("authorization", "Bearer 0123456789abcdeg")]),
        (Some(TOKEN), "PURGE", &[("authorization", "Basic 0123456789abcdef")]),
        (Some(TOKEN), "PURGE", &[("authorization", "0123456789abcdef")]),
        (Some(TOKEN), "PURGE", &[bearer, bearer]),
        (Some(TOKEN), "PURGE", &[bearer, ("purge-by", "regex")]),
        (Some(TOKEN), "PURGE", &[bearer, ("purge-by", "")]),
        (Some(TOKEN), "PURGE", &[bearer, ("purge-by", "host"), ("surrogate-key", "a")]),
        (Some(TOKEN), "PURGE", &[bearer, ("soft-purge", "true")]),
        (Some(TOKEN), "PURGE", &[bearer, ("surrogate-key", "")]),
        (Some(TOKEN), "PURGE", &[bearer, ("surrogate-key", &too_long)]),
        (Some(TOKEN), "PURGE", &[bearer, ("surrogate-key", &too_many)]),
    ] {
        let edge = Edge::purged_by(token, SITE, FRESH);
        edge.get("https://a.test/x").await.unwrap();
        let refused = edge.purge(method, "https://a.test/x", fields).await.unwrap_err();
        let is_known = fields.first() == Some(&bearer) && fields.get(1) != Some(&bearer);
        match refused {
            Failure::MethodNotAllowed(_) => assert!(token.is_none() || method != "PURGE"),
            Failure::BadRequest(_) => assert!(is_known && method == "PURGE"),
            Failure::Unauthorized => assert!(!is_known && token.is_some() && method == "PURGE"),
            other => panic!("{other}"),
        }
        edge.get("https://a.test/x").await.unwrap();
        assert_eq!(edge.asked().len(), 1, "{method} {fields:?}: the stored response stays");
    }
}

#[tokio::test]
async fn a_soft_purge_is_asked_for_by_a_field() {
    let edge = Edge::purged_by(Some(TOKEN), SITE, FRESH);
    edge.get("https://a.test/x").await.unwrap();
    let fields = [("authorization", "Bearer 0123456789abcdef"), ("soft-purge", "1")];
    assert_eq!(edge.purge("PURGE", "https://a.test/x", &fields).await.unwrap(), 1);
    assert_eq!(edge.purge("PURGE", "https://a.test/x", &fields[..1]).await.unwrap(), 1, "it was still there");
}

#[tokio::test]
async fn a_route_that_names_the_method_sends_it_on() {
    let site = "[site.\"a.test\"]\norigins = [\"127.0.0.1:1\"]\nredirect_http = false\n\
                [[site.\"a.test\".route]]\nmatch = { path = \"/own/*\", method = [\"PURGE\"] }\n";
    let edge = Edge::new(site, FRESH);
    edge.ask("PURGE".parse().unwrap(), "https://a.test/own/x").await.unwrap();
    assert_eq!(edge.asked(), ["PURGE https://a.test/own/x"]);
    assert!(edge.ask("PURGE".parse().unwrap(), "https://a.test/x").await.is_none());
}

fn urls() -> impl Strategy<Value = String> {
    let host = prop_oneof![Just("a.test"), Just("b.test"), Just("A.test."), Just("a.test:8080")];
    let folder =
        prop_oneof![Just("/"), Just("/files/"), Just("/exact/"), Just("/%66iles/"), Just("/files%2F")];
    let query = proptest::option::of("([ab=&]|utm_[ab]|%61){0,5}");
    ("https?", host, folder, "(x|X|%78|%2F|//|\\+|%20){0,2}", query).prop_map(
        |(scheme, host, folder, name, query)| {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{scheme}://{host}{folder}{name}{query}")
        },
    )
}

proptest! {
    /// What is answered is what the origin server says to the forwarded target,
    /// whatever was stored before: equal keys imply equal forwarded targets.
    #[test]
    fn nobody_gets_the_answer_to_another_target(urls in proptest::collection::vec(urls(), 2..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stored, forwarded) =
                (Edge::new(SITE, FRESH), Edge::new(SITE, &[("cache-control", "no-store")]));
            for url in &urls {
                prop_assert_eq!(stored.get(url).await, forwarded.get(url).await, "{}", url);
            }
            Ok(())
        })?;
    }
}
