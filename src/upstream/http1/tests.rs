//! Requests and responses as bytes, in the pieces in which they may come, and beside
//! those of hyper's client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;
use tokio_util::either::Either;

use super::content::FEW;
use super::*;
use crate::base::Tasks;
use crate::config::model::Queue;
use crate::exchange::{Body, BodyError};
use crate::upstream::read_ahead::ReadAhead;
use crate::upstream::slots::Slots;

/// A connection in memory.
fn over(stream: DuplexStream) -> Http1 {
    let queue = Queue { max: 1, timeout: Duration::ZERO };
    let slots = Arc::new(Slots::new(1, queue, Arc::default()));
    let transport = Either::Left(Either::Right(Either::Right(stream)));
    let read_ahead = ReadAhead::new(&slots, &Arc::default());
    Http1::new(OriginStream::new(transport, Arc::default(), read_ahead, None), 16 << 10, 100)
}

fn request(method: Method, fields: &[(&str, &str)], content: Body) -> http::Request<RequestContent> {
    let mut message = http::Request::builder().method(method).uri("/path?query");
    for (name, value) in fields {
        message = message.header(*name, *value);
    }
    message.body(RequestContent::new(content, None)).unwrap()
}

/// What is known of a response that was read to its end.
#[derive(Debug, PartialEq)]
struct Read {
    status: u16,
    fields: HeaderMap,
    /// `None` if it was cut.
    content: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

async fn read_rest(connection: &mut Http1, head: Parts, mut receiving: Receiving) -> Read {
    let (mut content, mut trailers) = (Some(Vec::new()), None);
    while let Some(frame) = poll_fn(|context| receiving.poll_frame(connection, context)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => content.as_mut().unwrap().extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => {
                content = None;
                break;
            }
        }
    }
    Read { status: head.status.as_u16(), fields: head.headers, content, trailers }
}

/// Sends a server's pieces one by one, and closes.
async fn play(mut stream: DuplexStream, pieces: Vec<Vec<u8>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        yield_now().await;
    }
}

async fn ours(method: Method, pieces: Vec<Vec<u8>>) -> Option<Read> {
    let (near, far) = tokio::io::duplex(1 << 16);
    Tasks::new().spawn(play(far, pieces));
    let mut connection = over(near);
    let (head, receiving) = connection.ask(request(method, &[], Body::Empty), None).await.ok()?;
    Some(read_rest(&mut connection, head, receiving).await)
}

async fn hypers(method: Method, pieces: Vec<Vec<u8>>) -> Option<Read> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let tasks = Tasks::new();
    tasks.spawn(play(far, pieces));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tasks.spawn(connection);
    let message = http::Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
    let (head, content) = sender.send_request(message).await.ok()?.into_parts();
    // What can be read in two ways is refused on top of that.
    inbound::framing(&head.headers).ok()?;
    let collected = content.collect().await.ok();
    let trailers = collected.as_ref().and_then(|collected| collected.trailers().cloned());
    let content = collected.map(|collected| collected.to_bytes().to_vec());
    Some(Read { status: head.status.as_u16(), fields: head.headers, content, trailers })
}

fn status_lines() -> impl Strategy<Value = &'static str> {
    select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 206 ",
        "HTTP/1.1 404",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 Not Modified",
        "HTTP/1.1 599 \u{fc}",
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 099 Low",
        "HTTP/1.1 1000 High",
        "HTTP/2.0 200 OK",
        "HTTP/1.1  200 OK",
        "ICY 200 OK",
    ])
}

fn field_lines() -> impl Strategy<Value = Vec<&'static str>> {
    let lines = vec![
        "Content-Length: 5",
        "content-length:  0",
        "Content-Length: 7",
        "Content-Length: +5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Connection: close",
        "Connection: keep-alive",
        "X: a",
        "X: \t b\u{e9} \t",
        "x:",
        "X : a",
        "X: a\rb",
        " X: folded",
        "X(: a",
        "nonsense",
    ];
    proptest::collection::vec(select(lines), 0..4)
}

fn contents() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "hello",
        "hello, world",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n1 \r\n!\r\n0;end\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        "05\r\nhello\r\nA\r\n0123456789\r\n00\r\n\r\nmore",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhel",
        "5\r\nhello\r\n",
        "\r\n",
        "5\r\nhello\r\n0\r\nbad\r\n\r\n",
        "g\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "10000000000000000\r\nhello",
        "5\nhello\r\n0\r\n\r\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_response_is_read_as_hyper_reads_it(
        is_head in any::<bool>(),
        interim in select(vec!["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]),
        status_line in status_lines(),
        lines in field_lines(),
        line_end in select(vec!["\r\n", "\r\n", "\r\n", "\n"]),
        content in contents(),
        cuts in proptest::collection::vec(1..60_usize, 0..12),
    ) {
        let mut text = interim.to_owned() + status_line + line_end;
        for line in lines {
            text = text + line + line_end;
        }
        text = text + line_end + content;
        let mut rest = text.into_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let left = rest.split_off(cut.min(rest.len()));
            pieces.push(std::mem::replace(&mut rest, left));
        }
        pieces.push(rest);
        pieces.retain(|piece| !piece.is_empty());
        let method = if is_head { Method::HEAD } else { Method::GET };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
        let theirs = runtime.block_on(hypers(method.clone(), pieces.clone()));
        prop_assert_eq!(runtime.block_on(ours(method, pieces)), theirs, "{:?}", shown);
    }
}

/// What a server reads of a request until it is silent.
async fn sent(fields: &[(&str, &str)], content: Body) -> (String, bool) {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut connection = over(near);
    let message = request(Method::POST, fields, content);
    let reading = async {
        let mut read = vec![0; 1 << 16];
        let length = far.read(&mut read).await.unwrap();
        let mut text = String::from_utf8(read[..length].to_vec()).unwrap();
        while let Ok(Ok(length @ 1..)) =
            tokio::time::timeout(Duration::from_millis(20), far.read(&mut read)).await
        {
            text += std::str::from_utf8(&read[..length]).unwrap();
        }
        let _ = far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        text
    };
    let (text, answer) = tokio::join!(reading, connection.ask(message, None));
    let is_answered = answer.is_ok();
    (text, is_answered && connection.is_free())
}

fn pieces(pieces: Vec<Result<Frame<Bytes>, BodyError>>) -> Body {
    Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
}

fn data(data: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(data.as_bytes())))
}

#[tokio::test]
async fn a_request_is_its_head_and_its_content() {
    let (text, is_free) = sent(&[("content-length", "2")], Body::Full(Bytes::from_static(b"hi"))).await;
    assert_eq!(text, "POST /path?query HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi");
    assert!(is_free);
    let (text, is_free) = sent(&[("x", "1"), ("x", "2")], Body::Empty).await;
    assert_eq!(text, "POST /path?query HTTP/1.1\r\nx: 1\r\nx: 2\r\n\r\n");
    assert!(is_free);
}

#[tokio::test]
async fn content_goes_out_as_it_is_framed() {
    let head = "POST /path?query HTTP/1.1\r\n";
    let length = |length| [("content-length", length)];
    let (text, is_free) = sent(&length("4"), pieces(vec![data("ab"), data(""), data("cd")])).await;
    assert_eq!((text, is_free), (format!("{head}content-length: 4\r\n\r\nabcd"), true));
    let (text, is_free) = sent(&length("3"), pieces(vec![data("ab"), data("cd")])).await;
    assert_eq!((text, is_free), (format!("{head}content-length: 3\r\n\r\nabc"), true), "too long");
    let (text, is_free) = sent(&length("5"), pieces(vec![data("ab"), data("cd")])).await;
    assert_eq!((text, is_free), (format!("{head}content-length: 5\r\n\r\nabcd"), false), "too short");

    let chunked = [("transfer-encoding", "chunked")];
    let framed = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let (text, is_free) = sent(&chunked, pieces(vec![data("ab"), data("0123456789abcdef")])).await;
    assert_eq!((text, is_free), (format!("{framed}2\r\nab\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"), true));
    let (text, is_free) = sent(&chunked, Body::Full(Bytes::from_static(b"whole"))).await;
    assert_eq!((text, is_free), (format!("{framed}5\r\nwhole\r\n0\r\n\r\n"), true));
    let (text, is_free) = sent(&chunked, Body::Empty).await;
    assert_eq!((text, is_free), (format!("{framed}0\r\n\r\n"), true));
}

#[tokio::test]
async fn trailers_go_out_if_they_were_announced() {
    let trailers = ["x-sum", "x-other"].map(|name| (name.parse().unwrap(), "1".parse().unwrap()));
    let content = pieces(vec![data("ab"), Ok(Frame::trailers(HeaderMap::from_iter(trailers)))]);
    let fields = [("transfer-encoding", "chunked"), ("trailer", "x-first, X-Sum")];
    let (text, is_free) = sent(&fields, content).await;
    assert!(text.ends_with("2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n") && is_free, "{text}");
}

#[tokio::test]
async fn content_that_fails_ends_the_request() {
    let failing = pieces(vec![data("ab"), Err(BodyError::TooLarge { limit: 1 })]);
    let (text, is_free) = sent(&[("content-length", "9")], failing).await;
    assert!(text.ends_with("ab") && !is_free);
}

/// How a connection is left behind `response`.
async fn is_free_behind(method: Method, response: &str) -> bool {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut connection = over(near);
    far.write_all(response.as_bytes()).await.unwrap();
    let answer = connection.ask(request(method, &[], Body::Empty), None).await;
    let (head, receiving) = answer.unwrap();
    read_rest(&mut connection, head, receiving).await;
    connection.is_ready()
}

#[tokio::test]
async fn a_connection_is_used_again_if_all_was_said_and_nothing_else() {
    for (response, is_free) in [
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi", true),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n", true),
        ("204 No Content\r\n\r\n", true),
        ("304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi!", false),
        ("204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n", false),
        ("204 No Content\r\nContent-Length: 2\r\n\r\n", false),
        ("304 Not Modified\r\nContent-Length: 2\r\n\r\nhi", false),
        ("200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nhi", false),
    ] {
        let response = format!("HTTP/1.1 {response}");
        assert_eq!(is_free_behind(Method::GET, &response).await, is_free, "{response}");
    }
    let kept = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi";
    assert!(!is_free_behind(Method::GET, kept).await);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    assert!(is_free_behind(Method::HEAD, head).await);
    assert!(!is_free_behind(Method::HEAD, &format!("{head}hi")).await);
}

#[tokio::test]
async fn content_that_comes_behind_a_head_without_any_is_seen_in_time() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut connection = over(near);
    let _far = Tasks::new().spawn(async move {
        while far.read_u8().await.unwrap() != b'\n' {}
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        yield_now().await;
        far.write_all(b"hi").await.unwrap();
        far
    });
    let answer = connection.ask(request(Method::HEAD, &[], Body::Empty), None).await;
    let (head, receiving) = answer.unwrap();
    assert!(receiving.lacks_content_of(&head));
    yield_now().await;
    assert!(!connection.is_ready());
}

#[tokio::test]
async fn a_small_piece_holds_no_more_than_itself() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut connection = over(near);
    let chunk = format!("{FEW:x}\r\n{}\r\n", "x".repeat(FEW));
    let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n{chunk}");
    far.write_all(response.as_bytes()).await.unwrap();
    let answer = connection.ask(request(Method::GET, &[], Body::Empty), None).await;
    let (_, mut receiving) = answer.unwrap();
    for (length, is_copied) in [(2, true), (FEW, false)] {
        let memory = connection.came.as_ptr_range();
        let frame = poll_fn(|context| receiving.poll_frame(&mut connection, context)).await;
        let data = frame.unwrap().unwrap().into_data().unwrap();
        assert_eq!((data.len(), !memory.contains(&data.as_ptr())), (length, is_copied));
    }
}

/// Why there is no response to a request where this comes.
async fn refused(content: Body, response: &str) -> Http1Error {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut connection = over(near);
    far.write_all(response.as_bytes()).await.unwrap();
    let message = request(Method::POST, &[("transfer-encoding", "chunked")], content);
    connection.ask(message, None).await.unwrap_err().error
}

#[test]
fn what_is_no_http_is_not_waited_for() {
    for text in ["<html>".to_owned(), format!("<html>{}", "x".repeat(8 << 10))] {
        let mut heads = Heads::new(HeadLimits { bytes: 16 << 10, fields: 100 });
        assert!(heads.read(&mut BytesMut::from(text.as_str())).is_err(), "{}", text.len());
    }
}

#[tokio::test]
async fn a_request_that_is_not_taken_is_not_sent_on() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut connection = over(near);
    far.write_all(b"HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    drop(far);
    let endless = futures_util::stream::repeat_with(|| data("more"));
    let message =
        request(Method::POST, &[("transfer-encoding", "chunked")], Body::boxed(StreamBody::new(endless)));
    let Err(error) = connection.ask(message, None).await else { panic!("nothing of it was taken") };
    assert!(error.unsent.is_none(), "some of the content was");

    let (near, mut far) = tokio::io::duplex(1 << 10);
    let mut connection = over(near);
    let _taken = Tasks::new().spawn(async move {
        far.read_exact(&mut [0; 100]).await.unwrap();
        far.write_all(b"HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    });
    let endless = futures_util::stream::repeat_with(|| data("more"));
    let message =
        request(Method::POST, &[("transfer-encoding", "chunked")], Body::boxed(StreamBody::new(endless)));
    let (_, receiving) = connection.ask(message, None).await.unwrap();
    assert!(!receiving.is_sending());
}

#[tokio::test]
async fn interim_responses_have_an_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let error = refused(Body::Empty, &interim.repeat(MOST_INTERIM + 1)).await;
    assert!(matches!(error, Http1Error::Malformed(_)), "{error}");
}

#[tokio::test]
async fn protocols_are_not_changed_amid_a_request() {
    let endless = Body::boxed(StreamBody::new(futures_util::stream::pending()));
    let error = refused(endless, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n").await;
    assert!(matches!(error, Http1Error::Malformed(_)), "{error}");
}

#[tokio::test]
async fn what_comes_unasked_ends_an_idle_connection() {
    for is_closed in [false, true] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut connection = over(near);
        assert!(connection.is_ready());
        if is_closed {
            drop(far);
        } else {
            far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        }
        assert!(!connection.is_ready());
    }
}

#[tokio::test]
async fn chunks_do_not_come_with_more_than_they_may() {
    let long = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\n", "x".repeat(20_000));
    let short = "1;123456789012345678901234567890\r\nx\r\n".repeat(2_000);
    let many = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{short}0\r\n\r\n");
    let trailers = "X: y\r\n".repeat(3_000);
    let trailers = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
    for text in [long, many, trailers] {
        let read = ours(Method::GET, vec![text.into_bytes()]).await.unwrap();
        assert_eq!(read.content, None);
    }
}
