//! How many connections and requests there are at a time, and for how long.

use super::*;

#[tokio::test]
async fn another_connection_is_opened_when_streams_run_out() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(2, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server(&origin);
    let six = join_all((0..6).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        let mut held = Vec::new();
        while held.len() < 6 {
            held.push(arrivals.recv().await.unwrap());
        }
        held.iter_mut().for_each(|respond| drop(respond.send_response(head(204), true).unwrap()));
    };
    let (six, ()) = timeout(Duration::from_secs(30), async { tokio::join!(six, answer) }).await.unwrap();
    assert!(six.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 3);
}

#[tokio::test]
async fn a_connection_that_was_used_enough_ends_with_its_last_stream() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(100, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server_of(&origin, |pool| pool.connection_life.requests = Some(2));
    let five = join_all((0..5).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        let mut held = Vec::new();
        while held.len() < 5 {
            held.push(arrivals.recv().await.unwrap());
        }
        held.iter_mut().for_each(|respond| drop(respond.send_response(head(204), true).unwrap()));
    };
    let (five, ()) = timeout(Duration::from_secs(30), async { tokio::join!(five, answer) }).await.unwrap();
    assert!(five.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 3);
    let closed = async {
        while server.open_connections() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.expect("those that are used up end");
}

/// Where nothing else is left but to wait.
#[tokio::test]
async fn a_connection_that_was_used_enough_carries_more_if_no_other_may_be_opened() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(100, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server_of(&origin, |pool| {
        (pool.max_connections, pool.max_requests) = (1, 3);
        pool.connection_life.requests = Some(1);
    });
    let all = join_all((0..3).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        let mut held = Vec::new();
        while held.len() < 3 {
            held.push(arrivals.recv().await.unwrap());
        }
        held.iter_mut().for_each(|respond| drop(respond.send_response(head(204), true).unwrap()));
    };
    let (all, ()) = timeout(Duration::from_secs(30), async { tokio::join!(all, answer) }).await.unwrap();
    assert!(all.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_are_allowed() {
    let origin = answering(1, tell).await;
    let server = server_of(&origin, |pool| pool.max_connections = 4);
    for _ in 0..5 {
        let four = join_all((0..4).map(|_| send(&server, request(Method::GET, "/")))).await;
        join_all(four.into_iter().map(|res| text(res.unwrap()))).await;
    }
    assert!(server.open_connections() <= 4, "{}", server.open_connections());
}

#[tokio::test]
async fn requests_may_be_more_than_connections() {
    for (streams, wanted) in [(100, 50), (2, 2)] {
        let origin = answering(streams, tell).await;
        let server = server_of(&origin, |pool| {
            (pool.max_connections, pool.max_requests) = (1, 50);
            pool.queue.timeout = Duration::from_millis(20);
        });
        // What is not read is under way.
        let held = join_all((0..wanted).map(|_| send(&server, request(Method::GET, "/")))).await;
        assert!(held.iter().all(Result::is_ok), "{held:?}");
        let refused = failure(&server, request(Method::POST, "/")).await;
        assert_eq!(
            (refused.kind, refused.progress),
            (ProxyErrorType::ConnectionLimitReached, RequestProgress::NotSent)
        );
        assert_eq!(origin.accepted(), 1);
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_takes_a_stream_that_is_left_meanwhile() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = answering(1, move |_, respond| {
        let arrived = arrived.clone();
        async move { arrived.send(respond).unwrap() }
    })
    .await;
    let server = server_of(&origin, |pool| (pool.max_connections, pool.max_requests) = (1, 3));
    let all = join_all((0..3).map(|_| send(&server, request(Method::GET, "/"))));
    let answer = async {
        for _ in 0..3 {
            let mut respond = arrivals.recv().await.unwrap();
            respond.send_response(head(204), true).unwrap();
        }
    };
    let (all, ()) = timeout(Duration::from_secs(30), async { tokio::join!(all, answer) }).await.unwrap();
    assert!(all.into_iter().all(|res| res.unwrap().status == StatusCode::NO_CONTENT));
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn all_who_wait_for_a_connection_that_takes_too_long_may_go_elsewhere() {
    let silent = Silent::start().await;
    let mut pool = test_origin::pool(&[silent.address]);
    pool.servers[0].protocol = OriginProtocol::Http2;
    pool.timeouts.connect = Duration::from_millis(50);
    let server = test_origin::server(&pool);
    for error in join_all((0..4).map(|_| failure(&server, request(Method::POST, "/")))).await {
        assert_eq!(
            (error.kind, error.progress),
            (ProxyErrorType::ConnectionTimeout, RequestProgress::NotSent)
        );
    }
}

#[tokio::test]
async fn all_who_wait_for_room_are_told_to_come_later() {
    let origin = answering(1, tell).await;
    let server = server_of(&origin, |pool| {
        (pool.max_connections, pool.max_requests) = (1, 4);
        (pool.timeouts.connect, pool.queue.timeout) = (Duration::from_secs(1), Duration::from_secs(2));
    });
    let _held = send(&server, request(Method::GET, "/")).await.unwrap();
    for error in join_all((0..3).map(|_| failure(&server, request(Method::POST, "/")))).await {
        assert_eq!(error.kind, ProxyErrorType::ConnectionLimitReached);
        assert!(error.retry_after.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_may_be_opened_another_worker_s_connection_will_do() {
    let origin = answering(100, tell).await;
    let server = server_of(&origin, |pool| pool.max_connections = 1);
    for _ in 0..4 {
        let same = Arc::clone(&server);
        let other_worker = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async { text(send(&same, request(Method::GET, "/")).await.unwrap()).await })
        });
        assert!(other_worker.await.unwrap().starts_with("GET"));
        text(send(&server, request(Method::GET, "/")).await.unwrap()).await;
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_connection_is_kept_from_its_last_request_on() {
    let origin = answering(100, tell).await;
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let mut pool = test_origin::pool(&[origin.address]);
    pool.servers[0].protocol = OriginProtocol::Http2;
    let told = Arc::clone(&clock) as Arc<dyn Clock>;
    let server = test_origin::server_with(&pool, told);
    let ask = async || text(send(&server, request(Method::GET, "/")).await.unwrap()).await;
    ask().await;
    for (passed, connections) in [(59, 1), (59, 1), (60, 2)] {
        clock.advance(Duration::from_secs(passed));
        ask().await;
        assert_eq!(origin.accepted(), connections);
    }
    clock.advance(Duration::from_secs(59));
    server.sweep_idle();
    assert_eq!(server.open_connections(), 1);
    clock.advance(Duration::from_secs(1));
    server.sweep_idle();
    let closed = async {
        while server.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.unwrap();
    ask().await;
    server.close_idle();
    ask().await;
    ask().await;
    assert_eq!(origin.accepted(), 5);
}

#[tokio::test]
async fn a_server_that_gets_no_more_ends_what_it_has_on_each_connection() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let origin = answering(1, move |_, mut respond| {
        let gate = Arc::clone(&gate);
        async move {
            let mut body = respond.send_response(head(200), false).unwrap();
            gate.notified().await;
            body.send_data("whole".into(), true).unwrap();
        }
    })
    .await;
    let server = server(&origin);
    let [idle, busy] = [send(&server, request(Method::GET, "/")), send(&server, request(Method::GET, "/"))];
    let (idle, busy) = (idle.await.unwrap(), busy.await.unwrap());
    opened.notify_one();
    assert_eq!((text(idle).await.as_str(), server.open_connections()), ("whole", 2));
    server.close_idle();
    let left = async |connections| {
        while server.open_connections() > connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), left(1)).await.expect("that without requests is closed");
    opened.notify_one();
    assert_eq!(text(busy).await, "whole");
    timeout(Duration::from_secs(30), left(0)).await.expect("and then the other one");
}
