//! Scripted origin servers for tests: each connection is played by a closure.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Endpoint, OriginServer, OutboundRequest, Pseudonym};
use crate::base::{Clock, SystemClock, Tasks};
use crate::config::model::{
    Balance, ConnectionLife, HealthCheck, Location, OriginProtocol, OriginTimeouts, OriginTls, PoolConfig,
    Queue, Retry, RetryOn, ServerConfig,
};
use crate::exchange::{
    Body, ConnectionInfo, FetchError, Host, Protocol, Request, RequestId, Response, Scheme, Target,
};

/// An origin server on a free port of the loopback interface.
#[derive(Debug)]
pub(crate) struct TestOrigin {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl TestOrigin {
    /// Plays `script` on every connection; its first argument counts them.
    pub(crate) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let tasks = Tasks::new();
        let count = Arc::clone(&accepted);
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(script(count.fetch_add(1, SeqCst), stream));
            }
        });
        Self { address, accepted }
    }

    /// Answers every request with `response`.
    pub(crate) async fn always(response: &'static str) -> Self {
        Self::start(move |_, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    /// Answers a request for `/endless` with content that does not end, and any other one
    /// with two bytes.
    pub(crate) async fn endless() -> Self {
        Self::start(move |_, mut stream| async move {
            while let Some(text) = read_request(&mut stream).await {
                let length = if text.starts_with("GET /endless ") { 3 } else { 2 };
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhi");
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    /// Answers the first request of a connection with `response` and closes.
    pub(crate) async fn once(response: &'static [u8]) -> Self {
        Self::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(response).await;
            let _ = stream.shutdown().await;
            // Unread bytes would make the kernel reset the connection.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await
    }

    /// Connections taken so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// A client of this server.
    pub(crate) fn server(&self) -> Arc<OriginServer> {
        server(&pool(&[self.address]))
    }
}

/// An address that answers nobody who connects: its listener has no room.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    waiting: Vec<TcpStream>,
}

impl Silent {
    /// Fills the queue of a listener.
    pub(crate) async fn start() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        Self { address, listener, waiting }
    }

    /// Makes room: who waits is taken, and so are those who ask again.
    pub(crate) async fn listen(self) {
        for _ in &self.waiting {
            self.listener.accept().await.unwrap();
        }
        Tasks::new().spawn(async move {
            let mut taken = self.waiting;
            while let Ok((stream, _)) = self.listener.accept().await {
                taken.push(stream);
            }
        });
    }
}

/// Reads one request: its head, and as much content as `Content-Length` says.
/// `None` if the connection ends before.
pub(crate) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut read = Vec::new();
    let mut length = None;
    while length.is_none_or(|length| read.len() < length) {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
        if length.is_none() && read.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read).to_lowercase();
            let content = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            length = Some(read.len() + content.map_or(0, |digits| digits.parse().unwrap()));
        }
    }
    String::from_utf8(read).ok()
}

/// Answers requests with their own text until the connection ends.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    while let Some(text) = read_request(stream).await {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.write_all((head + &text).as_bytes()).await.unwrap();
    }
}

/// A pool of `addresses` with deadlines that no test reaches by accident.
pub(crate) fn pool(addresses: &[SocketAddr]) -> PoolConfig {
    let server = |address: &SocketAddr| ServerConfig {
        label: address.to_string().into(),
        location: Location::Address(*address),
        tls: false,
        protocol: OriginProtocol::Http1,
        weight: 1,
        backup: false,
    };
    PoolConfig {
        name: "test".into(),
        servers: addresses.iter().map(server).collect(),
        resolver: None,
        allow_private: false,
        balance: Balance::PowerOfTwo,
        health: None,
        eject: None,
        panic: true,
        slow_start: Duration::ZERO,
        retry: Retry {
            times: 2,
            within: Duration::from_secs(10),
            on: vec![RetryOn::Connect, RetryOn::Reset],
            budget_percent: 20,
        },
        max_connections: 64,
        max_requests: 64,
        connection_life: ConnectionLife { age: Duration::from_secs(3600), requests: None },
        queue: Queue { max: 64, timeout: Duration::from_secs(60) },
        timeouts: OriginTimeouts {
            connect: Duration::from_secs(60),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(60),
            keep_alive: Duration::from_secs(60),
            ping: None,
        },
        stream_idle: Duration::from_secs(60),
        tls: OriginTls { verify: true, ca: None, server_name: None, identity: None },
        proxy_protocol: None,
        header_bytes: 16 << 10,
        headers: 100,
    }
}

/// A check with times that no test reaches by accident.
pub(crate) fn health_check(path: Option<&str>) -> HealthCheck {
    HealthCheck {
        path: path.map(str::to_owned),
        host: None,
        port: None,
        every: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        rise: 2,
        fall: 2,
        expect: (200, 299),
        expect_text: None,
    }
}

/// Content of which a piece comes every 40 ms, ten in all.
pub(crate) fn slow_content() -> Body {
    Body::boxed(StreamBody::new(futures_util::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(40)).await;
        (sent < 10).then(|| (Ok(Frame::data(Bytes::from_static(b"piece"))), sent + 1))
    })))
}

/// The first server of `pool`, without TLS.
pub(crate) fn server(pool: &PoolConfig) -> Arc<OriginServer> {
    server_with(pool, Arc::new(SystemClock))
}

/// The same, by this clock.
pub(crate) fn server_with(pool: &PoolConfig, clock: Arc<dyn Clock>) -> Arc<OriginServer> {
    first_of(pool, None, clock)
}

/// The first server of `pool`, over TLS as a client with these settings speaks it.
pub(crate) fn server_over(pool: &PoolConfig, tls: Arc<ClientConfig>) -> Arc<OriginServer> {
    first_of(pool, Some(tls), Arc::new(SystemClock))
}

fn first_of(pool: &PoolConfig, tls: Option<Arc<ClientConfig>>, clock: Arc<dyn Clock>) -> Arc<OriginServer> {
    let (endpoint, protocol) = (Endpoint::fixed(&pool.servers[0]).unwrap(), pool.servers[0].protocol);
    OriginServer::new(endpoint, protocol, pool, tls, clock, Tasks::new(), Arc::default()).unwrap()
}

/// A request as the front makes it.
pub(crate) fn request(method: Method, path: &'static str) -> Box<Request> {
    let peer: SocketAddr = "192.0.2.7:5000".parse().unwrap();
    let local: SocketAddr = "192.0.2.1:80".parse().unwrap();
    Box::new(Request {
        method,
        target: Target {
            scheme: Scheme::Http,
            host: Host::parse(&HeaderValue::from_static("site.test"), Scheme::Http).unwrap(),
            path_and_query: path.parse().unwrap(),
        },
        fields: Arc::default(),
        body: Body::Empty,
        upgrade: None,
        client: peer.ip(),
        trusted: false,
        id: RequestId(7),
        protocol: Protocol::Http11,
        connection: Arc::new(ConnectionInfo { peer, local, scheme: Scheme::Http, tls: None }),
        session: None,
        interim: None,
        received: SystemClock.now(),
        received_wall: SystemTime::UNIX_EPOCH,
    })
}

/// A request with fields.
pub(crate) fn request_with(method: Method, lines: &[(&'static str, &'static str)]) -> Box<Request> {
    let mut req = request(method, "/");
    let fields = Arc::make_mut(&mut req.fields);
    for (name, value) in lines {
        fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    req
}

/// Sends `req` once.
pub(crate) async fn send(server: &Arc<OriginServer>, req: Box<Request>) -> Result<Box<Response>, FetchError> {
    server.send(&mut OutboundRequest::new(req, &Pseudonym::random())?).await
}

/// The whole content of `response`.
pub(crate) async fn content(response: Box<Response>) -> Result<Bytes, crate::exchange::BodyError> {
    response.body.collect().await.map(http_body_util::Collected::to_bytes)
}
