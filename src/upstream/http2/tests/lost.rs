//! Connections and streams that end before their time, or say nothing any more.

use super::*;

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
    let post = || {
        let mut req = request(Method::POST, "/");
        req.body = Body::Full(Bytes::from_static(b"content"));
        req
    };
    text(send(&server, post()).await.unwrap()).await;
    let both = async { tokio::join!(send(&server, post()), send(&server, post())) };
    let (one, other) = timeout(Duration::from_secs(30), both).await.unwrap();
    let mut texts = [text(one.unwrap()).await, text(other.unwrap()).await];
    texts.sort();
    assert_eq!(texts, ["", "POST http://site.test/ []"]);
    assert_eq!(origin.accepted(), 2);
}

/// What becomes of content behind whose first part, `half`, the stream is reset.
async fn reset_behind_half(fields: HeaderMap, reason: Reason) -> Result<Bytes, BodyError> {
    let is_read = Arc::new(Notify::new());
    let cut = Arc::clone(&is_read);
    let origin = answering(100, move |_, mut respond| {
        let (fields, cut) = (fields.clone(), Arc::clone(&cut));
        async move {
            let mut answer = head(200);
            *answer.headers_mut() = fields;
            let mut body = respond.send_response(answer, false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            cut.notified().await;
            body.send_reset(reason);
        }
    })
    .await;
    let mut res = send(&server(&origin), request(Method::GET, "/")).await.unwrap();
    assert_eq!(res.body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    is_read.notify_one();
    content(res).await
}

#[tokio::test]
async fn content_that_was_cut_never_ends_as_if_it_were_whole() {
    for fields in [HeaderMap::new(), field("content-length", "8")] {
        let cut = reset_behind_half(fields, Reason::CANCEL).await;
        assert!(matches!(cut.unwrap_err(), BodyError::Stream(_)));
    }
}

/// RFC 9113 s8.1
#[tokio::test]
async fn a_reset_without_an_error_is_no_end() {
    let cut = reset_behind_half(HeaderMap::new(), Reason::NO_ERROR).await;
    assert!(matches!(cut.unwrap_err(), BodyError::Cut));
}

#[tokio::test]
async fn content_of_its_whole_length_is_whole_however_its_stream_ends() {
    let rest = reset_behind_half(field("content-length", "4"), Reason::CANCEL).await;
    assert_eq!(rest.unwrap(), "");
}

/// More than the sockets between it and its client hold.
const WIDE: u32 = 64 << 20;

#[tokio::test]
async fn the_last_words_of_a_tunnel_are_sent_though_nobody_holds_its_connection() {
    let (reads, (say, mut said)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let read = Arc::clone(&reads);
    let origin = TestOrigin::start(move |_, stream| {
        let (read, say) = (Arc::clone(&read), say.clone());
        async move {
            let mut builder = Builder::new();
            builder.enable_connect_protocol().initial_window_size(WIDE).initial_connection_window_size(WIDE);
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            let (req, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_response(head(200), true).unwrap();
            let _waiting =
                timeout(Duration::from_millis(50), poll_fn(|context| connection.poll_closed(context))).await;
            read.notified().await;
            let (heard, _closed) =
                tokio::join!(received(req.into_body()), poll_fn(|context| connection.poll_closed(context)));
            say.send(heard.0.len()).unwrap();
        }
    })
    .await;
    let server = server_of(&origin, |pool| pool.connection_life.requests = Some(1));
    let mut req = request_with(Method::GET, &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
    req.upgrade = Some(HeaderValue::from_static("websocket"));
    let Tunnel { mut end, carrier } = send(&server, req).await.unwrap().tunnel.unwrap();
    // It is on no shelf any more.
    server.sweep_idle();
    assert_eq!(end.reader.read(&mut [0]).await.unwrap(), 0);
    let mut length = 0;
    let words = [0; 64 << 10];
    while let Ok(written) = timeout(Duration::from_millis(200), end.writer.write(&words)).await {
        length += written.unwrap();
    }
    end.writer.shutdown().await.unwrap();
    drop((end, carrier));
    tokio::task::yield_now().await;
    reads.notify_one();
    let heard = timeout(Duration::from_secs(30), said.recv()).await.unwrap();
    assert_eq!(heard, Some(length));
}

/// A server that answers and reads no further holds neither content nor streams.
#[tokio::test]
async fn what_is_still_sent_after_the_answer_ends_with_it() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let origin = answering(100, move |req, mut respond| {
        let ended = ended.clone();
        async move {
            respond.send_response(head(413), true).unwrap();
            let mut body = req.into_body();
            // What is not given back is no window for more.
            while let Some(data) = body.data().await {
                if let Err(error) = data {
                    ended.send(error.reason()).unwrap();
                    return;
                }
            }
        }
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
    timeout(Duration::from_secs(30), gone).await.expect("the content is let go").unwrap_err();
    let reason = timeout(Duration::from_secs(30), ends.recv()).await.expect("the stream is ended");
    assert_eq!(reason, Some(Some(Reason::CANCEL)));
    let again = send(&server, request(Method::GET, "/")).await.unwrap();
    assert_eq!((again.status, origin.accepted()), (StatusCode::PAYLOAD_TOO_LARGE, 1));
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
