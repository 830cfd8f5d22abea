//! The admin socket and the metrics endpoint over real sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::base::{SystemClock, Tasks};
use crate::cache::Cache;
use crate::config::{self, Change, ChangeKind};
use crate::router::Router;
use crate::telemetry::Metrics;

struct Process {
    drains: AtomicUsize,
    router: Arc<Router>,
}

impl Inspect for Process {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3",
            pid: 1,
            uptime_seconds: 2,
            generation: 3,
            config_file: None,
            workers: 4,
            connections_open: 5,
            cache: CacheUsage { bytes: 6, limit: 7, objects: 8 },
            draining: self.drains.load(SeqCst) > 0,
        }
    }

    fn config_text(&self) -> String {
        "workers = 4\n".to_owned()
    }

    fn plan(&self) -> Result<Changes, ReloadRefused> {
        let change = Change { kind: ChangeKind::Added, what: "site b.test".to_owned(), keys: Vec::new() };
        Ok(Changes {
            reloaded: vec![change],
            after_restart: vec!["workers".to_owned()],
            ..Changes::default()
        })
    }

    fn router(&self) -> Arc<Router> {
        Arc::clone(&self.router)
    }

    fn origins(&self) -> Value {
        json!([{ "name": "app" }])
    }

    fn certificates(&self) -> Value {
        json!([{ "site": "example.com" }])
    }

    fn metrics_text(&self) -> String {
        "seawall_info 1\n".to_owned()
    }
}

impl Lifecycle for Process {
    fn drain(&self) {
        self.drains.fetch_add(1, SeqCst);
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, ReloadRefused>> {
        std::future::ready(Err(ReloadRefused("seawall.toml:7:1: unknown key".to_owned()))).boxed()
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<Upgraded, UpgradeRefused>> {
        std::future::ready(Err(UpgradeRefused("the new process does not start".to_owned()))).boxed()
    }

    fn renew_certificates(&self, name: &str) -> usize {
        usize::from(name == "example.com")
    }

    fn assign(&self, server: &str, pool: Option<&str>, duty: Duty) -> Vec<Assigned> {
        let is_known = server == "10.0.0.1:80" && pool.is_none_or(|name| name == "app");
        let known = Assigned { pool: "app".to_owned(), server: server.to_owned(), duty };
        if is_known { vec![known] } else { Vec::new() }
    }
}

fn process(tasks: &Tasks) -> Arc<Process> {
    Arc::new(Process { drains: AtomicUsize::new(0), router: router(tasks) })
}

/// A served admin socket.
struct Served {
    process: Arc<Process>,
    tasks: Tasks,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let tasks = Tasks::new();
    let process = process(&tasks);
    let admin = AdminSocket::bind(&socket).unwrap();
    tasks.spawn(admin.serve(process.clone(), process.clone(), tasks.clone()));
    Served { process, tasks, socket, _directory: directory }
}

/// Of one site, with nothing stored.
fn router(tasks: &Tasks) -> Arc<Router> {
    let text = "[cache]\nmemory = \"1MiB\"\n[site.\"a.test\"]\norigins = [\"127.0.0.1:1\"]\n";
    let config = config::parse("test", text, Path::new("")).unwrap().config;
    let metrics = Arc::new(Metrics::default());
    let cache = Cache::new(&config.cache, Arc::new(SystemClock), tasks, Arc::clone(&metrics));
    Arc::new(Router::new(&config, &Default::default(), cache, &metrics))
}

async fn stop(served: Served) {
    served.tasks.stop();
    tokio::time::timeout(Duration::from_secs(20), served.tasks.wait()).await.unwrap();
    assert!(!served.socket.exists());
}

async fn json_of(socket: &Path, path: &str) -> Value {
    let (status, body) = client::request(socket, Method::GET, path).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}");
    serde_json::from_slice(&body).unwrap()
}

async fn raw(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, req: &[u8]) -> String {
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(req).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_not_done_says_why() {
    let served = serve();
    let plan =
        json!({ "reloaded": [{ "kind": "added", "what": "site b.test" }], "after_restart": ["workers"] });
    assert_eq!(json_of(&served.socket, "/v1/plan").await, plan);
    let (status, body) = client::request(&served.socket, Method::POST, "/v1/reload").await.unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let why: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(why, json!({ "error": "seawall.toml:7:1: unknown key" }));
    let (status, body) = client::request(&served.socket, Method::POST, "/v1/upgrade").await.unwrap();
    assert_eq!(status, StatusCode::CONFLICT);
    let why: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(why, json!({ "error": "the new process does not start" }));
    stop(served).await;
}

#[tokio::test]
async fn everything_can_be_looked_at() {
    let served = serve();
    let status = json_of(&served.socket, "/v1/status").await;
    assert_eq!((&status["version"], &status["cache"]["limit"]), (&json!("1.2.3"), &json!(7)));
    assert_eq!(json_of(&served.socket, "/v1/origins").await, json!([{ "name": "app" }]));
    assert_eq!(json_of(&served.socket, "/v1/certificates").await, json!([{ "site": "example.com" }]));
    for (path, text) in [("/v1/config", "workers = 4\n"), ("/v1/metrics", "seawall_info 1\n")] {
        let answer = client::request(&served.socket, Method::GET, path).await.unwrap();
        assert_eq!(answer, (StatusCode::OK, Bytes::from(text)));
    }
    stop(served).await;
}

#[tokio::test]
async fn a_drain_is_begun_and_answered() {
    let served = serve();
    let (status, _) = client::request(&served.socket, Method::POST, "/v1/drain").await.unwrap();
    assert_eq!((status, served.process.drains.load(SeqCst)), (StatusCode::ACCEPTED, 1));
    assert_eq!(json_of(&served.socket, "/v1/status").await["draining"], json!(true));
    stop(served).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_by_its_name() {
    let served = serve();
    for (content, expected) in [
        (r#"{"name": "Example.com"}"#, StatusCode::ACCEPTED),
        (r#"{"name": "example.org"}"#, StatusCode::NOT_FOUND),
        (r#"{"name": "example.com", "x": 1}"#, StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let path = "/v1/certificates/renew";
        let (status, body) =
            client::request_with(&served.socket, Method::POST, path, content.into()).await.unwrap();
        assert_eq!(status, expected, "{content}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (answer["renewing"] == 1, answer["error"].is_string()),
            (status.is_success(), !status.is_success())
        );
    }
    stop(served).await;
}

#[tokio::test]
async fn origin_servers_are_taken_out_and_back() {
    let served = serve();
    let known = r#"{"server": "10.0.0.1:80"}"#;
    for (order, content, expected) in [
        ("drain", known, Some("draining")),
        ("disable", r#"{"server": "10.0.0.1:80", "pool": "app"}"#, Some("disabled")),
        ("enable", known, Some("enabled")),
        ("enable", r#"{"server": "10.0.0.1:80", "pool": "api"}"#, None),
        ("drain", r#"{"servers": []}"#, None),
    ] {
        let path = format!("/v1/origins/{order}");
        let (status, body) =
            client::request_with(&served.socket, Method::POST, &path, content.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["servers"][0]["duty"].as_str(), expected);
        assert_eq!(
            (status.is_success(), answer["error"].is_string()),
            (expected.is_some(), expected.is_none())
        );
    }
    stop(served).await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let served = serve();
    for (method, path, expected) in [
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::GET, "/v1", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/status/", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/status", StatusCode::NOT_FOUND),
        (Method::POST, "/v1/status", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/drain", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/purge", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, body) = client::request(&served.socket, method, path).await.unwrap();
        assert_eq!(status, expected, "{path}");
        assert!(serde_json::from_slice::<Value>(&body).unwrap()["error"].is_string());
    }
    assert_eq!(served.process.drains.load(SeqCst), 0);
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let answer = raw(stream, b"GET /v1/drain HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        answer.contains("\r\nallow: POST\r\n") && answer.contains("\r\nconnection: close\r\n"),
        "{answer}"
    );
    stop(served).await;
}

#[tokio::test]
async fn an_order_to_purge_names_one_thing() {
    let served = serve();
    for (order, expected) in [
        (json!({ "urls": ["https://a.test/"] }), StatusCode::OK),
        (json!({ "prefixes": ["a.test/x"], "soft": true }), StatusCode::OK),
        (json!({ "hosts": ["a.test"] }), StatusCode::OK),
        (json!({ "tags": ["a", "b"] }), StatusCode::OK),
        (json!({ "all": true }), StatusCode::OK),
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({ "all": false }), StatusCode::BAD_REQUEST),
        (json!({ "all": true, "tags": ["a"] }), StatusCode::BAD_REQUEST),
        (json!({ "tag": ["a"] }), StatusCode::BAD_REQUEST),
        (json!({ "urls": [] }), StatusCode::BAD_REQUEST),
        (json!({ "urls": ["/x"] }), StatusCode::BAD_REQUEST),
        (json!({ "tags": vec!["a"; 257] }), StatusCode::BAD_REQUEST),
        (json!(["a"]), StatusCode::BAD_REQUEST),
    ] {
        let content = order.to_string().into();
        let answer = client::request_with(&served.socket, Method::POST, "/v1/purge", content).await;
        let (status, body) = answer.unwrap();
        assert_eq!(status, expected, "{order}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if status == StatusCode::OK {
            assert_eq!(answer["purged"], json!({ "memory": 0, "disk": 0 }));
            assert_eq!((&answer["complete"], &answer["durable"]), (&json!(true), &json!(true)));
        } else {
            assert!(answer["error"].is_string(), "{answer}");
        }
    }
    stop(served).await;
}

#[tokio::test]
async fn too_much_content_drains_nothing() {
    let served = serve();
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let mut req = b"POST /v1/drain HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n".to_vec();
    req.resize(req.len() + 70_000, b'x');
    assert!(raw(stream, &req).await.starts_with("HTTP/1.1 413 "));
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let head = format!("POST /v1/drain HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert!(raw(stream, head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(served.process.drains.load(SeqCst), 0);
    stop(served).await;
}

#[tokio::test]
async fn silent_connections_hold_no_stop_up() {
    let served = serve();
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    json_of(&served.socket, "/v1/status").await;
    stop(served).await;
}

#[tokio::test]
async fn beyond_the_limit_connections_wait_for_a_place() {
    let served = serve();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    let waiting = client::request_within(
        Duration::from_millis(100),
        &served.socket,
        Method::GET,
        "/v1/status",
        Bytes::new(),
    );
    assert!(matches!(waiting.await, Err(ControlError::TimedOut { .. })));
    silent.pop();
    json_of(&served.socket, "/v1/status").await;
    stop(served).await;
}

#[tokio::test]
async fn nobody_there_is_said_with_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let error = client::request(&socket, Method::GET, "/v1/status").await.unwrap_err();
    let expected = format!("no seawall answers on the admin socket {}", socket.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn one_who_never_answers_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let _mute = tokio::net::UnixListener::bind(&socket).unwrap();
    let timeout = Duration::from_millis(50);
    let error =
        client::request_within(timeout, &socket, Method::GET, "/v1/status", Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("no answer in time on the admin socket /"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let chatter = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(client::request(&socket, Method::GET, "/v1/status"), chatter);
    assert!(matches!(answer, Err(ControlError::Exchange { .. })));
}

#[tokio::test]
async fn prometheus_reads_metrics_and_nothing_else() {
    let tasks = Tasks::new();
    let endpoint = MetricsEndpoint::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = endpoint.address();
    assert!(matches!(MetricsEndpoint::bind(address), Err(ControlError::Metrics { .. })));
    tasks.spawn(endpoint.serve(process(&tasks), tasks.clone()));
    for (line, status) in [
        ("GET /metrics", "200"),
        ("GET /metrics?x", "200"),
        ("POST /metrics", "405"),
        ("GET /", "404"),
        ("GET /v1/status", "404"),
        ("POST /v1/drain", "404"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let req = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let answer = raw(stream, req.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert_eq!(answer.contains("content-type: text/plain; version=0.0.4"), status == "200");
        assert_eq!(answer.ends_with("\r\n\r\nseawall_info 1\n"), status == "200");
    }
    tasks.stop();
    tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await.unwrap();
}
