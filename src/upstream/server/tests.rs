use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::*;
use crate::base::ManualClock;
use crate::exchange::BodyError;
use crate::upstream::test_origin::{
    self, TestOrigin, content, echo, pool, read_request, request, request_with, send, server, server_with,
};

mod connections;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Closes with a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

async fn failure(response: &'static [u8]) -> FetchError {
    let origin = TestOrigin::once(response).await;
    match send(&origin.server(), request(Method::GET, "/")).await {
        Err(error) => error,
        Ok(response) => panic!("{}", response.status),
    }
}

#[tokio::test]
async fn a_response_has_as_many_fields_as_it_may() {
    for most in [8, 100, 200] {
        for (fields, is_taken) in [(most, true), (most + 1, false)] {
            let head = format!("HTTP/1.1 204 No Content\r\n{}\r\n", "X-A: a\r\n".repeat(fields));
            let origin = TestOrigin::once(head.leak().as_bytes()).await;
            let config = PoolConfig { headers: most, ..pool(&[origin.address]) };
            let answer = send(&server(&config), request(Method::GET, "/")).await;
            let taken = answer.map(|response| response.fields.get_all("x-a").iter().count());
            let refused = ProxyErrorType::HttpResponseHeaderSectionSize;
            let expected = if is_taken { Ok(fields) } else { Err(refused) };
            assert_eq!(taken.map_err(|error| error.kind), expected);
        }
    }
}

#[tokio::test]
async fn chunked_and_empty_responses_leave_the_connection_usable() {
    for response in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = TestOrigin::always(response).await;
        let server = origin.server();
        for _ in 0..3 {
            content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
        }
        assert_eq!(origin.accepted(), 1, "{response}");
    }
}

#[tokio::test]
async fn who_has_the_trailers_need_not_ask_for_more() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nETag: \"a\"\r\n\r\n";
    let origin = TestOrigin::always(response).await;
    let server = origin.server();
    for _ in 0..3 {
        let mut content = send(&server, request(Method::GET, "/")).await.unwrap().body;
        while !content.frame().await.unwrap().unwrap().is_trailers() {}
        assert!(content.is_end_stream());
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_connection_with_something_unread_or_unsaid_is_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiGARBAGE",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let origin = TestOrigin::always(response).await;
        let server = origin.server();
        for _ in 0..3 {
            content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
        }
        assert_eq!(origin.accepted(), 3, "{response}");
    }
}

#[tokio::test]
async fn gets_survive_an_origin_that_drops_idle_connections() {
    // Each connection answers once; the next request on it is reset, or meets
    // a connection that is closed already.
    let origin = TestOrigin::start(|index, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        if index % 2 == 0 {
            read_request(&mut stream).await;
            reset(&stream);
        }
    })
    .await;
    let server = origin.server();
    for index in 0..200 {
        let response = send(&server, request(Method::GET, "/")).await;
        let response = response.unwrap_or_else(|error| panic!("request {index}: {error:?}"));
        assert_eq!(content(response).await.unwrap(), "hi");
    }
}

#[tokio::test]
async fn a_post_is_processed_at_most_once() {
    let processed: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&processed);
    let origin = TestOrigin::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            for is_first in [true, false] {
                let Some(text) = read_request(&mut stream).await else { return };
                seen.lock().unwrap().push(text.lines().last().unwrap().to_owned());
                if is_first {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            }
            reset(&stream);
        }
    })
    .await;
    let server = origin.server();
    for index in 0..40 {
        let mut req = request(Method::POST, "/");
        req.body = Body::Full(Bytes::from(format!("order {index}")));
        match send(&server, req).await {
            Ok(response) => assert_eq!(content(response).await.unwrap(), "hi"),
            Err(error) => assert_eq!(error.progress, RequestProgress::Sent),
        }
    }
    let mut orders = processed.lock().unwrap().clone();
    let count = orders.len();
    orders.sort();
    orders.dedup();
    assert_eq!((orders.len(), count), (40, 40));
}

#[tokio::test]
async fn malformed_responses_are_refused() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 1024\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 10x\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: blah\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nRAW",
        "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        "<html>no head at all</html>",
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nX-A: a\rX-Evil: 1\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nX-A: a\r\n X-Evil: 1\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let error = failure(response.as_bytes()).await;
        assert_eq!(error.kind, ProxyErrorType::HttpProtocolError, "{response:?}: {error:?}");
        assert_eq!(error.progress, RequestProgress::Answered, "{response:?}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let many: String = (0..101).map(|index| format!("X-{index}: a\r\n")).collect();
    let long = format!("X-A: {}\r\n", "a".repeat(20_000));
    for fields in [many, long] {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n").leak();
        let error = failure(response.as_bytes()).await;
        assert_eq!(error.kind, ProxyErrorType::HttpResponseHeaderSectionSize);
    }
}

#[tokio::test]
async fn a_cut_head_is_incomplete_and_an_early_end_is_told_apart() {
    let error = failure(b"HTTP/1.1 200 OK\r\nX-A").await;
    assert_eq!(
        (error.kind, error.progress),
        (ProxyErrorType::HttpResponseIncomplete, RequestProgress::Answered)
    );
    let reset_amid = TestOrigin::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-A").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        reset(&stream);
    })
    .await;
    let error = send(&reset_amid.server(), request(Method::GET, "/")).await.unwrap_err();
    assert_eq!(error.kind, ProxyErrorType::HttpResponseIncomplete);
    let error = failure(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(error.progress, RequestProgress::Answered);
    let error = failure(b"").await;
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTerminated, RequestProgress::Sent));
}

#[tokio::test]
async fn nobody_listening_means_nothing_was_sent() {
    let origin = TestOrigin::always(OK).await;
    // Port 1 of the loopback interface has no listener.
    let config = pool(&[(origin.address.ip(), 1).into()]);
    let error = send(&server(&config), request(Method::POST, "/")).await.unwrap_err();
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionRefused, RequestProgress::NotSent));
}

#[tokio::test]
async fn cut_content_is_an_error_and_ends_the_connection() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    ] {
        let origin = TestOrigin::once(response.as_bytes()).await;
        let server = origin.server();
        let response = send(&server, request(Method::GET, "/")).await.unwrap();
        assert!(matches!(content(response).await, Err(BodyError::Connection(_))));
        assert_eq!(server.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.timeouts.first_byte = Duration::from_millis(20);
    let error = send(&server(&config), request(Method::GET, "/")).await.unwrap_err();
    assert_eq!((error.kind, error.progress), (ProxyErrorType::HttpResponseTimeout, RequestProgress::Sent));
}

#[tokio::test]
async fn time_spent_waiting_for_the_client_is_not_the_servers() {
    let origin = TestOrigin::start(|_, mut stream| async move { echo(&mut stream).await }).await;
    let mut config = pool(&[origin.address]);
    config.timeouts.first_byte = Duration::from_millis(20);
    let server = server(&config);
    let (finish, finished) = oneshot::channel::<()>();
    let mut req = request_with(Method::POST, &[("content-length", "2")]);
    req.body = Body::boxed(StreamBody::new(futures_util::stream::once(async move {
        finished.await.unwrap();
        Ok(http_body::Frame::data(Bytes::from_static(b"hi")))
    })));
    let mut outbound = OutboundRequest::new(req, &crate::upstream::Pseudonym::random()).unwrap();
    let sending = server.send(&mut outbound);
    let mut sending = pin!(sending);
    let passed = timeout(Duration::from_millis(100), &mut sending).await;
    assert!(passed.is_err(), "the deadline of the server does not run");
    finish.send(()).unwrap();
    assert!(content(sending.await.unwrap()).await.unwrap().ends_with(b"hi"));
}

#[tokio::test]
async fn silence_within_content_is_an_error() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.timeouts.between_bytes = Duration::from_millis(20);
    let response = send(&server(&config), request(Method::GET, "/")).await.unwrap();
    assert!(matches!(content(response).await, Err(BodyError::TimedOut { .. })));
}

#[tokio::test]
async fn a_failure_of_the_client_is_not_the_servers() {
    let origin = TestOrigin::start(|_, mut stream| async move { echo(&mut stream).await }).await;
    let mut req = request_with(Method::POST, &[("content-length", "2")]);
    let failed = futures_util::stream::iter([Err(BodyError::TooLarge { limit: 1 })]);
    req.body = Body::boxed(StreamBody::new(failed));
    let error = send(&origin.server(), req).await.unwrap_err();
    assert!(matches!(error.request_body, Some(BodyError::TooLarge { limit: 1 })));
}

#[tokio::test]
async fn dropped_content_closes_the_connection() {
    let closed = Arc::new(Notify::new());
    let seen = Arc::clone(&closed);
    let origin = TestOrigin::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
            seen.notify_one();
        }
    })
    .await;
    let server = origin.server();
    drop(send(&server, request(Method::GET, "/")).await.unwrap());
    closed.notified().await;
    assert_eq!(server.in_flight(), 0);
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let server = origin.server();
    let mut req = request_with(Method::POST, &[("content-length", "5000000")]);
    req.body = Body::boxed(StreamBody::new(futures_util::stream::pending()));
    let response = send(&server, req).await.unwrap();
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(content(response).await.unwrap(), "no");
    let response = send(&server, request(Method::GET, "/a-path-of-some-length")).await.unwrap();
    assert_eq!(content(response).await.unwrap(), "no");
    assert_eq!(origin.accepted(), 2, "the connection of the upload is not used again");
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_response() {
    const LENGTH: usize = 32 << 20;
    let (taken, is_taken) = oneshot::channel();
    let taken = Mutex::new(Some(taken));
    let origin = TestOrigin::start(move |_, mut stream| {
        let taken = taken.lock().unwrap().take().unwrap();
        async move {
            let mut part = vec![0; 1 << 16];
            stream.read_exact(&mut part[..16]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4 * part.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&part.repeat(3)).await.unwrap();
            let mut read = 0;
            while read < LENGTH {
                read += stream.read(&mut part).await.unwrap();
            }
            taken.send(()).unwrap();
            stream.write_all(&vec![0; 1 << 16]).await.unwrap();
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let mut req = request_with(Method::POST, &[("content-length", "33554432")]);
    let piece = Bytes::from(vec![0; 1 << 16]);
    let pieces = (0..LENGTH >> 16).map(move |_| Ok(http_body::Frame::data(piece.clone())));
    req.body = Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)));
    let response = send(&origin.server(), req).await.unwrap();
    assert_eq!(response.body.size_hint().exact(), Some(4 << 16));
    is_taken.await.unwrap();
    assert_eq!(content(response).await.unwrap().len(), 4 << 16);
}

#[tokio::test]
async fn a_server_that_takes_an_upload_is_not_silent() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        let mut part = vec![0; 1 << 10];
        stream.read_exact(&mut part[..16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe").await.unwrap();
        let mut last = Vec::new();
        while !last.ends_with(b"0\r\n\r\n") {
            let read = stream.read(&mut part).await.unwrap();
            last.extend_from_slice(&part[..read]);
        }
        stream.write_all(b"go").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.timeouts.between_bytes = Duration::from_millis(100);
    let mut req = request_with(Method::POST, &[]);
    req.body = test_origin::slow_content();
    let response = send(&server(&config), req).await.unwrap();
    assert_eq!(content(response).await.unwrap(), "bego");
}

/// Says half of a response to a request of which it then takes a part every 20 ms until it
/// `stalls`, sends so much content, and says whether the response came whole.
async fn is_whole_beside(length: usize, stalls: bool) -> bool {
    let origin = TestOrigin::start(move |_, mut stream| async move {
        let mut part = vec![0; 1 << 20];
        stream.read_exact(&mut part[..16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe").await.unwrap();
        let mut taken = 0;
        while taken < length {
            tokio::time::sleep(Duration::from_millis(20)).await;
            taken += stream.read(&mut part).await.unwrap();
            if stalls {
                std::future::pending::<()>().await;
            }
        }
        stream.write_all(b"go").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.timeouts.between_bytes = Duration::from_millis(200);
    let mut req = request_with(Method::POST, &[]);
    let piece = Bytes::from(vec![0; 1 << 16]);
    let pieces = (0..length >> 16).map(move |_| Ok(http_body::Frame::data(piece.clone())));
    req.body = Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)));
    let response = send(&server(&config), req).await.unwrap();
    match content(response).await {
        Ok(content) => content == "bego",
        Err(error) => {
            assert!(matches!(error, BodyError::TimedOut { .. }), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn a_server_is_silent_where_it_takes_no_more_of_an_upload_or_has_all() {
    assert!(is_whole_beside(32 << 20, false).await, "one that takes something is not");
    assert!(!is_whole_beside(32 << 20, true).await);
    assert!(!is_whole_beside(1 << 16, true).await);
}

#[tokio::test]
async fn a_client_that_fails_is_named_behind_a_head_too() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe").await.unwrap();
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let mut req = request_with(Method::POST, &[]);
    req.body = Body::boxed(StreamBody::new(futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(BodyError::TooLarge { limit: 1 })
    })));
    let response = send(&origin.server(), req).await.unwrap();
    assert!(matches!(content(response).await, Err(BodyError::TooLarge { limit: 1 })));
}

#[tokio::test]
async fn who_leaves_a_response_that_comes_early_ends_its_upload() {
    let closed = Arc::new(Notify::new());
    let seen = Arc::clone(&closed);
    let origin = TestOrigin::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi").await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            seen.notify_one();
        }
    })
    .await;
    let server = origin.server();
    let mut req = request(Method::POST, "/");
    req.body = Body::boxed(StreamBody::new(futures_util::stream::pending()));
    drop(send(&server, req).await.unwrap());
    closed.notified().await;
    assert_eq!(server.in_flight(), 0);
}

#[tokio::test]
async fn an_answer_counts_though_the_server_resets_the_connection_behind_it() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        reset(&stream);
    })
    .await;
    let server = origin.server();
    for _ in 0..20 {
        let mut req = request_with(Method::POST, &[("content-length", "5000000")]);
        let piece = Bytes::from(vec![0; 10_000]);
        let pieces = (0..500).map(move |_| Ok(http_body::Frame::data(piece.clone())));
        req.body = Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)));
        let response = send(&server, req).await.unwrap();
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(content(response).await.unwrap(), "no");
    }
}

#[tokio::test]
async fn a_switch_of_protocols_makes_a_tunnel() {
    let origin = TestOrigin::start(|_, mut stream| async move {
        let text = read_request(&mut stream).await.unwrap().to_lowercase();
        assert!(text.contains("connection: upgrade\r\n") && text.contains("upgrade: websocket\r\n"));
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    })
    .await;
    let mut req = request_with(Method::GET, &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
    req.upgrade = Some(HeaderValue::from_static("websocket"));
    let server = origin.server();
    let response = send(&server, req).await.unwrap();
    assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
    let Tunnel { end: mut tunnel, carrier } = response.tunnel.unwrap();
    assert_eq!((server.in_flight(), server.tunnels()), (0, 1));
    tunnel.writer.write_all(b"ping").await.unwrap();
    tunnel.writer.flush().await.unwrap();
    let mut heard = [0; 9];
    tunnel.reader.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"firstping");
    drop(carrier);
    assert_eq!(server.tunnels(), 0);
}

/// RFC 9112 s9.3.1 is about connections that were dead already.
#[tokio::test]
async fn what_a_server_has_been_at_for_long_is_not_sent_again_unasked() {
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let passing = Arc::clone(&clock);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let origin = TestOrigin::start(move |_, mut stream| {
        let (passing, counted) = (Arc::clone(&passing), Arc::clone(&counted));
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_request(&mut stream).await;
            counted.fetch_add(1, Relaxed);
            passing.advance(Duration::from_secs(60));
        }
    })
    .await;
    let server = server_with(&pool(&[origin.address]), clock);
    content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
    let error = send(&server, request(Method::GET, "/")).await.unwrap_err();
    assert_eq!((error.kind, error.progress), (ProxyErrorType::ConnectionTerminated, RequestProgress::Sent));
    assert_eq!((requests.load(Relaxed), origin.accepted()), (1, 1));
}

#[tokio::test]
async fn a_stream_may_be_silent_for_longer() {
    for (kind, is_cut) in
        [("text/html", true), ("text/event-stream; charset=utf-8", false), ("application/grpc", false)]
    {
        let origin = TestOrigin::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\nh");
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(80)).await;
            let _ = stream.write_all(b"i").await;
        })
        .await;
        let mut config = pool(&[origin.address]);
        config.timeouts.between_bytes = Duration::from_millis(10);
        let res = send(&server(&config), request(Method::GET, "/")).await.unwrap();
        assert_eq!(content(res).await.is_err(), is_cut, "{kind}");
    }
}
