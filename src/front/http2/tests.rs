//! HTTP/2 with clients that take what they are sent in their own way, or not at all.

mod fairness;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use h2::SendStream;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::base::{Clock, SystemClock};
use crate::exchange::{Body, Handling};
use crate::front::tests::{URL, answer, connect, connect_through, front, panicking_front, request};
use crate::front::{ConnectionProtocol, Front};
use crate::telemetry::metrics::Limit;

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
    assert_eq!(reset.reason(), Some(Reason::CANCEL));
    assert_eq!(bitten(&front), [Limit::WriteTimeout]);
}

/// The limits that something came to.
fn bitten(front: &Front) -> Vec<Limit> {
    let counts = Limit::ALL.iter().zip(&front.telemetry().metrics.limits);
    counts.filter(|(_, count)| count.value() > 0).map(|((limit, _), _)| *limit).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_piece_is_waited_for_as_any_other() {
    let front = front(|_| answer(Body::Full(vec![b'a'; 1000].into()))).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1);
    let stream = connect(&front, ConnectionProtocol::Http2);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    front.tasks().spawn(connection);
    let (res, _) = sender.send_request(request().map(|_| ()), true).unwrap();
    let mut content = res.await.unwrap().into_body();
    let began = SystemClock.now();
    // Bit by bit as well as at once: it has the time that a piece has at the least rate.
    for _ in 0..15 {
        let length = content.data().await.unwrap().unwrap().len();
        content.flow_control().release_capacity(length).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let reset = loop {
        if let Err(error) = content.data().await.unwrap() {
            break error;
        }
    };
    assert_eq!(reset.reason(), Some(Reason::CANCEL));
    assert_eq!((SystemClock.now() - began).as_secs(), 16);
    assert_eq!(bitten(&front), [Limit::WriteTimeout]);
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
        content.send_reset(Reason::CANCEL);
        given_up += 1;
        assert!(given_up < 200);
        sender = ready;
    }
    assert!(given_up > 100, "{given_up}");
    let metrics = &front.telemetry().metrics;
    let counted = Limit::ALL.iter().zip(&metrics.limits).find(|((limit, _), _)| *limit == Limit::H2Resets);
    assert_eq!(counted.unwrap().1.value(), 1);
}

/// RFC 9113 s5.2: a client decides how much it is sent.
#[tokio::test]
async fn what_a_client_gives_up_whole_in_its_midst_is_given_up() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let stream = connect(&front, ConnectionProtocol::Http2);
    let mut builder = h2::client::Builder::new();
    let (mut sender, connection) =
        builder.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    front.tasks().spawn(connection);
    let mut given_up = 0;
    while let Ok(mut ready) = sender.clone().ready().await {
        let Ok((res, mut content)) = ready.send_request(request().map(|_| ()), true) else { break };
        let Ok(res) = res.await else { break };
        content.send_reset(Reason::CANCEL);
        drop(res);
        given_up += 1;
        assert!(given_up < 200);
        sender = ready;
    }
    assert!(given_up > 100, "{given_up}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_counted_as_over_http1() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let io = TokioIo::new(connect(&front, ConnectionProtocol::Http2));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    front.tasks().spawn(connection);
    let (line, fields) = (front.limits().request_line, front.limits().header_bytes);
    for (path, value, status, limit) in [
        (1, fields - 100, StatusCode::OK, None),
        (line - 100, 1, StatusCode::OK, None),
        (1, fields, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Some(Limit::HeaderBytes)),
        (line, 1, StatusCode::URI_TOO_LONG, Some(Limit::RequestLine)),
    ] {
        let mut req = request();
        *req.uri_mut() = format!("{URL}{}", "a".repeat(path)).parse().unwrap();
        req.headers_mut().insert("x-long", HeaderValue::from_str(&"a".repeat(value)).unwrap());
        assert_eq!(sender.send_request(req).await.unwrap().status(), status);
        let counted = limit.map_or(0, |limit| front.telemetry().metrics.limits[limit as usize].value());
        assert_eq!(counted, u64::from(limit.is_some()), "{limit:?}");
    }
}

#[tokio::test]
async fn a_connection_that_has_as_many_streams_as_it_may_is_counted() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let front = front(move |_| {
        counted.fetch_add(1, Relaxed);
        Handling::pending(std::future::pending())
    })
    .await;
    let io = TokioIo::new(connect(&front, ConnectionProtocol::Http2));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    front.tasks().spawn(connection);
    let most = front.limits().h2_streams as usize;
    for streams in 1..=most {
        sender.ready().await.unwrap();
        front.tasks().spawn(sender.send_request(request()));
        while asked.load(Relaxed) < streams {
            tokio::task::yield_now().await;
        }
        let bitten = front.telemetry().metrics.limits[Limit::H2Streams as usize].value();
        assert_eq!(bitten, u64::from(streams == most), "{streams}");
    }
}

/// The bytes of a frame (RFC 9113 s4.1).
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// What a client begins with, and so many requests of it.
fn requests(count: u32) -> Vec<u8> {
    // GET http://a.test/ (RFC 7541 s6.1, s6.2.2).
    let block = [&[0x82, 0x86, 0x84, 0x01, 6][..], b"a.test"].concat();
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    (0..count).fold(begin, |sent, at| [sent, frame(1, 0b101, 2 * at + 1, &block)].concat())
}

/// RFC 9113 s6.8: what comes after the last stream that it names can be sent again.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_ended_names_the_last_request() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let mut client = connect(&front, ConnectionProtocol::Http2);
    client.write_all(&requests(3)).await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    let goaway = frame(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]);
    assert!(received.windows(goaway.len()).any(|window| window == goaway), "{received:?}");
}

/// What a client says while it still reads is not answered with a reset, which could cost it
/// the rest.
#[tokio::test(start_paused = true)]
async fn a_drained_connection_lingers_while_its_client_takes_the_last_response() {
    let front = front(|_| answer(Body::Full("well".into()))).await;
    let mut client = connect(&front, ConnectionProtocol::Http2);
    client.write_all(&requests(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    front.drain();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ponged = frame(6, 1, 0, b"\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54");
    client.write_all(&ponged).await.unwrap();
    let began = front.clock.now();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    let window = frame(8, 0, 0, &[0, 0, 1, 0]);
    while client.write_all(&window).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!((front.clock.now() - began).as_secs(), 31);
}

/// Sends as much at a time as the other end has room for.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
        stream.send_data(data.split_to(room.min(data.len())), false).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in what pieces, and however little there is room for.
    #[test]
    fn what_a_client_sends_it_gets_back(
        pieces in prop::collection::vec(0usize..40_000, 0..10),
        window in 1u32..100_000,
        through in 64usize..100_000,
        taken in 1usize..50_000,
        has_trailers in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let front = front(|req| answer(req.body)).await;
            let stream = connect_through(&front, ConnectionProtocol::Http2, through);
            let mut builder = h2::client::Builder::new();
            let connected = builder.initial_window_size(window).handshake::<_, Bytes>(stream);
            let (mut sender, connection) = connected.await.unwrap();
            front.tasks().spawn(connection);
            let length: usize = pieces.iter().sum();
            let sent: Bytes = (0..length).map(|index| (index % 251) as u8).collect();
            let put = Request::put(URL).header("content-length", length).body(()).unwrap();
            let (res, mut content) = sender.send_request(put, false).unwrap();
            let trailers = HeaderMap::from_iter([("etag".parse().unwrap(), HeaderValue::from_static("\"a\""))]);
            let give = async {
                let mut rest = sent.clone();
                for piece in &pieces {
                    send(&mut content, rest.split_to(*piece)).await;
                    tokio::task::yield_now().await;
                }
                match has_trailers {
                    true => content.send_trailers(trailers.clone()).unwrap(),
                    false => content.send_data(Bytes::new(), true).unwrap(),
                }
            };
            let take = async {
                let res = res.await.unwrap();
                assert_eq!(res.headers()["content-length"], length.to_string().as_str());
                let (mut body, mut received, mut unreleased) = (res.into_body(), Vec::new(), 0);
                while let Some(data) = body.data().await {
                    received.extend_from_slice(&data.unwrap());
                    let new = received.len() - unreleased;
                    // A client that waits for what there is no window for waits for ever.
                    if new >= taken.min(window as usize) {
                        body.flow_control().release_capacity(new).unwrap();
                        unreleased += new;
                    }
                }
                (received, body.trailers().await.unwrap())
            };
            let ((), (received, got)) = tokio::time::timeout(Duration::from_secs(20), async {
                tokio::join!(give, take)
            })
            .await
            .unwrap();
            assert!(received == sent);
            assert_eq!(got, has_trailers.then_some(trailers.clone()));
        });
    }
}
