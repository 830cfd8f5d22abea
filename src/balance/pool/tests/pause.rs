//! Servers that ask to be left alone for a while.

use super::found::{at, found, named, number};
use super::*;
use crate::config::model::Ejection;

const S: fn(u64) -> Duration = Duration::from_secs;

const RULES: Ejection = Ejection {
    errors: 100,
    within: Duration::from_secs(10),
    duration: Duration::from_secs(10),
    rate_percent: None,
    requests: 20,
    retry_after: Duration::from_secs(60),
};

/// A pool in turn before servers that give these answers.
async fn answering(clock: &Arc<ManualClock>, rules: Ejection, answers: &[&'static str]) -> Arc<Pool> {
    let mut origins = Vec::new();
    for answer in answers {
        origins.push(TestOrigin::always(answer).await);
    }
    let config = config(&origins.iter().collect::<Vec<_>>());
    let config = PoolConfig { balance: Balance::RoundRobin, eject: Some(rules), ..config };
    pool_with(config, Arc::clone(clock) as Arc<dyn Clock>)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH))
}

fn states(pool: &Pool) -> Vec<ServerState> {
    pool.snapshot().servers.iter().map(|server| server.state).collect()
}

const PAUSE: &str = "HTTP/1.1 503 Later\r\nRetry-After: 20\r\nContent-Length: 2\r\n\r\nno";
const LONG_PAUSE: &str = "HTTP/1.1 503 Later\r\nRetry-After: 3600\r\nContent-Length: 2\r\n\r\nno";

#[tokio::test]
async fn who_asks_for_a_pause_is_not_asked_for_the_same_once_more() {
    for (answer, attempts) in [(PAUSE, 1), (BROKEN, 3)] {
        let origin = TestOrigin::always(answer).await;
        let mut config = config(&[&origin]);
        config.retry.on = [500, 503].map(|status| RetryOn::Status(status.try_into().unwrap())).into();
        let response = get(&pool(config)).await.unwrap();
        assert_eq!((response.status.is_server_error(), response.facts.attempts), (true, attempts));
    }
}

#[tokio::test]
async fn in_the_place_of_who_asks_for_a_pause_one_that_is_ejected_is_asked() {
    let origins = [TestOrigin::always(PAUSE).await, TestOrigin::always(OK).await];
    let mut config = config(&[&origins[0], &origins[1]]);
    config.eject = Some(RULES);
    config.retry.on = vec![RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)];
    let pool = pool(config);
    member(&pool, 1).eject(&RULES, pool.now());
    let response = get(&pool).await.unwrap();
    assert_eq!((response.status, response.facts.attempts), (StatusCode::OK, 2));
}

#[tokio::test]
async fn who_asks_for_a_pause_gets_it_up_to_a_bound() {
    for (answer, rules, pause) in [
        (PAUSE, RULES, 20),
        (LONG_PAUSE, RULES, 60),
        (PAUSE, Ejection { retry_after: Duration::ZERO, ..RULES }, 0),
        (BROKEN, RULES, 0),
    ] {
        let clock = clock();
        let pool = answering(&clock, rules, &[answer, OK]).await;
        asked(&pool).await;
        if pause > 0 {
            clock.advance(S(pause - 1));
            assert_eq!(states(&pool), [ServerState::Ejected, ServerState::Up]);
            for _ in 0..4 {
                assert_eq!(asked(&pool).await, member(&pool, 1).label);
            }
            clock.advance(S(1));
            assert_eq!(states(&pool)[0], ServerState::Probation);
        } else {
            assert_eq!(states(&pool), [ServerState::Up; 2]);
        }
    }
}

#[tokio::test]
async fn who_pauses_does_so_though_others_of_its_name_come_and_go() {
    let (well, busy) = (TestOrigin::always(OK).await, TestOrigin::always(PAUSE).await);
    let config = PoolConfig { eject: Some(RULES), ..named(config(&[&well])) };
    let clock = clock();
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    found(&pool, vec![at(busy.address)]);
    for _ in 0..2 {
        asked(&pool).await;
    }
    assert_eq!(states(&pool), [ServerState::Up, ServerState::Ejected]);
    found(&pool, vec![at(busy.address), at(number(9))]);
    assert_eq!(states(&pool), [ServerState::Up, ServerState::Ejected, ServerState::Up]);
    found(&pool, vec![at(busy.address)]);
    clock.advance(S(20));
    assert_eq!(states(&pool), [ServerState::Up, ServerState::Probation]);
}

#[tokio::test]
async fn at_most_half_of_a_pool_pauses_and_never_the_last() {
    for (servers, paused) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let pool = answering(&clock(), RULES, &vec![PAUSE; servers]).await;
        for _ in 0..servers * 4 {
            asked(&pool).await;
        }
        let count = states(&pool).iter().filter(|state| **state == ServerState::Ejected).count();
        assert_eq!(count, paused, "of {servers}");
    }
}

#[tokio::test]
async fn a_retry_goes_to_another_server_and_429_is_the_clients_to_heed() {
    const TOO_MANY: &str = "HTTP/1.1 429 Slow\r\nRetry-After: 20\r\nContent-Length: 2\r\n\r\nno";
    for (answer, status, attempts) in
        [(PAUSE, StatusCode::OK, 2), (TOO_MANY, StatusCode::TOO_MANY_REQUESTS, 1)]
    {
        let origins = [TestOrigin::always(answer).await, TestOrigin::always(OK).await];
        let mut config = config(&[&origins[0], &origins[1]]);
        config.balance = Balance::RoundRobin;
        config.eject = Some(RULES);
        config.retry.on = vec![RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)];
        let pool = pool_with(config, clock());
        let res = get(&pool).await.unwrap();
        assert_eq!((res.status, res.facts.attempts), (status, attempts));
        let expected = if attempts == 2 { ServerState::Ejected } else { ServerState::Up };
        assert_eq!(states(&pool)[0], expected);
    }
}
