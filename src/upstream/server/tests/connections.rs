//! Which connection a request goes over, how many there are, and when one ends.

use std::net::SocketAddr;

use tokio::sync::Semaphore;

use super::*;
use crate::exchange::{ConnectionInfo, Request};

#[tokio::test]
async fn a_connection_is_used_again() {
    let origin = TestOrigin::always(OK).await;
    let server = origin.server();
    for _ in 0..5 {
        let response = send(&server, request(Method::GET, "/")).await.unwrap();
        assert_eq!(content(response).await.unwrap(), "hi");
        assert_eq!(server.in_flight(), 0);
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_connection_is_replaced_when_it_is_old_or_was_used_enough() {
    let hour = Duration::from_secs(3600);
    for (requests, between, accepted) in [(Some(3), 0, 4), (Some(1), 0, 10), (None, 10, 2), (None, 0, 1)] {
        let origin = TestOrigin::always(OK).await;
        let mut config = pool(&[origin.address]);
        config.timeouts.keep_alive = hour;
        config.connection_life = ConnectionLife { age: hour, requests };
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        let server = server_with(&config, Arc::clone(&clock) as Arc<dyn Clock>);
        for _ in 0..10 {
            content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
            clock.advance(Duration::from_secs(60 * between));
        }
        assert_eq!(origin.accepted(), accepted, "{requests:?}, one in {between} minutes");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_swept_away() {
    let origin = TestOrigin::once(OK.as_bytes()).await;
    let server = origin.server();
    content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
    assert_eq!(server.open_connections(), 1);
    let swept = async {
        while server.open_connections() > 0 {
            server.sweep_idle();
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), swept).await.unwrap();
}

#[tokio::test]
async fn connections_are_bounded() {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let origin = TestOrigin::start(move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            while read_request(&mut stream).await.is_some() {
                gate.acquire().await.unwrap().forget();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let mut config = pool(&[origin.address]);
    config.max_connections = 1;
    config.queue.max = 1;
    let server = server(&config);
    let one =
        async { content(send(&server, request(Method::GET, "/")).await?).await.map_err(|_| unreachable!()) };
    let two =
        async { content(send(&server, request(Method::GET, "/")).await?).await.map_err(|_| unreachable!()) };
    let three = async {
        let refused = send(&server, request(Method::GET, "/")).await.unwrap_err();
        release.add_permits(2);
        refused
    };
    let (one, two, three): (Result<_, FetchError>, Result<_, FetchError>, _) = tokio::join!(one, two, three);
    assert_eq!((one.unwrap(), two.unwrap()), (Bytes::from("hi"), Bytes::from("hi")));
    assert_eq!(three.kind, ProxyErrorType::ConnectionLimitReached);
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_closed_before_another_one_takes_its_place() {
    let sockets: Arc<Mutex<Vec<socket2::Socket>>> = Arc::default();
    let (seen, most) = (Arc::clone(&sockets), Arc::new(AtomicUsize::new(0)));
    let seen_at_once = Arc::clone(&most);
    let origin = TestOrigin::start(move |_, mut stream| {
        seen.lock().unwrap().push(socket2::SockRef::from(&stream).try_clone().unwrap());
        let open = seen.lock().unwrap().iter().filter(|socket| is_open(socket)).count();
        seen_at_once.fetch_max(open, Relaxed);
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let mut config = pool(&[origin.address]);
    // Each client needs a connection of its own.
    (config.max_connections, config.proxy_protocol) = (1, Some(ProxyProtocol::V1));
    let server = server(&config);
    for client in 0..4 {
        on_another_worker(&server, of_client(client)).await;
    }
    assert_eq!((most.load(Relaxed), origin.accepted()), (1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_may_be_opened_another_worker_s_connection_is_used() {
    let origin = TestOrigin::always(OK).await;
    let mut config = pool(&[origin.address]);
    config.max_connections = 1;
    let server = server(&config);
    for _ in 0..4 {
        on_another_worker(&server, request(Method::GET, "/")).await;
    }
    assert_eq!(origin.accepted(), 1);
}

/// Sends `req` from a thread that has idle connections of its own.
async fn on_another_worker(server: &Arc<OriginServer>, req: Box<Request>) {
    let server = Arc::clone(server);
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { content(send(&server, req).await.unwrap()).await.unwrap() });
        runtime
    });
    let runtime = tokio::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    // It goes on moving bytes.
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
}

/// A request of the client of this number.
fn of_client(number: u16) -> Box<Request> {
    let mut req = request(Method::GET, "/");
    let peer = SocketAddr::new(req.connection.peer.ip(), 5000 + number);
    let (local, scheme) = (req.connection.local, req.connection.scheme);
    req.connection = Arc::new(ConnectionInfo { peer, local, scheme, tls: None });
    req
}

/// True unless the other end has said its last.
fn is_open(socket: &socket2::Socket) -> bool {
    socket.peek(&mut [std::mem::MaybeUninit::uninit()]).map_or(true, |count| count > 0)
}

#[tokio::test]
async fn old_connections_are_swept_away() {
    let origin = TestOrigin::always(OK).await;
    let mut config = pool(&[origin.address]);
    config.timeouts.keep_alive = Duration::ZERO;
    let server = server(&config);
    for _ in 0..2 {
        content(send(&server, request(Method::GET, "/")).await.unwrap()).await.unwrap();
    }
    assert_eq!(origin.accepted(), 2);
    server.sweep_idle();
    while server.open_connections() > 0 {
        tokio::task::yield_now().await;
    }
}
