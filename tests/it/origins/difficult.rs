//! Many clients before origin servers that are difficult: such as close what is
//! idle, take few connections, or die.

use std::collections::HashMap;
use std::future::Future;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::origin::ok;
use crate::support::process::Seawall;
use crate::support::raw::{RawClient, read_message};

/// An origin server that plays `script` on each connection.
async fn origin<F, Fut>(script: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// The site `site.test` in cleartext before these servers; `keys` are the pool's.
async fn edge_before(origins: &[SocketAddr], keys: &str) -> Seawall {
    let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
    Seawall::start(&format!(
        "[pool.app]\norigins = {origins:?}\nhealth = false\n{keys}\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\ncache = false\n"
    ))
    .await
}

/// Answers requests until none has come for a time that chance picks.
async fn impatient(mut stream: TcpStream) {
    let mut received = Vec::new();
    let mut patience = Duration::from_secs(20);
    while let Ok(Some(_)) = timeout(patience, read_message(&mut stream, &mut received)).await {
        stream.write_all(ok("", "hi").as_bytes()).await.unwrap();
        patience = Duration::from_micros(fastrand::u64(..3_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_servers_close_cost_no_client_an_error() {
    const CLIENTS: usize = 20;
    const REQUESTS: usize = 500;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let origin = origin(move |stream| {
        count.fetch_add(1, SeqCst);
        impatient(stream)
    })
    .await;
    let seawall = edge_before(&[origin], "").await;
    let clients = (0..CLIENTS).map(|number| {
        let to = seawall.http;
        tokio::spawn(async move {
            let mut client = RawClient::connect(to).await;
            for request in 0..REQUESTS {
                client.send(format!("GET /{number}/{request} HTTP/1.1\r\nHost: site.test\r\n\r\n")).await;
                let res = client.response().await;
                assert_eq!((res.status(), res.content.as_slice()), (200, &b"hi"[..]), "{number}/{request}");
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    let connections = connections.load(SeqCst);
    assert!(connections > CLIENTS * 10, "only {connections} connections: hardly any was closed");
}

/// The connections that the other end has not closed.
#[derive(Default)]
struct Open {
    sockets: Mutex<Vec<Socket>>,
    most: AtomicUsize,
}

impl Open {
    fn add(&self, stream: &TcpStream) {
        let mut sockets = self.sockets.lock().unwrap();
        // The end of a connection came before the next one, if it was closed before.
        sockets.retain(|socket| socket.peek(&mut [MaybeUninit::uninit()]).map_or(true, |count| count > 0));
        sockets.push(SockRef::from(stream).try_clone().unwrap());
        self.most.fetch_max(sockets.len(), SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_fifty_connections_never_sees_another_one_and_everybody_is_answered() {
    const CLIENTS: usize = 2_000;
    const AT_ONCE: usize = 50;
    const WAITING: usize = 500;
    allow_open_files(CLIENTS as u64 * 2);
    let (open, gate) = (Arc::new(Open::default()), Arc::new(Semaphore::new(0)));
    let (watched, waits) = (Arc::clone(&open), Arc::clone(&gate));
    let origin = origin(move |mut stream| {
        watched.add(&stream);
        let waits = Arc::clone(&waits);
        async move {
            let mut received = Vec::new();
            while read_message(&mut stream, &mut received).await.is_some() {
                let _ = waits.acquire().await.unwrap();
                stream.write_all(ok("", "hi").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let keys = format!("max_connections = {AT_ONCE}\nqueue = {{ max = {WAITING}, timeout = \"30s\" }}");
    let seawall = edge_before(&[origin], &keys).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|number| {
        let (to, refused, gate) = (seawall.http, Arc::clone(&refused), Arc::clone(&gate));
        tokio::spawn(async move {
            let res = RawClient::ask(to, format!("GET /{number} HTTP/1.1\r\nHost: site.test\r\n\r\n")).await;
            if res.status() == 200 {
                return true;
            }
            assert_eq!((res.status(), res.field("retry-after")), (503, Some("1")));
            assert!(res.field("proxy-status").unwrap().contains("connection_limit_reached"));
            // Once all are there who find no room, the server answers the others.
            if refused.fetch_add(1, SeqCst) + 1 == CLIENTS - AT_ONCE - WAITING {
                gate.add_permits(1);
            }
            false
        })
    });
    let answered = join_all(clients).await.into_iter().filter(|client| *client.as_ref().unwrap()).count();
    assert_eq!((answered, open.most.load(SeqCst)), (AT_ONCE + WAITING, AT_ONCE));
}

/// As many as that, if the system lets this process.
fn allow_open_files(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(files, |most| most.min(files)).max(limit.current.unwrap_or(0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }).unwrap();
}

/// How often the head of each POST came to some server.
type Seen = Arc<Mutex<HashMap<String, usize>>>;

/// Dies at some point of some request: before it reads, within it, or within the
/// answer.
async fn mortal(mut stream: TcpStream, seen: Seen) {
    loop {
        let fate = fastrand::u8(..10);
        if fate == 0 {
            return;
        }
        let mut received = Vec::new();
        while !received.contains(&b'\n') {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let line = String::from_utf8_lossy(&received);
        let target = line.split(' ').nth(1).unwrap().to_owned();
        *seen.lock().unwrap().entry(target).or_default() += 1;
        if fate == 1 || read_message(&mut stream, &mut received).await.is_none() {
            return;
        }
        match fate {
            2 => return,
            3 => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            4 => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await.unwrap_or(()),
            5 => return stream.write_all(&ok("", "hi").as_bytes()[..40]).await.unwrap_or(()),
            _ if stream.write_all(ok("", "hi").as_bytes()).await.is_err() => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_post_comes_twice_to_servers_that_die() {
    const CLIENTS: usize = 8;
    const POSTS: usize = 150;
    let seen = Seen::default();
    let mut origins = Vec::new();
    for _ in 0..2 {
        let seen = Arc::clone(&seen);
        origins.push(origin(move |stream| mortal(stream, Arc::clone(&seen))).await);
    }
    let retry = "eject = false\nretry = { times = 5, on = [\"connect\", \"reset\", \"timeout\", \"502\"] }";
    let seawall = edge_before(&origins, retry).await;
    let clients = (0..CLIENTS).map(|number| {
        let to = seawall.http;
        tokio::spawn(async move {
            let mut answered = 0;
            for post in 0..POSTS {
                let content = "x".repeat(fastrand::usize(..40_000));
                let head = format!("POST /{number}/{post} HTTP/1.1\r\nHost: site.test\r\n");
                let mut client = RawClient::connect(to).await;
                client.send(format!("{head}Content-Length: {}\r\n\r\n{content}", content.len())).await;
                // An answer that was cut within is none.
                answered +=
                    usize::from(client.response_or_cut().await.is_some_and(|res| res.status() == 200));
            }
            answered
        })
    });
    let answered: usize = join_all(clients).await.into_iter().map(Result::unwrap).sum();
    let seen = seen.lock().unwrap();
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let all = CLIENTS * POSTS;
    assert!(answered > all / 10 && answered < seen.len() && seen.len() <= all, "{answered}, {}", seen.len());
}
