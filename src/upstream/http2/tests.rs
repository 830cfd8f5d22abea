//! Requests over HTTP/2, to servers of the `h2` crate that do as each test says.

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
use crate::exchange::{Body, BodyError, FetchError, RequestProgress, Response};
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

async fn text(res: Response) -> String {
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
async fn another_connection_is_opened_when_streams_run_out() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(2, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server(&origin);
    let six = join_all((0..6).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        let mut held = Vec::new();
        while held.len() < 6 {
            held.push(arrivals.recv().await.unwrap());
        }
        held.iter_mut().for_each(|respond| drop(respond.send_response(head(204), true).unwrap()));
    };
    let (six, ()) = timeout(Duration::from_secs(30), async { tokio::join!(six, answer) }).await.unwrap();
    assert!(six.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 3);
}

#[tokio::test]
async fn a_connection_that_was_used_enough_ends_with_its_last_stream() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(100, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server_of(&origin, |pool| pool.connection_life.requests = Some(2));
    let five = join_all((0..5).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        let mut held = Vec::new();
        while held.len() < 5 {
            held.push(arrivals.recv().await.unwrap());
        }
        held.iter_mut().for_each(|respond| drop(respond.send_response(head(204), true).unwrap()));
    };
    let (five, ()) = timeout(Duration::from_secs(30), async { tokio::join!(five, answer) }).await.unwrap();
    assert!(five.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 3);
    let closed = async {
        while server.open_connections() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.expect("those that are used up end");
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

#[tokio::test]
async fn a_connection_that_ends_costs_no_client_an_error() {
    for is_abrupt in [false, true] {
        let origin = origin(100, move |_, mut connection| async move {
            // One request each.
            if let Some(Ok((req, respond))) = connection.accept().await {
                tell(req, respond).await;
                if !is_abrupt {
                    connection.graceful_shutdown();
                }
            }
            let rest = timeout(Duration::from_millis(20), poll_fn(|context| connection.poll_closed(context)));
            let _closed = rest.await;
        })
        .await;
        let server = server(&origin);
        for _ in 0..20 {
            assert!(text(send(&server, request(Method::GET, "/")).await.unwrap()).await.starts_with("GET"));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert!(origin.accepted() > 1);
    }
}

#[tokio::test]
async fn what_the_server_refused_is_not_processed_and_may_be_sent_again() {
    let origin =
        answering(100, |_, mut respond| async move { respond.send_reset(Reason::REFUSED_STREAM) }).await;
    let mut req = request(Method::POST, "/");
    req.body = Body::Full(Bytes::from_static(b"content"));
    let error = failure(&server(&origin), req).await;
    assert_eq!(
        (error.kind, error.progress),
        (ProxyErrorType::ConnectionTerminated, RequestProgress::NotSent)
    );

    let origin =
        answering(100, |_, mut respond| async move { respond.send_reset(Reason::INTERNAL_ERROR) }).await;
    let error = failure(&server(&origin), request(Method::POST, "/")).await;
    assert_eq!(error.progress, RequestProgress::Sent);
    assert_eq!(origin.accepted(), 1);
}

/// Reads the next frame: its type, flags and stream (RFC 9113 s4.1).
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, rest @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(rest)))
}

/// The other side of a connection on which two of three requests are processed.
async fn go_away_after_the_second(mut stream: TcpStream) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&SETTINGS).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    // `:status: 200`, and the end of the stream.
    let answer = |id: u32| [&[0, 0, 1, 1, 5], &id.to_be_bytes()[..], &[0x88]].concat();
    let mut requests = 0;
    while let Some((kind, _, id)) = frame(&mut stream).await {
        if kind != 1 {
            continue;
        }
        requests += 1;
        if requests == 3 {
            let last = (id - 2).to_be_bytes();
            let gone = [&[0, 0, 8, 7, 0, 0, 0, 0, 0], &last[..], &[0, 0, 0, 0]].concat();
            stream.write_all(&[gone, answer(id - 2)].concat()).await.unwrap();
        } else if requests == 1 {
            stream.write_all(&answer(id)).await.unwrap();
        }
    }
}

/// RFC 9113 s6.8
#[tokio::test]
async fn what_came_after_a_goaway_goes_out_on_a_new_connection() {
    let origin = TestOrigin::start(|number, stream| async move {
        if number == 0 {
            return go_away_after_the_second(stream).await;
        }
        let mut connection = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
        while let Some(Ok((req, respond))) = connection.accept().await {
            tell(req, respond).await;
        }
    })
    .await;
    let server = server(&origin);
    let post = || crate::exchange::Request {
        body: Body::Full(Bytes::from_static(b"content")),
        ..request(Method::POST, "/")
    };
    text(send(&server, post()).await.unwrap()).await;
    let both = async { tokio::join!(send(&server, post()), send(&server, post())) };
    let (one, other) = timeout(Duration::from_secs(30), both).await.unwrap();
    let mut texts = [text(one.unwrap()).await, text(other.unwrap()).await];
    texts.sort();
    assert_eq!(texts, ["", "POST http://site.test/ []"]);
    assert_eq!(origin.accepted(), 2);
}

async fn failure(server: &Arc<OriginServer>, req: crate::exchange::Request) -> FetchError {
    match send(server, req).await {
        Err(error) => error,
        Ok(res) => panic!("{}", res.status),
    }
}

#[tokio::test]
async fn content_that_was_cut_never_ends_as_if_it_were_whole() {
    let is_read = Arc::new(Notify::new());
    let cut = Arc::clone(&is_read);
    let origin = answering(100, move |_, mut respond| {
        let cut = Arc::clone(&cut);
        async move {
            let mut body = respond.send_response(head(200), false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            cut.notified().await;
            body.send_reset(Reason::CANCEL);
        }
    })
    .await;
    let mut res = send(&server(&origin), request(Method::GET, "/")).await.unwrap();
    assert_eq!(res.body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    is_read.notify_one();
    assert!(matches!(content(res).await, Err(BodyError::Connection(_))));
}

/// RFC 9113 s8.1
#[tokio::test]
async fn a_reset_without_an_error_is_no_end() {
    let is_read = Arc::new(Notify::new());
    let cut = Arc::clone(&is_read);
    let origin = answering(100, move |_, mut respond| {
        let cut = Arc::clone(&cut);
        async move {
            let mut body = respond.send_response(head(200), false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            cut.notified().await;
            body.send_reset(Reason::NO_ERROR);
        }
    })
    .await;
    let mut res = send(&server(&origin), request(Method::GET, "/")).await.unwrap();
    assert_eq!(res.body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    is_read.notify_one();
    assert!(matches!(content(res).await, Err(BodyError::Cut)));
}

/// A server that answers and reads no further holds neither content nor streams.
#[tokio::test]
async fn what_is_still_sent_after_the_answer_ends_with_its_connection() {
    let origin = answering(100, |req, mut respond| async move {
        respond.send_response(head(413), true).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(req);
    })
    .await;
    let server = server(&origin);
    let (held, gone) = tokio::sync::oneshot::channel::<()>();
    let endless = futures_util::stream::unfold(held, |held| async move {
        Some((Ok::<_, BodyError>(Frame::data(Bytes::from_static(&[0; 16 << 10]))), held))
    });
    let mut req = request(Method::POST, "/");
    req.body = Body::boxed(StreamBody::new(Box::pin(endless)));
    let res = send(&server, req).await.unwrap();
    assert_eq!(res.status, StatusCode::PAYLOAD_TOO_LARGE);
    content(res).await.unwrap();
    text(send(&server_of(&answering(100, tell).await, |_| {}), request(Method::GET, "/")).await.unwrap())
        .await;
    // The next one looks at what is there.
    let again = send(&server, request(Method::GET, "/")).await.unwrap();
    assert_eq!(again.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(origin.accepted(), 2);
    timeout(Duration::from_secs(30), gone).await.expect("the content is let go").unwrap_err();
}

#[tokio::test]
async fn no_more_connections_are_kept_than_are_allowed() {
    let origin = answering(1, tell).await;
    let server = server_of(&origin, |pool| pool.max_connections = 4);
    for _ in 0..5 {
        let four = join_all((0..4).map(|_| send(&server, request(Method::GET, "/")))).await;
        join_all(four.into_iter().map(|res| text(res.unwrap()))).await;
    }
    assert!(server.open_connections() <= 4, "{}", server.open_connections());
}

#[tokio::test]
async fn requests_may_be_more_than_connections() {
    for (streams, wanted) in [(100, 50), (2, 2)] {
        let origin = answering(streams, tell).await;
        let server = server_of(&origin, |pool| {
            (pool.max_connections, pool.max_requests) = (1, 50);
            pool.queue.timeout = Duration::from_millis(20);
        });
        // What is not read is under way.
        let held = join_all((0..wanted).map(|_| send(&server, request(Method::GET, "/")))).await;
        assert!(held.iter().all(Result::is_ok), "{held:?}");
        let refused = failure(&server, request(Method::POST, "/")).await;
        assert_eq!(
            (refused.kind, refused.progress),
            (ProxyErrorType::ConnectionLimitReached, RequestProgress::NotSent)
        );
        assert_eq!(origin.accepted(), 1);
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_takes_a_stream_that_is_left_meanwhile() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(1, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server_of(&origin, |pool| (pool.max_connections, pool.max_requests) = (1, 3));
    let all = join_all((0..3).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        for _ in 0..3 {
            let mut respond = arrivals.recv().await.unwrap();
            respond.send_response(head(204), true).unwrap();
        }
    };
    let (all, ()) = timeout(Duration::from_secs(30), async { tokio::join!(all, answer) }).await.unwrap();
    assert!(all.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn all_who_wait_for_a_connection_that_takes_too_long_may_go_elsewhere() {
    let silent = Silent::start().await;
    let mut pool = test_origin::pool(&[silent.address]);
    pool.servers[0].protocol = OriginProtocol::Http2;
    pool.timeouts.connect = Duration::from_millis(50);
    let server = test_origin::server(&pool);
    for error in join_all((0..4).map(|_| failure(&server, request(Method::POST, "/")))).await {
        assert_eq!(
            (error.kind, error.progress),
            (ProxyErrorType::ConnectionTimeout, RequestProgress::NotSent)
        );
    }
}

#[tokio::test]
async fn all_who_wait_for_room_are_told_to_come_later() {
    let origin = answering(1, tell).await;
    let server = server_of(&origin, |pool| {
        (pool.max_connections, pool.max_requests) = (1, 4);
        (pool.timeouts.connect, pool.queue.timeout) = (Duration::from_secs(1), Duration::from_secs(2));
    });
    let _held = send(&server, request(Method::GET, "/")).await.unwrap();
    for error in join_all((0..3).map(|_| failure(&server, request(Method::POST, "/")))).await {
        assert_eq!(error.kind, ProxyErrorType::ConnectionLimitReached);
        assert!(error.retry_after.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_may_be_opened_another_worker_s_connection_will_do() {
    let origin = answering(100, tell).await;
    let server = server_of(&origin, |pool| pool.max_connections = 1);
    for _ in 0..4 {
        let same = Arc::clone(&server);
        let other_worker = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async { text(send(&same, request(Method::GET, "/")).await.unwrap()).await })
        });
        assert!(other_worker.await.unwrap().starts_with("GET"));
        text(send(&server, request(Method::GET, "/")).await.unwrap()).await;
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_server_that_takes_no_requests_was_sent_none() {
    let origin = answering(0, tell).await;
    let error = failure(&server(&origin), request(Method::POST, "/")).await;
    assert_eq!(error.progress, RequestProgress::NotSent);
}

#[tokio::test]
async fn a_silent_server_is_given_up_with_its_connection() {
    let origin = origin(100, |number, mut connection| async move {
        let mut held = Vec::new();
        while let Some(Ok((req, respond))) = connection.accept().await {
            if number == 0 {
                held.push(respond);
            } else {
                tell(req, respond).await;
            }
        }
    })
    .await;
    let server = server_of(&origin, |pool| pool.timeouts.first_byte = Duration::from_millis(30));
    let error = failure(&server, request(Method::GET, "/")).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::HttpResponseTimeout, RequestProgress::Sent));
    assert!(send(&server, request(Method::GET, "/")).await.is_ok());
    assert_eq!(origin.accepted(), 2);
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
async fn a_connection_is_kept_from_its_last_request_on() {
    let origin = answering(100, tell).await;
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let mut pool = test_origin::pool(&[origin.address]);
    pool.servers[0].protocol = OriginProtocol::Http2;
    let told = Arc::clone(&clock) as Arc<dyn Clock>;
    let server = test_origin::server_with(&pool, told);
    let ask = async || text(send(&server, request(Method::GET, "/")).await.unwrap()).await;
    ask().await;
    for (passed, connections) in [(59, 1), (59, 1), (60, 2)] {
        clock.advance(Duration::from_secs(passed));
        ask().await;
        assert_eq!(origin.accepted(), connections);
    }
    clock.advance(Duration::from_secs(59));
    server.sweep_idle();
    assert_eq!(server.open_connections(), 1);
    clock.advance(Duration::from_secs(1));
    server.sweep_idle();
    let closed = async {
        while server.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.unwrap();
    ask().await;
    server.close_idle();
    ask().await;
    ask().await;
    assert_eq!(origin.accepted(), 5);
}

#[tokio::test]
async fn a_server_that_gets_no_more_ends_what_it_has_on_each_connection() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let origin = answering(1, move |_, mut respond| {
        let gate = Arc::clone(&gate);
        async move {
            let mut body = respond.send_response(head(200), false).unwrap();
            gate.notified().await;
            body.send_data("whole".into(), true).unwrap();
        }
    })
    .await;
    let server = server(&origin);
    let [idle, busy] = [send(&server, request(Method::GET, "/")), send(&server, request(Method::GET, "/"))];
    let (idle, busy) = (idle.await.unwrap(), busy.await.unwrap());
    opened.notify_one();
    assert_eq!((text(idle).await.as_str(), server.open_connections()), ("whole", 2));
    server.close_idle();
    let left = async |connections| {
        while server.open_connections() > connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), left(1)).await.expect("that without requests is closed");
    opened.notify_one();
    assert_eq!(text(busy).await, "whole");
    timeout(Duration::from_secs(30), left(0)).await.expect("and then the other one");
}

/// A server whose first connection says nothing after the settings.
async fn mute_at_first() -> TestOrigin {
    origin(100, |number, mut connection| async move {
        if number == 0 {
            // What is not read is not answered either, no PING.
            let _accepted = connection.accept().await;
            return std::future::pending().await;
        }
        while let Some(Ok((req, respond))) = connection.accept().await {
            tell(req, respond).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_given_up_at_once() {
    let origin = mute_at_first().await;
    let server = server_of(&origin, |pool| {
        pool.timeouts.ping = Some(Duration::from_millis(30));
        pool.timeouts.connect = Duration::from_millis(500);
    });
    let error = failure(&server, request(Method::GET, "/")).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTerminated, RequestProgress::Sent));
    assert!(text(send(&server, request(Method::GET, "/")).await.unwrap()).await.starts_with("GET"));
}

#[tokio::test]
async fn nothing_further_is_sent_on_a_connection_that_is_silent() {
    let origin = mute_at_first().await;
    let server = server_of(&origin, |pool| pool.timeouts.connect = Duration::from_millis(300));
    let waits = Tasks::new().spawn({
        let server = Arc::clone(&server);
        async move { send(&server, request(Method::GET, "/")).await.is_ok() }
    });
    let answered = async {
        // Those of the first moments share the connection.
        loop {
            let sent = send(&server, request(Method::GET, "/"));
            if let Ok(Ok(res)) = timeout(Duration::from_millis(100), sent).await {
                return text(res).await;
            }
        }
    };
    assert!(timeout(Duration::from_secs(30), answered).await.unwrap().starts_with("GET"));
    assert!(!waits.is_finished() && origin.accepted() == 2);
    waits.abort();
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
    assert_eq!(error.progress, RequestProgress::NotSent);

    let origin = TestOrigin::start(|_, stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let server = server_of(&origin, |pool| pool.timeouts.connect = Duration::from_millis(30));
    let error = failure(&server, request(Method::POST, "/")).await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTimeout, RequestProgress::NotSent));
}
