//! What an origin server of the demo answers to a request: a file, JSON, slow
//! text or a WebSocket. It knows nothing of sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use serde_json::json;

use super::files::{self, File, Files};
use super::websocket;
use crate::base::{Clock, Tasks};
use crate::exchange::{Body, BodyError};

/// `/slow` takes at most this long.
pub(super) const SLOWEST: Duration = Duration::from_secs(10);

const SLOW_DEFAULT: Duration = Duration::from_secs(2);
const SLOW_STEPS: u32 = 10;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// One origin server: what it serves and how often it was asked.
#[derive(Debug)]
pub(super) struct OriginServer {
    name: String,
    files: Arc<Files>,
    requests: AtomicU64,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl OriginServer {
    pub(super) fn new(name: String, files: Arc<Files>, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self { name, files, requests: AtomicU64::new(0), clock, tasks }
    }

    /// Answers one request; `Server-Timing` names this server.
    pub(super) fn answer(&self, req: Request<Incoming>) -> Response<Body> {
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        let mut res = if [Method::GET, Method::HEAD].contains(req.method()) {
            self.resource(req, requests)
        } else {
            method_not_allowed()
        };
        if let Ok(name) = HeaderValue::try_from(format!("origin;desc=\"{}\"", self.name)) {
            res.headers_mut().insert(SERVER_TIMING, name);
        }
        res
    }

    fn resource(&self, req: Request<Incoming>, requests: u64) -> Response<Body> {
        match req.uri().path() {
            "/api/time" => self.time(requests),
            "/api/headers" => request_as_json(&req),
            "/slow" => slow(req.uri().query().unwrap_or_default()),
            "/ws" => websocket::accept(req, &self.tasks),
            "/healthz" => made_now(StatusCode::OK, TEXT, "ok\n"),
            path => match self.files.find(path) {
                Some(file) if holds(req.headers(), file) => not_modified(file),
                Some(file) => whole(StatusCode::OK, file),
                None => whole(StatusCode::NOT_FOUND, self.files.not_found()),
            },
        }
    }

    fn time(&self, requests: u64) -> Response<Body> {
        let time = httpdate::fmt_http_date(self.clock.wall());
        let answer = json!({ "origin": self.name, "time": time, "requests": requests });
        made_now(StatusCode::OK, JSON, format!("{answer}\n"))
    }
}

/// A response that is made for one request and never stored.
pub(super) fn made_now(
    status: StatusCode,
    content_type: HeaderValue,
    content: impl Into<Bytes>,
) -> Response<Body> {
    let mut res = Response::new(Body::Full(content.into()));
    *res.status_mut() = status;
    res.headers_mut().insert(CONTENT_TYPE, content_type);
    res.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    res
}

/// A refusal in one line of text.
pub(super) fn refusal(status: StatusCode, why: &'static str) -> Response<Body> {
    made_now(status, TEXT, why)
}

fn method_not_allowed() -> Response<Body> {
    let mut res = refusal(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served here.\n");
    res.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    res
}

/// True if the client holds the file already (RFC 9110 s13.1.2).
fn holds(fields: &HeaderMap, file: &File) -> bool {
    let written = fields.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    written
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|validator| validator == "*" || file.etag == *validator.strip_prefix("W/").unwrap_or(validator))
}

fn not_modified(file: &File) -> Response<Body> {
    let mut res = Response::new(Body::Empty);
    *res.status_mut() = StatusCode::NOT_MODIFIED;
    describe(res.headers_mut(), file);
    res
}

fn whole(status: StatusCode, file: &File) -> Response<Body> {
    let mut res = Response::new(Body::Full(file.content.clone()));
    *res.status_mut() = status;
    let fields = res.headers_mut();
    fields.insert(CONTENT_TYPE, file.content_type.clone());
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if file.content_type.as_bytes().starts_with(b"text/html") {
        fields.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
        fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    describe(fields, file);
    res
}

fn describe(fields: &mut HeaderMap, file: &File) {
    fields.insert(ETAG, file.etag.clone());
    fields.insert(LAST_MODIFIED, files::LAST_MODIFIED);
    fields.insert(CACHE_CONTROL, file.cache_control.clone());
}

fn request_as_json(req: &Request<Incoming>) -> Response<Body> {
    let fields: Vec<String> = req
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let answer = json!({
        "method": req.method().as_str(),
        "target": req.uri().to_string(),
        "version": format!("{:?}", req.version()),
        "fields": fields,
    });
    made_now(StatusCode::OK, JSON, format!("{answer:#}\n"))
}

/// Text that comes in steps and ends after the `ms` of the query.
fn slow(query: &str) -> Response<Body> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
    let step = asked.map_or(SLOW_DEFAULT, Duration::from_millis).min(SLOWEST) / SLOW_STEPS;
    let steps = stream::unfold(0, move |done| async move {
        if done > SLOW_STEPS {
            return None;
        }
        if done > 0 {
            tokio::time::sleep(step).await;
        }
        let line = match done {
            0 => String::from("Coming\n"),
            SLOW_STEPS => String::from("Done\n"),
            _ => format!("{} %\n", done * 100 / SLOW_STEPS),
        };
        Some((Ok::<_, BodyError>(Frame::data(Bytes::from(line))), done + 1))
    });
    let mut res = made_now(StatusCode::OK, TEXT, "");
    *res.body_mut() = Body::boxed(StreamBody::new(steps));
    res
}
