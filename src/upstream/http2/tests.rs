//! Requests over HTTP/2, to servers of the `h2` crate that do as each test says.

mod bounds;
mod lost;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::*;
use crate::base::{Clock, ManualClock};
use crate::config::model::{OriginProtocol, PoolConfig};
use crate::exchange::{
    Body, BodyError, FetchError, Interim, InterimClient, RequestProgress, Response, Tunnel,
};
use crate::fields::proxy_status::ProxyErrorType;
use crate::upstream::OriginServer;
use crate::upstream::test_origin::{self, Silent, TestOrigin, content, request, request_with, send};

type Http2 = Connection<TcpStream, Bytes>;

fn server_of(origin: &TestOrigin, change: impl FnOnce(&mut PoolConfig)) -> Arc<OriginServer> {
    let mut pool = test_origin::pool(&[origin.address]);
    pool.servers[0].protocol = OriginProtocol::Http2;
    change(&mut pool);
    test_origin::server(&pool)
}

fn server(origin: &TestOrigin) -> Arc<OriginServer> {
    server_of(origin, |_| {})
}

/// Plays `script` on each connection, whose clients may open so many streams.
async fn origin<F, Fut>(streams: u32, script: F) -> TestOrigin
where
    F: Fn(usize, Http2) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    TestOrigin::start(move |number, stream| {
        let script = script.clone();
        async move {
            let connection = Builder::new().max_concurrent_streams(streams).handshake(stream).await.unwrap();
            script(number, connection).await;
        }
    })
    .await
}

/// Answers each request as soon as it comes, in a task of its own.
async fn answering<F, Fut>(streams: u32, answer: F) -> TestOrigin
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    origin(streams, move |_, mut connection| {
        let answer = answer.clone();
        async move {
            let tasks = Tasks::new();
            while let Some(Ok((req, respond))) = connection.accept().await {
                tasks.spawn(answer(req, respond));
            }
        }
    })
    .await
}

fn head(status: u16) -> http::Response<()> {
    http::Response::builder().status(status).body(()).unwrap()
}

/// The whole of a request's content, and its trailers.
async fn received(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut content = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        content.extend_from_slice(&data);
    }
    (content, body.trailers().await.unwrap())
}

/// Answers with what was asked for.
async fn tell(req: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let fields =
        [HOST, CONNECTION, TRANSFER_ENCODING].iter().filter(|name| req.headers().contains_key(*name));
    let told = format!("{} {} {:?}", req.method(), req.uri(), fields.collect::<Vec<_>>());
    received(req.into_body()).await;
    let mut body = respond.send_response(head(200), false).unwrap();
    body.send_data(told.into(), true).unwrap();
}

async fn text(res: Box<Response>) -> String {
    String::from_utf8(content(res).await.unwrap().to_vec()).unwrap()
}

fn field(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
}

fn streamed(frames: Vec<Frame<Bytes>>) -> Body {
    Body::boxed(StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok::<_, BodyError>))))
}

#[tokio::test]
async fn requests_share_a_connection_and_look_as_http2_has_them() {
    let origin = answering(100, tell).await;
    let server = server(&origin);
    let all = join_all((0..50).map(|_| send(&server, request(Method::GET, "/a?b")))).await;
    for res in all {
        assert_eq!(text(res.unwrap()).await, "GET http://site.test/a?b []");
    }
    let mut req = request_with(Method::POST, &[("connection", "x-a"), ("x-a", "1")]);
    req.body = streamed(vec![Frame::data(Bytes::from_static(b"content"))]);
    let res = send(&server, req).await.unwrap();
    assert_eq!(res.fields["via"], "2 seawall");
    assert_eq!(text(res).await, "POST http://site.test/ []");
    assert_eq!((origin.accepted(), server.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_server_that_takes_an_upload_is_not_silent() {
    let origin = answering(100, |req, mut respond| async move {
        let mut body = respond.send_response(head(200), false).unwrap();
        body.send_data("be".into(), false).unwrap();
        received(req.into_body()).await;
        body.send_data("go".into(), true).unwrap();
    })
    .await;
    let server = server_of(&origin, |pool| pool.timeouts.between_bytes = Duration::from_millis(100));
    let mut req = request_with(Method::POST, &[]);
    req.body = test_origin::slow_content();
    assert_eq!(text(send(&server, req).await.unwrap()).await, "bego");
}

#[tokio::test]
async fn trailers_pass_both_ways_but_for_those_that_harm() {
    let origin = answering(100, |req, mut respond| async move {
        assert_eq!(req.headers()[TE], "trailers");
        let (content, trailers) = received(req.into_body()).await;
        assert_eq!((content.as_slice(), trailers), (&b"ping"[..], Some(field("x-sum", "1"))));
        let mut body = respond.send_response(head(200), false).unwrap();
        body.send_data(Bytes::from_static(b"pong"), false).unwrap();
        let mut trailers = field("grpc-status", "0");
        trailers.insert("set-cookie", HeaderValue::from_static("a=b"));
        body.send_trailers(trailers).unwrap();
    })
    .await;
    let mut req = request_with(Method::POST, &[("te", "trailers")]);
    let mut trailers = field("x-sum", "1");
    trailers.insert("x-forwarded-for", HeaderValue::from_static("1"));
    req.body = streamed(vec![Frame::data(Bytes::from_static(b"ping")), Frame::trailers(trailers)]);
    let res = send(&server(&origin), req).await.unwrap();
    let res = res.body.collect().await.unwrap();
    assert_eq!(res.trailers(), Some(&field("grpc-status", "0")));
    assert_eq!(res.to_bytes(), "pong");
}

#[tokio::test]
async fn both_sides_may_speak_at_once() {
    let origin = answering(100, |req, mut respond| async move {
        let mut answer = respond.send_response(head(200), false).unwrap();
        let mut asked = req.into_body();
        while let Some(Ok(data)) = asked.data().await {
            asked.flow_control().release_capacity(data.len()).unwrap();
            answer.send_data(data, false).unwrap();
        }
        answer.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let (say, said) = mpsc::unbounded_channel::<Bytes>();
    let said = futures_util::stream::unfold(said, |mut said| async move {
        let data = said.recv().await?;
        Some((Ok::<_, BodyError>(Frame::data(data)), said))
    });
    let mut req = request(Method::POST, "/");
    req.body = Body::boxed(StreamBody::new(Box::pin(said)));
    let mut res = send(&server(&origin), req).await.unwrap().body;
    for word in ["one", "two"] {
        say.send(Bytes::from_static(word.as_bytes())).unwrap();
        let heard = timeout(Duration::from_secs(30), res.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(heard.into_data().unwrap(), word);
    }
    drop(say);
    assert!(res.frame().await.is_none_or(|frame| frame.unwrap().into_data().unwrap().is_empty()));
}

/// No window bounds how many there are.
#[tokio::test]
async fn empty_frames_of_a_server_are_passed_on_to_nobody() {
    let origin = answering(100, |_, mut respond| async move {
        let mut body = respond.send_response(head(200), false).unwrap();
        for (data, is_last) in [("", false), ("content", false), ("", false), ("", true)] {
            body.send_data(Bytes::from_static(data.as_bytes()), is_last).unwrap();
        }
    })
    .await;
    let mut res = send(&server(&origin), request(Method::GET, "/")).await.unwrap().body;
    assert_eq!(res.frame().await.unwrap().unwrap().into_data().unwrap(), "content");
    assert!(res.frame().await.is_none());
}

/// A client that keeps what it is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(StatusCode, HeaderMap)>>);

impl InterimClient for Told {
    fn tell(&self, _: u64, status: StatusCode, fields: &HeaderMap) {
        self.0.lock().unwrap().push((status, fields.clone()));
    }
}

#[tokio::test]
async fn interim_responses_pass_as_they_come() {
    let go_on = Arc::new(Notify::new());
    let goes_on = Arc::clone(&go_on);
    let origin = answering(100, move |_, mut respond| {
        let go_on = Arc::clone(&goes_on);
        async move {
            for status in [100, 101, 102, 103] {
                let mut interim = head(status);
                interim.headers_mut().insert("link", HeaderValue::from_static("</style.css>; rel=preload"));
                respond.send_informational(interim).unwrap();
            }
            go_on.notified().await;
            respond.send_informational(head(103)).unwrap();
            respond.send_response(head(204), true).unwrap();
        }
    })
    .await;
    let told = Arc::new(Told::default());
    let mut req = request(Method::GET, "/");
    req.interim = Some(Interim::new(Arc::clone(&told) as _, 0));
    let server = server(&origin);
    let answer = send(&server, req);
    let hints = async {
        while told.0.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        go_on.notify_one();
    };
    let (answer, ()) = timeout(Duration::from_secs(30), async { tokio::join!(answer, hints) }).await.unwrap();
    assert_eq!(answer.unwrap().status, StatusCode::NO_CONTENT);
    let told = told.0.lock().unwrap();
    // The others are about this connection alone.
    assert_eq!(told.iter().map(|(status, _)| status.as_u16()).collect::<Vec<_>>(), [102, 103, 103]);
    assert_eq!(told[1].1["link"], "</style.css>; rel=preload");
    assert_eq!(told[1].1["via"], "2 seawall");
}

async fn failure(server: &Arc<OriginServer>, req: Box<crate::exchange::Request>) -> FetchError {
    match send(server, req).await {
        Err(error) => error,
        Ok(res) => panic!("{}", res.status),
    }
}

#[tokio::test]
async fn readers_that_are_slow_hold_up_no_other() {
    const LENGTH: usize = 1 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let origin = answering(100, move |_, mut respond| {
        let sent = Arc::clone(&counted);
        async move {
            let mut body = respond.send_response(head(200), false).unwrap();
            let mut left = LENGTH;
            while left > 0 {
                body.reserve_capacity(left.min(16 << 10));
                let Some(Ok(room)) = poll_fn(|context| body.poll_capacity(context)).await else {
                    return;
                };
                let length = room.min(left);
                left -= length;
                sent.fetch_add(length, Relaxed);
                body.send_data(vec![0; length].into(), left == 0).unwrap();
            }
        }
    })
    .await;
    let server = server(&origin);
    let slow = join_all((0..60).map(|_| send(&server, request(Method::GET, "/")))).await;
    let whole = send(&server, request(Method::GET, "/")).await.unwrap();
    let whole = timeout(Duration::from_secs(30), content(whole)).await.unwrap().unwrap();
    assert_eq!((whole.len(), origin.accepted()), (LENGTH, 1));
    // Of the others only their windows are on the way.
    let windows = 60 * STREAM_WINDOW as usize;
    let all = async {
        while sent.load(Relaxed) < windows + LENGTH {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("a window of each is read ahead");
    assert_eq!(sent.load(Relaxed), windows + LENGTH);
    drop(slow);
}

#[tokio::test]
async fn too_many_fields_are_refused() {
    let origin = answering(100, |_, mut respond| async move {
        let mut res = head(200);
        for number in 0..200 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            res.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        respond.send_response(res, true).unwrap();
    })
    .await;
    let error = failure(&server(&origin), request(Method::GET, "/")).await;
    assert_eq!(error.kind, ProxyErrorType::HttpResponseHeaderSectionSize);
}

#[tokio::test]
async fn a_server_that_takes_no_connect_is_asked_for_no_tunnel() {
    let origin = answering(100, tell).await;
    let mut req = request(Method::GET, "/");
    req.upgrade = Some(HeaderValue::from_static("websocket"));
    let error = failure(&server(&origin), req).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::HttpUpgradeFailed, RequestProgress::NotSent));
}

/// As by HTTP/1.1, and no other server is asked for the same.
#[tokio::test]
async fn fields_that_are_too_large_are_refused() {
    let origin = answering(100, |req, mut respond| async move {
        let length = req.uri().query().unwrap().parse().unwrap();
        let mut res = head(200);
        res.headers_mut().insert("x-large", "a".repeat(length).parse().unwrap());
        respond.send_response(res, true).unwrap();
    })
    .await;
    // The limit is 16 KiB.
    let server = server(&origin);
    assert!(send(&server, request(Method::GET, "/?16000")).await.is_ok());
    for (path, kind) in [
        ("/?16400", ProxyErrorType::HttpResponseHeaderSectionSize),
        ("/?32000", ProxyErrorType::HttpResponseHeaderSectionSize),
        ("/?33000", ProxyErrorType::HttpProtocolError),
    ] {
        let error = failure(&server, request(Method::GET, path)).await;
        assert_eq!((error.kind, error.progress), (kind, RequestProgress::Answered), "{path}");
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_found_out() {
    let origin = TestOrigin::always("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let error = failure(&server(&origin), request(Method::POST, "/")).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::HttpProtocolError, RequestProgress::NotSent));

    let origin = TestOrigin::start(|_, stream| async move { drop(stream) }).await;
    let error = failure(&server(&origin), request(Method::POST, "/")).await;
    let gone = (ProxyErrorType::ConnectionTerminated, RequestProgress::NotSent);
    assert_eq!((error.kind, error.progress), gone, "it may be about to restart");

    let origin = TestOrigin::start(|_, stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let server = server_of(&origin, |pool| pool.timeouts.connect = Duration::from_millis(30));
    let error = failure(&server, request(Method::POST, "/")).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTimeout, RequestProgress::NotSent));
}
