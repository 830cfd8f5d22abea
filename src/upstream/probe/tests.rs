//! Checks of scripted origin servers.

use bytes::Bytes;
use h2::server;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::upstream::test_origin::{self, TestOrigin, echo, health_check, pool};

fn expecting(text: &str) -> HealthCheck {
    HealthCheck { expect_text: Some(text.to_owned()), ..health_check(Some("/healthz")) }
}

#[tokio::test]
async fn the_text_may_stand_anywhere_in_the_first_bytes() {
    let padding = "-".repeat(MOST_CONTENT - 3);
    for (content, passes) in [
        ("state: well, thanks".to_owned(), true),
        ("state: ill".to_owned(), false),
        (String::new(), false),
        (format!("{padding}well"), false),
        (format!("{}well, and more{padding}", &padding[1..]), true),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
        let origin = TestOrigin::once((head + &content).leak().as_bytes()).await;
        let checked = origin.server().probe(&expecting("well")).await;
        match checked {
            Ok(()) => assert!(passes),
            Err(error) => assert!(!passes && matches!(error, ProbeError::Text(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn the_text_is_looked_for_by_http2_as_well() {
    let origin = TestOrigin::start(|_, stream| async move {
        let mut connection = server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut content = respond.send_response(http::Response::new(()), false).unwrap();
            content.send_data(Bytes::from_static(b"all is "), false).unwrap();
            content.send_data(Bytes::from_static(b"well"), true).unwrap();
        }
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.servers[0].protocol = OriginProtocol::Http2;
    let server = test_origin::server(&config);
    server.probe(&expecting("is well")).await.unwrap();
    assert!(matches!(server.probe(&expecting("ill")).await, Err(ProbeError::Text(_))));
}

#[tokio::test]
async fn a_check_may_have_a_port_of_its_own() {
    let own = TestOrigin::start(|_, mut stream| async move { stream.shutdown().await.unwrap() }).await;
    let other = TestOrigin::start(|_, mut stream| async move { echo(&mut stream).await }).await;
    let (port, host) = (other.address.port(), format!("host: {}", other.address));
    for path in [None, Some("/healthz")] {
        let expect_text = path.map(|_| host.clone());
        let check = HealthCheck { port: Some(port), expect_text, ..health_check(path) };
        own.server().probe(&check).await.unwrap();
    }
    assert_eq!((own.accepted(), other.accepted()), (0, 2));
}
