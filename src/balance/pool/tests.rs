//! A pool before scripted origin servers.

mod affinity;
mod duty;
mod ejection;
mod found;
mod pause;
mod saturation;
mod simulation;
mod succession;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::*;
use crate::balance::{Duty, ServerState};
use crate::base::{ManualClock, SystemClock};
use crate::config::model::{Balance, HashKey, HealthCheck, RetryOn, ServerConfig};
use crate::exchange::Body;
use crate::upstream::test_origin::{self, TestOrigin, content, read_request, request};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const BROKEN: &str = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno";

fn pool_with(config: PoolConfig, clock: Arc<dyn Clock>) -> Arc<Pool> {
    Pool::new(Arc::new(config), None, None, clock, &Tasks::new(), Arc::default()).unwrap()
}

fn pool(config: PoolConfig) -> Arc<Pool> {
    pool_with(config, Arc::new(SystemClock))
}

fn config(origins: &[&TestOrigin]) -> PoolConfig {
    test_origin::pool(&origins.iter().map(|origin| origin.address).collect::<Vec<_>>())
}

fn every_balance() -> [Balance; 5] {
    [
        Balance::PowerOfTwo,
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Hash(HashKey::Client),
        Balance::Sticky("server".into()),
    ]
}

/// An address nobody listens at.
fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn health(path: Option<&str>) -> HealthCheck {
    HealthCheck { every: Duration::from_millis(5), ..test_origin::health_check(path) }
}

/// The server at this place.
fn member(pool: &Pool, index: usize) -> Arc<Member> {
    Arc::clone(pool.members().get(index).unwrap())
}

async fn get(pool: &Arc<Pool>) -> Result<Box<Response>, FetchError> {
    Arc::clone(pool).fetch(request(Method::GET, "/")).await
}

/// Sends a GET whose answer is under way as long as it is held.
async fn get_endless(pool: &Arc<Pool>) -> Result<Box<Response>, FetchError> {
    Arc::clone(pool).fetch(request(Method::GET, "/endless")).await
}

/// Sends a GET and says who answered.
async fn asked(pool: &Arc<Pool>) -> Arc<str> {
    let response = get(pool).await.unwrap();
    let server = response.facts.origin_server.clone().unwrap();
    content(response).await.unwrap();
    server
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("what is waited for comes about");
}

/// Closes each connection after it read a request.
async fn cutting() -> TestOrigin {
    TestOrigin::start(|_, mut stream| async move {
        read_request(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn with_one_server_of_two_dead_no_request_fails() {
    for balance in every_balance() {
        let origin = TestOrigin::always(OK).await;
        let pool = pool(PoolConfig { balance, ..test_origin::pool(&[nobody(), origin.address]) });
        for method in [Method::GET, Method::POST].iter().cycle().take(10) {
            let mut req = request(method.clone(), "/");
            req.body = Body::Full(Bytes::from_static(b"content"));
            let response = Arc::clone(&pool).fetch(req).await.unwrap();
            assert_eq!(response.facts.origin_server.as_deref(), Some(origin.address.to_string().as_str()));
            content(response).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_get_that_was_cut_is_sent_to_another_server_and_a_post_is_not() {
    let (cut, whole) = (cutting().await, TestOrigin::always(OK).await);
    let pool = pool(PoolConfig { balance: Balance::RoundRobin, ..config(&[&cut, &whole]) });
    let response = get(&pool).await.unwrap();
    assert_eq!((response.status, response.facts.attempts), (StatusCode::OK, 2));
    assert!(response.facts.origin_time.is_some());

    let pool = self::pool(PoolConfig { balance: Balance::RoundRobin, ..config(&[&cut, &whole]) });
    let error = Arc::clone(&pool).fetch(request(Method::POST, "/")).await.unwrap_err();
    assert_eq!((error.progress, error.attempts), (RequestProgress::Sent, 1));
    assert_eq!(error.origin_server.as_deref(), Some(cut.address.to_string().as_str()));
}

#[tokio::test]
async fn tries_and_budget_are_bounded() {
    let cut = cutting().await;
    let pool = pool(PoolConfig { balance: Balance::RoundRobin, ..config(&[&cut, &cut, &cut, &cut]) });
    let attempts = get(&pool).await.unwrap_err().attempts;
    assert_eq!(attempts, 3, "two further tries");
    for _ in 0..20 {
        get(&pool).await.unwrap_err();
    }
    assert!(pool.metrics.limits[Limit::RetryBudget as usize].value() > 0);
}

#[tokio::test]
async fn a_status_is_tried_again_where_the_config_says_so() {
    let (broken, whole) = (TestOrigin::always(BROKEN).await, TestOrigin::always(OK).await);
    let mut config = config(&[&broken, &whole]);
    config.balance = Balance::RoundRobin;
    config.retry.on = vec![RetryOn::Status(StatusCode::INTERNAL_SERVER_ERROR)];
    let response = get(&pool(config)).await.unwrap();
    assert_eq!((response.status, response.facts.attempts), (StatusCode::OK, 2));
}

#[tokio::test]
async fn an_answer_that_no_other_server_can_better_is_given() {
    let broken = TestOrigin::always(BROKEN).await;
    let mut config = config(&[&broken]);
    config.health = Some(health(None));
    config.retry.on = vec![RetryOn::Status(StatusCode::INTERNAL_SERVER_ERROR)];
    let pool = pool(config);
    // One request a second may see whether a server that is down answers again.
    pool.observe_health(&member(&pool, 0), Outcome::Failed);
    let response = get(&pool).await.unwrap();
    assert_eq!((response.status, response.facts.attempts), (StatusCode::INTERNAL_SERVER_ERROR, 1));
    assert_eq!(pool.metrics.origin_retries.value(), 0);
}

#[tokio::test]
async fn round_robin_asks_all_in_turn() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let mut config = config(&[&origins[0], &origins[1]]);
    config.balance = Balance::RoundRobin;
    config.servers[0].weight = 2;
    let pool = pool(config);
    let mut first = 0;
    for _ in 0..30 {
        first += usize::from(asked(&pool).await.as_ref() == origins[0].address.to_string());
    }
    assert_eq!(first, 20);
}

#[tokio::test]
async fn servers_alike_are_both_asked() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let pool =
        pool_with(config(&[&origins[0], &origins[1]]), Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH)));
    let mut seen = HashSet::new();
    while seen.len() < 2 {
        seen.insert(asked(&pool).await);
    }
}

#[tokio::test]
async fn requests_wait_for_the_first_check() {
    let gate = Arc::new(Semaphore::new(0));
    let checks = Arc::clone(&gate);
    let origin = TestOrigin::start(move |_, mut stream| {
        let checks = Arc::clone(&checks);
        async move {
            while let Some(text) = read_request(&mut stream).await {
                if text.starts_with("GET /healthz ") {
                    checks.acquire().await.unwrap().forget();
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let pool = pool(PoolConfig { health: Some(health(Some("/healthz"))), ..config(&[&origin]) });
    pool.start(None);
    let mut waiting = Box::pin(get(&pool));
    until(|| origin.accepted() == 1).await;
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(pool.snapshot().servers[0].state, ServerState::Unknown);
    gate.add_permits(Semaphore::MAX_PERMITS);
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_goes_down_and_comes_back() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_healthy = Arc::clone(&healthy);
    let origin = TestOrigin::start(move |_, mut stream| {
        let is_healthy = is_healthy.load(std::sync::atomic::Ordering::Relaxed);
        async move {
            read_request(&mut stream).await;
            stream.write_all(if is_healthy { OK } else { BROKEN }.as_bytes()).await.unwrap();
        }
    })
    .await;
    let pool = pool(PoolConfig { health: Some(health(Some("/"))), ..config(&[&origin]) });
    pool.start(None);
    let state = || pool.snapshot().servers[0].state;
    until(|| state() == ServerState::Up).await;
    healthy.store(false, std::sync::atomic::Ordering::Relaxed);
    until(|| state() == ServerState::Down).await;
    assert!(pool.snapshot().servers[0].last_error.as_ref().unwrap().contains("500"));
    healthy.store(true, std::sync::atomic::Ordering::Relaxed);
    until(|| state() == ServerState::Up).await;
}

#[tokio::test]
async fn a_server_that_comes_back_starts_slowly() {
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let check = HealthCheck { every: Duration::from_secs(3600), rise: 1, fall: 1, ..health(None) };
    let slow_start = Duration::from_secs(30);
    let config = PoolConfig { health: Some(check), slow_start, ..test_origin::pool(&[nobody(), nobody()]) };
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    let warmths = || [0, 1].map(|index| member(&pool, index).candidate(0, pool.now()).warmth);
    for member in pool.members().iter() {
        pool.observe_health(member, Outcome::Passed);
    }
    assert_eq!(warmths(), [100, 100], "nobody was away");
    clock.advance(slow_start);
    pool.observe_health(&member(&pool, 0), Outcome::Failed);
    pool.observe_health(&member(&pool, 0), Outcome::Passed);
    assert_eq!(warmths(), [10, 100]);
    clock.advance(slow_start / 2);
    assert_eq!(warmths(), [55, 100]);
    clock.advance(slow_start / 2);
    assert_eq!(warmths(), [100, 100]);
}

#[tokio::test]
async fn with_all_down_one_request_a_second_sees_whether_they_are_back() {
    let origin = TestOrigin::always(OK).await;
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let check = HealthCheck { every: Duration::from_secs(3600), ..health(None) };
    let mut config = test_origin::pool(&[nobody()]);
    config.health = Some(check.clone());
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    pool.start(None);
    until(|| pool.snapshot().servers[0].state == ServerState::Down).await;
    let let_through = get(&pool).await.unwrap_err();
    assert_eq!(let_through.kind, ProxyErrorType::ConnectionRefused);
    let refused = get(&pool).await.unwrap_err();
    assert_eq!(refused.kind, ProxyErrorType::DestinationUnavailable);
    assert_eq!((refused.retry_after, refused.attempts), (Some(RETRY_AFTER), 0));
    clock.advance(RETRY_AFTER);
    assert_eq!(get(&pool).await.unwrap_err().kind, ProxyErrorType::ConnectionRefused);

    // The same with a server that is back: the request is served and brings
    // the server up at once.
    let mut config = self::config(&[&origin]);
    config.health = Some(check);
    let pool = pool_with(config, clock);
    pool.observe_health(&member(&pool, 0), Outcome::Failed);
    assert_eq!(pool.snapshot().servers[0].state, ServerState::Down);
    content(get(&pool).await.unwrap()).await.unwrap();
    assert_eq!(pool.snapshot().servers[0].state, ServerState::Up);
}

#[tokio::test]
async fn what_was_sent_before_a_server_went_down_does_not_bring_it_back() {
    let gate = Arc::new(Semaphore::new(0));
    let answers = Arc::clone(&gate);
    let origin = TestOrigin::start(move |_, mut stream| {
        let answers = Arc::clone(&answers);
        async move {
            read_request(&mut stream).await;
            answers.acquire().await.unwrap().forget();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let pool = pool(PoolConfig { health: Some(health(None)), ..config(&[&origin]) });
    let member = member(&pool, 0);
    pool.observe_health(&member, Outcome::Passed);
    let mut sent = Box::pin(get(&pool));
    until(|| sent.as_mut().now_or_never().is_none() && origin.accepted() == 1).await;
    while member.standing() == Standing::Up {
        pool.observe_health(&member, Outcome::Failed);
    }
    gate.add_permits(1);
    assert_eq!(sent.await.unwrap().status, StatusCode::OK);
    assert_eq!(member.standing(), Standing::Down);
}

#[tokio::test]
async fn without_panic_mode_nobody_is_let_through() {
    let mut config = test_origin::pool(&[nobody()]);
    config.health = Some(health(None));
    config.panic = false;
    let pool = pool(config);
    pool.observe_health(&member(&pool, 0), Outcome::Failed);
    assert_eq!(get(&pool).await.unwrap_err().kind, ProxyErrorType::DestinationUnavailable);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_idle_connections() {
    let origin = TestOrigin::always(OK).await;
    let pool = pool(config(&[&origin]));
    pool.start(None);
    asked(&pool).await;
    pool.tasks.stop();
    timeout(Duration::from_secs(30), pool.tasks.wait()).await.expect("no task is left");
    asked(&pool).await;
}
