//! Connections in process, before a handler that does what a test tells it to.

mod beside;
mod interim;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::base::{ManualClock, SystemClock};
use crate::exchange::{Answer, Body, ConnectionInfo, Handling, Request, Response, Scheme, SiteNumber};
use crate::telemetry::metrics::{Limit, SiteMetrics};

pub(super) const URL: &str = "http://a.test/";

struct Answering<F>(F);

impl<F> Handler for Answering<F>
where
    F: Fn(Box<Request>) -> Handling + Send + Sync + 'static,
{
    fn handle(&self, req: Box<Request>) -> Answer {
        let site = Some(SiteNumber(0));
        Answer { site, hsts: false, handling: (self.0)(req) }
    }
}

pub(super) async fn front(answer: impl Fn(Box<Request>) -> Handling + Send + Sync + 'static) -> Arc<Front> {
    front_by(Arc::new(SystemClock), answer).await
}

/// The same by this clock.
async fn front_by(
    clock: Arc<dyn Clock>,
    answer: impl Fn(Box<Request>) -> Handling + Send + Sync + 'static,
) -> Arc<Front> {
    let state = tempfile::tempdir().unwrap();
    let text = "state_dir = \"state\"\nlog = { access = \"off\" }\n[site.\"a.test\"]\ntls = \"off\"\n\
                origins = [\"127.0.0.1:9\"]\n";
    let config = crate::config::parse("test", text, state.path()).unwrap().config;
    let (telemetry, _writer) = Telemetry::start(&config.log).unwrap();
    let (tasks, metrics) = (Tasks::new(), Arc::clone(&telemetry.metrics));
    let certificates = Certificates::start(&config, Arc::clone(&clock), &tasks, metrics).await.unwrap();
    let handler = Arc::new(Answering(answer));
    let serving = Serving::new(&config, handler, certificates);
    Arc::new(Front::new(serving, telemetry, clock, tasks))
}

/// A connection to `front`.
pub(super) fn connect(front: &Arc<Front>, protocol: ConnectionProtocol) -> DuplexStream {
    connect_through(front, protocol, 1 << 20)
}

/// The same through so many bytes each way.
pub(super) fn connect_through(
    front: &Arc<Front>,
    protocol: ConnectionProtocol,
    bytes: usize,
) -> DuplexStream {
    let (client, server) = tokio::io::duplex(bytes);
    let info = ConnectionInfo {
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        scheme: Scheme::Http,
        tls: None,
    };
    front.tasks().spawn(Arc::clone(front).serve(server, protocol, info, ()));
    client
}

pub(super) fn answer(body: Body) -> Handling {
    Handling::ready(Ok(Box::new(Response { body, ..Response::default() })))
}

pub(super) fn request() -> http::Request<Empty<Bytes>> {
    http::Request::get(URL).header("host", "a.test").body(Empty::new()).unwrap()
}

/// Content that panics when it is asked for.
struct Panicking;

impl http_body::Body for Panicking {
    type Data = Bytes;
    type Error = crate::exchange::BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        panic!("in the content");
    }
}

pub(super) async fn panicking_front() -> Arc<Front> {
    let turn = AtomicUsize::new(0);
    front(move |_| match turn.fetch_add(1, Relaxed) {
        0 => panic!("at once"),
        1 => Handling::pending(async { panic!("later") }),
        2 => answer(Body::boxed(Panicking)),
        _ => answer(Body::Full("well".into())),
    })
    .await
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

/// RFC 9110 s6.6.1
#[tokio::test]
async fn a_date_is_that_of_the_clock_wherever_it_is_put() {
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let front = front_by(Arc::clone(&clock) as Arc<dyn Clock>, |_| answer(Body::Empty)).await;
    let io = TokioIo::new(connect(&front, ConnectionProtocol::Http1));
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    front.tasks().spawn(connection);
    for (seconds, date) in
        [(1_800_000_000, "Fri, 15 Jan 2027 08:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT")]
    {
        clock.put(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let res = sender.send_request(request()).await.unwrap();
        assert_eq!(res.headers()["date"], date);
    }
}

#[tokio::test]
async fn a_client_that_left_before_it_was_answered_counts_for_the_site_it_asked() {
    let front = front(|_| Handling::pending(std::future::pending())).await;
    let metrics = &front.telemetry().metrics;
    let number = metrics.number(&"a.test".into());
    let mut client = connect(&front, ConnectionProtocol::Http1);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    drop(client);
    let left = |site: &SiteMetrics| site.responses[4].value();
    let mut counted = (0, 0);
    let is_counted = async {
        while counted == (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            metrics.with_site(Some(number), |site| counted = (left(site), left(&metrics.without_site)));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_counted).await.unwrap();
    assert_eq!(counted, (1, 0));
    // No head was sent that could have been fast.
    metrics.with_site(Some(number), |site| assert_eq!(site.head_time.snapshot().0.iter().sum::<u64>(), 0));
}

/// A piece and trailers, the end of which is not known before it is asked for.
struct WithTrailers(Vec<http_body::Frame<Bytes>>);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = crate::exchange::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

#[tokio::test]
async fn a_response_with_trailers_was_not_given_up() {
    let front = front(|_| {
        let trailers = [(http::header::ETAG, http::HeaderValue::from_static("\"a\""))].into_iter().collect();
        let frames = vec![http_body::Frame::trailers(trailers), http_body::Frame::data("well".into())];
        let mut res = Response { body: Body::boxed(WithTrailers(frames)), ..Response::default() };
        res.fields.insert("trailer", http::HeaderValue::from_static("etag"));
        Handling::ready(Ok(Box::new(res)))
    })
    .await;
    let io = |protocol| TokioIo::new(connect(&front, protocol));
    let (mut http1, connection) = http1::handshake(io(ConnectionProtocol::Http1)).await.unwrap();
    front.tasks().spawn(connection);
    let executor = TokioExecutor::new();
    let (mut http2, connection) = http2::handshake(executor, io(ConnectionProtocol::Http2)).await.unwrap();
    front.tasks().spawn(connection);
    // More than may be given up.
    for _ in 0..200 {
        let mut asking = request();
        asking.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        http1.ready().await.unwrap();
        let both = (http1.send_request(asking.clone()).await, http2.send_request(asking).await);
        for res in [both.0, both.1] {
            let content = res.unwrap().into_body().collect().await.unwrap();
            assert_eq!(content.trailers().unwrap()["etag"], "\"a\"");
            assert_eq!(content.to_bytes(), "well");
        }
    }
}

/// So many pieces of 16 KiB that come one by one; counts those that were asked for.
struct Pieces {
    left: usize,
    given: Arc<AtomicUsize>,
    is_there: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = crate::exchange::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.is_there = !self.is_there;
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if !self.is_there {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        self.given.fetch_add(1, Relaxed);
        Poll::Ready(Some(Ok(http_body::Frame::data(vec![b'a'; 16 << 10].into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_http1_client_has_no_room_for_is_not_asked_for() {
    let given = Arc::new(AtomicUsize::new(0));
    let front = {
        let given = Arc::clone(&given);
        front(move |_| {
            let given = Arc::clone(&given);
            answer(Body::boxed(Pieces { left: 64, given, is_there: false }))
        })
        .await
    };
    let mut client = connect_through(&front, ConnectionProtocol::Http1, 4 << 10);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(given.load(Relaxed), 1, "it has taken nothing of the first");
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!((given.load(Relaxed), received.iter().filter(|byte| **byte == b'a').count() >> 20), (64, 1));
}

/// What comes next from the other end; empty at its end.
async fn received(client: &mut DuplexStream) -> String {
    let mut some = vec![0; 4096];
    let length = client.read(&mut some).await.unwrap();
    String::from_utf8_lossy(&some[..length]).into_owned()
}

#[tokio::test(start_paused = true)]
async fn an_http1_connection_that_rested_goes_on() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let mut client = connect(&front, ConnectionProtocol::Http1);
    for pause in [0, 1, 3, 40, 70] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        // Not all of it at once.
        for part in ["G", "ET / HTTP/1.1\r\nHost: a.te", "st\r\n\r\n"] {
            client.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let answer = received(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("well"), "{answer}");
    }
    let began = SystemClock.now();
    assert_eq!(received(&mut client).await, "");
    assert_eq!((SystemClock.now() - began).as_secs(), 73, "idle_timeout less the two seconds before");
}

#[tokio::test(start_paused = true)]
async fn who_is_answered_before_the_end_of_its_content_is_told_of_the_close() {
    // As with an origin server that answers while it is still sent content.
    let tasks = Tasks::new();
    let front = front(move |req| {
        tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(req);
        });
        answer(Body::Full("well".into()))
    })
    .await;
    for (framing, content) in [
        ("Content-Length: 9", "all of it"),
        ("Transfer-Encoding: chunked", "3\r\nall\r\n3\r\n of\r\n3\r\n it\r\n0\r\n\r\n"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n");
        for length in [content.len(), content.len() - 1, 4, 0] {
            let mut client = connect(&front, ConnectionProtocol::Http1);
            client.write_all(format!("{head}{}", &content[..length]).as_bytes()).await.unwrap();
            let answer = received(&mut client).await;
            assert!(answer.ends_with("well"), "{answer}");
            let is_told = answer.contains("connection: close\r\n");
            let is_there = content == "all of it" && length == content.len();
            assert_eq!(is_told, !is_there, "{framing}, {length} bytes");
            if is_there {
                client.write_all(format!("{head}{content}").as_bytes()).await.unwrap();
                assert!(received(&mut client).await.ends_with("well"));
            }
        }
    }
}

#[tokio::test]
async fn an_answer_and_the_content_that_it_comes_before_go_on_to_their_ends() {
    let front = front(|req| answer(req.body)).await;
    let mut client = connect(&front, ConnectionProtocol::Http1);
    client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nall").await.unwrap();
    let answer = received(&mut client).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("all"), "{answer}");
    for piece in [" of", " it"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        assert_eq!(received(&mut client).await, piece);
    }
    assert_eq!(received(&mut client).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_stops_in_its_midst_does_not_rest() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let mut client = connect(&front, ConnectionProtocol::Http1);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(received(&mut client).await.starts_with("HTTP/1.1 400"), "without a host");
    let mut client = connect(&front, ConnectionProtocol::Http1);
    client.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    let began = SystemClock.now();
    assert_eq!(received(&mut client).await, "");
    assert_eq!((SystemClock.now() - began).as_secs(), 10, "header_timeout");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_connections_that_rest() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let mut clients = [0; 2].map(|_| connect(&front, ConnectionProtocol::Http1));
    clients[1].write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    assert!(received(&mut clients[1]).await.ends_with("well"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    front.drain();
    let began = SystemClock.now();
    // Who asks in time is answered, and told that it was the last time.
    clients[1].write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let last = received(&mut clients[1]).await;
    assert!(last.contains("connection: close\r\n") && last.ends_with("well"), "{last}");
    for client in &mut clients {
        assert_eq!(received(client).await, "");
    }
    assert!(SystemClock.now() - began < Duration::from_secs(2));
}

#[tokio::test]
async fn who_asks_while_memory_is_short_is_told_to_come_again() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    for (is_out_of_memory, expected) in [
        (false, "HTTP/1.1 200 OK\r\n"),
        (true, "HTTP/1.1 503 Service Unavailable\r\n"),
        (false, "HTTP/1.1 200 OK\r\n"),
    ] {
        front.refuse_for_memory(is_out_of_memory);
        let mut client = connect(&front, ConnectionProtocol::Http1);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut head = vec![0; 1024];
        let length = client.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(head.starts_with(expected), "{head}");
        for field in ["retry-after: 1\r\n", "connection: close\r\n"] {
            assert_eq!(head.contains(field), is_out_of_memory, "{head}");
        }
    }
    assert_eq!(front.telemetry().metrics.limits[Limit::Memory as usize].value(), 1);
}

#[tokio::test]
async fn nobody_is_waited_for_while_memory_is_short() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    front.refuse_for_memory(true);
    let mut client = connect(&front, ConnectionProtocol::Http1);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.").await.unwrap();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(front.telemetry().metrics.limits[Limit::Memory as usize].value(), 1);
}

/// Has those who wait go, for as long as `until` takes.
async fn ending_who_waits<T>(front: &Front, until: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        ended = until => ended,
        () = async {
            loop {
                front.end_who_waits();
                tokio::task::yield_now().await;
            }
        } => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn who_waits_has_to_go_where_memory_stays_short_and_nobody_else() {
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let front = front(move |req| {
        let released = Arc::clone(&released);
        let is_held = req.method == http::Method::PUT;
        Handling::pending(async move {
            if is_held {
                released.notified().await;
            }
            answer(Body::Full("well".into())).await
        })
    })
    .await;
    let mut idle = connect(&front, ConnectionProtocol::Http1);
    let mut busy = connect(&front, ConnectionProtocol::Http1);
    busy.write_all(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let io = TokioIo::new(connect(&front, ConnectionProtocol::Http2));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = front.tasks().spawn(connection);
    let res = sender.send_request(request()).await.unwrap();
    assert_eq!(res.into_body().collect().await.unwrap().to_bytes(), "well");

    assert_eq!(ending_who_waits(&front, idle.read(&mut [0; 16])).await.unwrap(), 0);
    ending_who_waits(&front, connection).await.unwrap().unwrap();
    release.notify_one();
    let mut head = [0; 15];
    ending_who_waits(&front, busy.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(front.telemetry().metrics.limits[Limit::Memory as usize].value(), 2);
}
