//! Connections in process, before a handler that does what a test tells it to.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;

use super::*;
use crate::base::SystemClock;
use crate::exchange::{Answer, Body, ConnectionInfo, Handling, Request, Response, Scheme};
use crate::telemetry::metrics::Limit;

const URL: &str = "http://a.test/";

struct Answering<F>(F);

impl<F> Handler for Answering<F>
where
    F: Fn(Request) -> Handling<Answer> + Send + Sync + 'static,
{
    fn handle(&self, req: Request) -> Handling<Answer> {
        (self.0)(req)
    }
}

async fn front(answer: impl Fn(Request) -> Handling<Answer> + Send + Sync + 'static) -> Arc<Front> {
    let state = tempfile::tempdir().unwrap();
    let text = "state_dir = \"state\"\nlog = { access = \"off\" }\n[site.\"a.test\"]\ntls = \"off\"\n\
                origins = [\"127.0.0.1:9\"]\n";
    let config = crate::config::parse("test", text, state.path()).unwrap().config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (telemetry, _writer) = Telemetry::start(&config.log).unwrap();
    let (tasks, metrics) = (Tasks::new(), Arc::clone(&telemetry.metrics));
    let certificates = Certificates::start(&config, Arc::clone(&clock), &tasks, metrics).await.unwrap();
    let handler = Arc::new(Answering(answer));
    let serving = Serving::new(&config, handler, certificates);
    Arc::new(Front::new(serving, telemetry, clock, tasks, CancellationToken::new()))
}

/// A connection to `front`.
fn connect(front: &Arc<Front>, protocol: ConnectionProtocol) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 20);
    let info = ConnectionInfo {
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        scheme: Scheme::Http,
        tls: None,
    };
    front.tasks().spawn(Arc::clone(front).serve(server, protocol, info));
    client
}

fn answer(body: Body) -> Handling<Answer> {
    Handling::ready(Answer { site: None, hsts: false, result: Ok(Response { body, ..Response::default() }) })
}

fn request() -> http::Request<Empty<Bytes>> {
    http::Request::get(URL).header("host", "a.test").body(Empty::new()).unwrap()
}

/// Content that panics when it is asked for.
struct Panicking;

impl http_body::Body for Panicking {
    type Data = Bytes;
    type Error = crate::exchange::BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        panic!("in the content");
    }
}

async fn panicking_front() -> Arc<Front> {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    front(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => panic!("at once"),
        1 => Handling::pending(async { panic!("later") }),
        2 => answer(Body::boxed(Panicking)),
        _ => answer(Body::Full("well".into())),
    })
    .await
}

#[tokio::test]
async fn a_panic_costs_an_http2_connection_one_exchange() {
    let front = panicking_front().await;
    let io = TokioIo::new(connect(&front, ConnectionProtocol::Http2));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    front.tasks().spawn(connection);
    for _ in 0..2 {
        let res = sender.send_request(request()).await.unwrap();
        assert_eq!(res.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let cut = sender.send_request(request()).await.unwrap();
    assert!(cut.into_body().collect().await.is_err());
    let res = sender.send_request(request()).await.unwrap();
    assert_eq!(res.into_body().collect().await.unwrap().to_bytes(), "well");
    assert_eq!(front.telemetry().metrics.panics.value(), 3);
}

#[tokio::test]
async fn a_panic_is_an_answer_in_http1() {
    let front = panicking_front().await;
    for _ in 0..2 {
        let io = TokioIo::new(connect(&front, ConnectionProtocol::Http1));
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        front.tasks().spawn(connection);
        let res = sender.send_request(request()).await.unwrap();
        assert_eq!(res.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(front.telemetry().metrics.panics.value(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_opens_no_window_is_reset() {
    let front = front(|_| answer(Body::Full(vec![b'a'; 1 << 20].into()))).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(65_535).initial_connection_window_size(1 << 20);
    let stream = connect(&front, ConnectionProtocol::Http2);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    front.tasks().spawn(connection);
    let (stalled, _) = sender.send_request(request().map(|_| ()), true).unwrap();
    let mut stalled = stalled.await.unwrap().into_body();
    stalled.data().await.unwrap().unwrap();

    let (other, _) = sender.send_request(request().map(|_| ()), true).unwrap();
    let mut other = other.await.unwrap().into_body();
    // Of the one nothing is taken, of the other more than the least rate asks for.
    let mut taken = 0;
    while let Some(data) = other.data().await {
        let length = data.unwrap().len();
        other.flow_control().release_capacity(length).unwrap();
        taken += length;
        tokio::time::sleep(Duration::from_secs_f64(length as f64 / 16_384.0)).await;
    }
    assert_eq!(taken, 1 << 20);
    let reset = loop {
        if let Err(error) = stalled.data().await.unwrap() {
            break error;
        }
    };
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL));
    let metrics = &front.telemetry().metrics;
    let bitten = Limit::ALL.iter().zip(&metrics.limits).filter(|(_, count)| count.value() > 0);
    assert_eq!(bitten.map(|((limit, _), _)| *limit).collect::<Vec<_>>(), [Limit::WriteTimeout]);
}

#[tokio::test]
async fn a_client_that_gives_up_too_often_is_told_to_go() {
    let front = front(|_| Handling::pending(std::future::pending())).await;
    let stream = connect(&front, ConnectionProtocol::Http2);
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    front.tasks().spawn(connection);
    let mut given_up = 0;
    // Each is given up once the edge has begun to answer it.
    while let Ok(mut ready) = sender.clone().ready().await {
        let Ok((_response, mut content)) = ready.send_request(request().map(|_| ()), false) else { break };
        let _ = content.send_data(Bytes::from_static(b"a"), false);
        tokio::task::yield_now().await;
        content.send_reset(h2::Reason::CANCEL);
        given_up += 1;
        assert!(given_up < 200);
        sender = ready;
    }
    assert!(given_up > 100, "{given_up}");
    let metrics = &front.telemetry().metrics;
    let counted = Limit::ALL.iter().zip(&metrics.limits).find(|((limit, _), _)| *limit == Limit::H2Resets);
    assert_eq!(counted.unwrap().1.value(), 1);
}
