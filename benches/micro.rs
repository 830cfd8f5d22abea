//! Micro benchmarks of the pure parts: what a hit and a fill cost in `fields`
//! and `policy`, and what a line of the access log costs.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use seawall::balance::measuring::picks;
use seawall::exchange::{ExchangeEnd, ExchangeRecord, Facts, Protocol, RequestId, Scheme, SiteNumber};
use seawall::fields::cache_control::{RequestDirectives, ResponseDirectives};
use seawall::fields::cache_status::CacheStatus;
use seawall::policy::{self, CacheRules, KeyParts, RequestHead, StoredHead, Timing};
use seawall::telemetry::access_log::{Dates, Redaction, format_combined, format_json};

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// What a browser sends.
fn request() -> HeaderMap {
    fields(&[
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
    ])
}

/// What an origin server answers.
fn response() -> HeaderMap {
    fields(&[
        ("server", "nginx"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("etag", "\"2ebc9a01-400\""),
        ("vary", "Accept-Encoding"),
        ("cache-control", "public, max-age=3600, stale-while-revalidate=60"),
    ])
}

struct Scene {
    request: HeaderMap,
    response: HeaderMap,
    rules: CacheRules,
    timing: Timing,
    now: SystemTime,
}

impl Scene {
    fn new() -> Self {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Self {
            request: request(),
            response: response(),
            rules: CacheRules::default(),
            timing: Timing { request: made, response: made },
            now: made + Duration::from_secs(60),
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead::new(&Method::GET, "/", &self.request)
    }

    fn stored(&self, accept_encoding: &'static str) -> StoredHead {
        let mut request = self.request.clone();
        request.insert("accept-encoding", HeaderValue::from_static(accept_encoding));
        let head = RequestHead::new(&Method::GET, "/", &request);
        StoredHead::new(&head, StatusCode::OK, self.response.clone(), self.timing, &self.rules)
    }
}

fn hit(c: &mut Criterion) {
    let scene = Scene::new();
    let parts = KeyParts { scheme: "https", host: "example.com", path: "/assets/a.css", query: Some("v=1") };
    let mut key = Vec::with_capacity(128);
    c.bench_function("hit/write_key", |b| {
        b.iter(|| policy::write_key(black_box(parts), &mut key));
    });
    let variants =
        ["br", "gzip, deflate, br", "gzip, deflate, br, zstd", "identity"].map(|coding| scene.stored(coding));
    c.bench_function("hit/select_of_4", |b| {
        b.iter(|| {
            policy::select(&black_box(scene.head()), black_box(&variants), scene.now, |head| head).is_some()
        });
    });
    let stored = scene.stored("gzip, deflate, br, zstd");
    c.bench_function("hit/reuse", |b| {
        b.iter(|| policy::reuse(&black_box(scene.head()), black_box(&stored), scene.now, &scene.rules));
    });
    c.bench_function("hit/fields", |b| b.iter(|| black_box(&stored).fields()));
    let fields = stored.fields();
    let mut reload = scene.request.clone();
    reload.insert("cache-control", HeaderValue::from_static("max-age=0"));
    let reload = RequestHead::new(&Method::GET, "/", &reload);
    c.bench_function("hit/reuse_on_reload", |b| {
        b.iter(|| policy::reuse(&black_box(reload), black_box(&stored), scene.now, &scene.rules));
    });
    c.bench_function("hit/evaluate", |b| {
        b.iter(|| policy::evaluate(&black_box(scene.head()), StatusCode::OK, black_box(&fields)));
    });
    let status = CacheStatus { hit: true, ttl: Some(3540), ..CacheStatus::default() };
    c.bench_function("hit/print_cache_status", |b| b.iter(|| black_box(status).to_string()));
}

fn fill(c: &mut Criterion) {
    let scene = Scene::new();
    c.bench_function("fill/response_cache_control", |b| {
        b.iter(|| ResponseDirectives::of(black_box(&scene.response)));
    });
    let asked = fields(&[("cache-control", "no-cache, max-age=0")]);
    c.bench_function("fill/request_cache_control", |b| b.iter(|| RequestDirectives::of(black_box(&asked))));
    c.bench_function("fill/storability", |b| {
        b.iter(|| {
            let head = black_box(scene.head());
            policy::storability(&head, StatusCode::OK, &scene.response, scene.timing, &scene.rules)
        });
    });
    c.bench_function("fill/stored_head", |b| b.iter(|| scene.stored("gzip")));
    let stored = scene.stored("gzip");
    let not_modified = fields(&[("date", "Sun, 06 Nov 1994 08:50:37 GMT"), ("etag", "\"2ebc9a01-400\"")]);
    c.bench_function("fill/freshened", |b| {
        b.iter(|| policy::freshened(&stored, black_box(&not_modified), scene.timing, &scene.rules));
    });
}

/// A hit, as it is logged.
fn record() -> ExchangeRecord {
    let scene = Scene::new();
    ExchangeRecord {
        started: scene.now,
        head_time: Some(Duration::ZERO),
        total_time: Duration::from_micros(250),
        id: RequestId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        client: IpAddr::from([192, 0, 2, 7]),
        protocol: Protocol::Http2,
        scheme: Scheme::Https,
        method: Method::GET,
        host: HeaderValue::from_static("example.com"),
        path_and_query: Some(PathAndQuery::from_static("/assets/a.css?v=1&token=secret")),
        user_agent: scene.request.get(USER_AGENT).cloned(),
        referer: Some(HeaderValue::from_static("https://example.com/a/page")),
        site: Some(SiteNumber(0)),
        status: StatusCode::OK,
        bytes_in: 0,
        bytes_out: 1024,
        facts: Facts {
            cache: Some(CacheStatus { hit: true, ttl: Some(3540), ..CacheStatus::default() }),
            ..Facts::default()
        },
        end: ExchangeEnd::Complete,
    }
}

fn log(c: &mut Criterion) {
    let (record, redaction) = (record(), Redaction::new(&["token".to_owned()]));
    let (mut line, mut dates) = (Vec::with_capacity(1024), Dates::default());
    c.bench_function("log/json", |b| {
        b.iter(|| {
            line.clear();
            format_json((black_box(&record), "example.com"), &mut line, &redaction, &mut dates);
            black_box(line.len())
        });
    });
    c.bench_function("log/combined", |b| {
        b.iter(|| {
            line.clear();
            format_combined(black_box(&record), &mut line, &redaction, &mut dates);
            black_box(line.len())
        });
    });
}

fn pick(c: &mut Criterion) {
    for servers in [3, 30] {
        let mut pick = picks(servers);
        c.bench_function(&format!("pick/of {servers}"), |b| b.iter(|| black_box(pick())));
    }
}

criterion_group!(benches, hit, fill, pick, log);
criterion_main!(benches);
