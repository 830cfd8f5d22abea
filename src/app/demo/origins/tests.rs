use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;

type Answered = Response<bytes::Bytes>;

async fn ask(at: SocketAddr, method: Method, target: &str, fields: &[(&str, &str)]) -> Answered {
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = Tasks::new().spawn(connection);
    let mut req = Request::builder().method(method).uri(target).header("host", "localhost");
    for (name, value) in fields {
        req = req.header(*name, *value);
    }
    let res = sender.send_request(req.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let (head, body) = res.into_parts();
    let content = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Response::from_parts(head, content)
}

async fn get(at: SocketAddr, target: &str) -> Answered {
    ask(at, Method::GET, target, &[]).await
}

fn json(res: &Answered) -> serde_json::Value {
    serde_json::from_slice(res.body()).unwrap()
}

#[tokio::test]
async fn files_have_type_validators_and_lifetime() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    for (path, kind, lifetime) in [
        ("/", "text/html; charset=utf-8", "max-age=10"),
        ("/style.css", "text/css; charset=utf-8", "public, max-age=3600"),
        ("/inter.woff2", "font/woff2", "public, max-age=3600"),
        ("/big.bin", "application/octet-stream", "public, max-age=3600"),
    ] {
        let whole = get(at, path).await;
        assert_eq!(whole.status(), StatusCode::OK);
        assert_eq!(whole.headers()[CONTENT_TYPE], kind);
        assert_eq!(whole.headers()[CACHE_CONTROL], lifetime);
        assert_eq!(whole.headers()["server-timing"], "origin;desc=\"origin-1\"");
        let etag = whole.headers()[ETAG].to_str().unwrap();

        let held = ask(at, Method::GET, path, &[(IF_NONE_MATCH.as_str(), etag)]).await;
        assert_eq!(held.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(held.headers()[ETAG], etag);
        assert!(held.body().is_empty());

        let head = ask(at, Method::HEAD, path, &[]).await;
        assert_eq!(head.headers()[CONTENT_LENGTH], whole.body().len().to_string());
        assert!(head.body().is_empty());
    }
}

#[tokio::test]
async fn the_page_runs_under_a_strict_policy() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    let page = get(at, "/").await;
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    let text = std::str::from_utf8(page.body()).unwrap();
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="));
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    assert_eq!(get(at, "/nowhere").await.status(), StatusCode::NOT_FOUND);
    let post = ask(at, Method::POST, "/", &[]).await;
    assert_eq!(
        (post.status(), &post.headers()[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
    assert_eq!(get(at, "/ws").await.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn every_server_names_itself_and_counts() {
    let tasks = Tasks::new();
    let servers = start(3, &tasks).unwrap();
    for (index, at) in servers.iter().enumerate() {
        for requests in 1..=2 {
            let answer = json(&get(*at, "/api/time").await);
            assert_eq!(answer["origin"], format!("origin-{}", index + 1));
            assert_eq!(answer["requests"], requests);
        }
    }
}

#[tokio::test]
async fn the_request_is_shown_as_it_arrived() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    let res = ask(at, Method::GET, "/api/headers?a=b", &[("x-test", "one")]).await;
    assert_eq!(res.headers()[CACHE_CONTROL], "no-store");
    let answer = json(&res);
    assert_eq!(answer["target"], "/api/headers?a=b");
    assert!(answer["fields"].as_array().unwrap().contains(&serde_json::json!("x-test: one")));
}

#[tokio::test]
async fn slow_text_comes_to_its_end() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    let res = get(at, "/slow?ms=20").await;
    let text = std::str::from_utf8(res.body()).unwrap();
    assert!(text.starts_with("Coming\n10 %\n") && text.ends_with("90 %\nDone\n"), "{text}");
}

#[tokio::test]
async fn a_websocket_echoes_until_the_demo_stops() {
    use futures_util::{SinkExt, StreamExt};
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/ws", stream).await.unwrap();
    for message in [Message::text("Ahoy"), Message::binary(vec![0, 255])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    tasks.stop();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1001);
    drop(socket);
    timeout(Duration::from_secs(5), tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn an_answer_under_way_is_finished_after_the_stop() {
    let tasks = Tasks::new();
    let at = start(1, &tasks).unwrap()[0];
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let client = Tasks::new();
    client.spawn(connection);
    let req = Request::get("/slow?ms=100").body(Empty::<bytes::Bytes>::new()).unwrap();
    let res = sender.send_request(req).await.unwrap();
    tasks.stop();
    let content = res.into_body().collect().await.unwrap().to_bytes();
    assert!(content.ends_with(b"Done\n"));
    timeout(Duration::from_secs(5), tasks.wait()).await.unwrap();
}
