//! What streams cost through a whole edge, with TLS in front of it and real
//! sockets on both sides: unary calls of gRPC, and events that an origin server
//! sends one by one. The edge has a thread of its own; its clients and origin
//! servers share another.

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]

mod whole;

use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::runtime::Runtime;

use whole::{Whole, origin};

/// A message of 100 bytes after its prefix: not compressed, and its length.
static MESSAGE: LazyLock<Bytes> = LazyLock::new(|| [&[0, 0, 0, 0, 100][..], &[7; 100]].concat().into());

/// Calls of one iteration, and how many of them are under way at a time.
const CALLS: usize = 320;
const AT_A_TIME: usize = 32;

/// All events, each with a number of its own.
static EVENTS: LazyLock<Bytes> = LazyLock::new(|| {
    let events: String = (0..COUNT).map(|number| format!("data: {number:056}\n\n")).collect();
    assert_eq!(events.len(), COUNT * LENGTH);
    events.into()
});
const COUNT: usize = 1_000;
const LENGTH: usize = 64;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Answers a call with its own message.
async fn echo(req: Request<Incoming>) -> Response<impl Body<Data = Bytes, Error = Infallible>> {
    assert_eq!(req.headers().get(header::TE), Some(&HeaderValue::from_static("trailers")));
    let message = req.into_body().collect().await.expect("a message").to_bytes();
    let status = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from(0))]);
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(status))));
    Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body).expect("a response")
}

/// A call, and whether all of its answer is there.
async fn call(mut connection: SendRequest<Full<Bytes>>) {
    let req = Request::post("https://grpc.test/bench.Echo/Unary")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(MESSAGE.clone()))
        .expect("a request");
    let res = connection.send_request(req).await.expect("a response");
    assert_eq!(res.status(), StatusCode::OK);
    let content = res.into_body().collect().await.expect("the content");
    let status = content.trailers().and_then(|trailers| trailers.get("grpc-status"));
    assert_eq!(status, Some(&HeaderValue::from_static("0")));
    assert_eq!(content.to_bytes(), *MESSAGE);
}

fn grpc(bench: &mut Criterion) {
    let runtime = runtime();
    let (_edge, connection) = runtime.block_on(async {
        let address = origin(Version::HTTP_2, echo).await;
        let edge = Whole::start("grpc.test", &format!("h2c://{address}")).await;
        let connection = edge.http2().await;
        (edge, connection)
    });
    let mut group = bench.benchmark_group("grpc");
    group.bench_function("unary", |bench| bench.iter(|| runtime.block_on(call(connection.clone()))));
    group.throughput(Throughput::Elements(CALLS as u64));
    group.bench_function(format!("unary/{AT_A_TIME} at a time"), |bench| {
        bench.iter(|| {
            let calls = stream::iter(0..CALLS);
            runtime.block_on(calls.for_each_concurrent(AT_A_TIME, |_| call(connection.clone())));
        });
    });
    group.finish();
}

/// Answers with all events. Each is written before the next one is there.
async fn events(_: Request<Incoming>) -> Response<impl Body<Data = Bytes, Error = Infallible>> {
    let events = stream::iter(0..COUNT).then(|number| async move {
        tokio::task::yield_now().await;
        Ok(Frame::data(EVENTS.slice(number * LENGTH..(number + 1) * LENGTH)))
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        .body(StreamBody::new(events))
        .expect("a response")
}

/// Whether all events arrive.
async fn arrive(res: Response<Incoming>) {
    assert_eq!(res.status(), StatusCode::OK);
    let content = res.into_body().collect().await.expect("the content");
    assert_eq!(content.to_bytes(), *EVENTS);
}

fn sse(bench: &mut Criterion) {
    let runtime = runtime();
    let (_edge, mut http1, mut http2) = runtime.block_on(async {
        let address = origin(Version::HTTP_11, events).await;
        let edge = Whole::start("events.test", &format!("http://{address}")).await;
        let (http1, http2) = (edge.http1().await, edge.http2().await);
        (edge, http1, http2)
    });
    let get = |uri| Request::get(uri).header(header::ACCEPT, "text/event-stream");
    let mut group = bench.benchmark_group("sse");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("h2", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                let req = get("https://events.test/events").body(Full::default()).expect("a request");
                arrive(http2.send_request(req).await.expect("a response")).await;
            });
        });
    });
    group.bench_function("http1.1", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                http1.ready().await.expect("a connection");
                let req = get("/events").header(header::HOST, "events.test").body(Full::default());
                let res = http1.send_request(req.expect("a request")).await;
                arrive(res.expect("a response")).await;
            });
        });
    });
    group.finish();
}

criterion_group!(benches, grpc, sse);
criterion_main!(benches);
