//! The engine against an origin server that does what a test tells it: hold a
//! head, release a chunk, cut. Nothing sleeps; what is waited for has to come.

mod bodies;
mod collapse;
mod compression;
mod crowd;
mod disk;
mod hits;
mod interleavings;
mod model;
mod parts;
mod personal;
mod post;
mod purge;
mod races;
mod ranges;
mod slices;
mod succession;
mod validation;
mod window;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Cache;
use super::store::SLICE;
use crate::base::{Clock, ManualClock, Tasks};
use crate::config::model::CacheConfig;
use crate::exchange::{
    Body, BodyError, ConnectionInfo, Failure, FetchError, Handling, Host, Origin, Protocol, Request,
    RequestId, RequestProgress, Response, Scheme, Target,
};
use crate::fields::cache_status::CacheStatus;
use crate::fields::proxy_status::ProxyErrorType;
use crate::policy::CacheRules;
use crate::telemetry::Metrics;

type Answered = Result<Box<Response>, Failure>;

/// A cache, its origin server, and the test that plays it.
struct Edge {
    cache: Arc<Cache>,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    clients: Tasks,
    rules: Arc<CacheRules>,
    origin: Arc<dyn Origin>,
    exchanges: mpsc::UnboundedReceiver<Exchange>,
}

#[derive(Debug)]
struct ScriptedOrigin(mpsc::UnboundedSender<Exchange>);

/// A request that has reached the origin server.
struct Exchange {
    req: Box<Request>,
    answer: oneshot::Sender<Result<Box<Response>, FetchError>>,
}

/// The content of a response, chunk by chunk.
struct Content(mpsc::Sender<Result<Bytes, BodyError>>);

impl Origin for ScriptedOrigin {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let _ = self.0.send(Exchange { req, answer });
            answered.await.unwrap_or_else(|_| Err(refused()))
        })
    }
}

fn refused() -> FetchError {
    FetchError::new(ProxyErrorType::ConnectionRefused, RequestProgress::NotSent).from_source("refused")
}

impl Edge {
    fn new() -> Self {
        Self::sized(64 << 20, 8 << 20)
    }

    fn sized(memory: u64, max_object: u64) -> Self {
        Self::configured(&CacheConfig::in_memory(memory, max_object))
    }

    fn configured(config: &CacheConfig) -> Self {
        Self::with_slices(config, SLICE)
    }

    /// One that keeps large responses in slices of so many bytes.
    fn with_slices(config: &CacheConfig, slice: u64) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(ManualClock::at(start));
        let metrics = Arc::new(Metrics::default());
        let dyn_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let cache = Cache::with_slices(config, dyn_clock, &Tasks::new(), Arc::clone(&metrics), slice);
        let (sender, exchanges) = mpsc::unbounded_channel();
        Self {
            cache,
            clock,
            metrics,
            clients: Tasks::new(),
            rules: Arc::default(),
            origin: Arc::new(ScriptedOrigin(sender)),
            exchanges,
        }
    }

    fn request(&self, method: Method, path: &str, fields: &[(&'static str, &str)]) -> Box<Request> {
        let address = "127.0.0.1:1".parse().unwrap();
        Box::new(Request {
            method,
            target: Target {
                scheme: Scheme::Https,
                host: Host::parse(&HeaderValue::from_static("example.test"), Scheme::Https).unwrap(),
                path_and_query: path.parse().unwrap(),
            },
            fields: Arc::new(field_map(fields)),
            body: Body::Empty,
            upgrade: None,
            client: [127, 0, 0, 1].into(),
            trusted: false,
            id: RequestId(1),
            protocol: Protocol::Http11,
            connection: Arc::new(ConnectionInfo {
                peer: address,
                local: address,
                scheme: Scheme::Https,
                tls: None,
            }),
            session: None,
            interim: None,
            received: self.clock.now(),
            received_wall: self.clock.wall(),
        })
    }

    fn ask(&self, req: Box<Request>) -> Handling {
        self.cache.answer(req, &self.rules, &self.origin)
    }

    /// A GET whose answer is there at once.
    fn hit(&self, path: &str, fields: &[(&'static str, &str)]) -> Response {
        match self.ask(self.request(Method::GET, path, fields)) {
            Handling::Ready(Some(Ok(response))) => *response,
            other => panic!("no hit: {other:?}"),
        }
    }

    /// A GET by a client that waits for the head.
    fn get(&self, path: &str, fields: &[(&'static str, &str)]) -> JoinHandle<Answered> {
        self.clients.spawn(self.ask(self.request(Method::GET, path, fields)))
    }

    /// The next request that reaches the origin server.
    async fn exchange(&mut self) -> Exchange {
        soon(self.exchanges.recv()).await.unwrap()
    }

    /// Has `body` stored under `path`.
    async fn store(&mut self, path: &str, fields: &[(&'static str, &str)], body: &'static str) {
        let client = self.get(path, &[]);
        self.exchange().await.respond_whole(200, fields, body);
        assert_eq!(text(answer(client).await).await.unwrap(), body);
    }

    /// Lets every task go on until none can any more.
    async fn settle(&self) {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    fn is_idle(&mut self) -> bool {
        self.exchanges.try_recv().is_err()
    }
}

impl Exchange {
    fn response(status: u16, fields: &[(&'static str, &str)], body: Body) -> Box<Response> {
        let status = StatusCode::from_u16(status).unwrap();
        Box::new(Response { status, fields: field_map(fields), body, ..Response::default() })
    }

    fn respond_whole(self, status: u16, fields: &[(&'static str, &str)], body: &'static str) {
        let body = Body::Full(Bytes::from_static(body.as_bytes()));
        let _ = self.answer.send(Ok(Self::response(status, fields, body)));
    }

    /// Sends the head; the content is what is sent into the result. One chunk
    /// waits at most.
    fn respond(self, status: u16, fields: &[(&'static str, &str)]) -> Content {
        let (sender, mut chunks) = mpsc::channel::<Result<Bytes, BodyError>>(1);
        let chunks = futures_util::stream::poll_fn(move |context| chunks.poll_recv(context));
        let frames = futures_util::StreamExt::map(chunks, |chunk| chunk.map(Frame::data));
        let body = Body::boxed(StreamBody::new(frames));
        let _ = self.answer.send(Ok(Self::response(status, fields, body)));
        Content(sender)
    }

    fn fail(self) {
        let _ = self.answer.send(Err(refused()));
    }
}

impl Content {
    async fn send(&self, chunk: impl Into<Bytes>) {
        soon(self.0.send(Ok(chunk.into()))).await.unwrap();
    }

    async fn cut(self) {
        let _ = self.0.send(Err(BodyError::TimedOut { waited: Duration::from_secs(1) })).await;
    }
}

fn field_map(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

/// What has to come without anything else being done.
async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never came")
}

async fn answer(client: JoinHandle<Answered>) -> Response {
    *soon(client).await.unwrap().unwrap()
}

async fn text(response: impl Into<Box<Response>>) -> Result<String, BodyError> {
    let bytes = soon(response.into().body.collect()).await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// The next chunk of a response.
async fn chunk(response: &mut Response) -> Option<Result<Bytes, BodyError>> {
    let frame = soon(response.body.frame()).await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

fn status(response: &Response) -> CacheStatus {
    response.facts.cache.unwrap()
}

/// Where the content of a stored response lies.
fn memory(response: &Response) -> *const u8 {
    match &response.body {
        Body::Full(bytes) => bytes.as_ptr(),
        other => panic!("not from memory: {other:?}"),
    }
}
