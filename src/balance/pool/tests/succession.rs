//! A pool that takes the place of another one.

use super::*;
use crate::config::model::Ejection;

/// The pool of `config` in the place of `before`.
fn next(before: &Arc<Pool>, config: PoolConfig) -> Arc<Pool> {
    let (clock, tasks, metrics) = (Arc::clone(&before.clock), &before.tasks, Arc::clone(&before.metrics));
    let pool = Pool::new(Arc::new(config), Some(before), None, clock, tasks, metrics).unwrap();
    pool.start(Some(before));
    before.retire(Some(&pool));
    pool
}

fn states(pool: &Pool) -> Vec<ServerState> {
    pool.snapshot().servers.iter().map(|server| server.state).collect()
}

fn ejecting(origins: &[&TestOrigin]) -> PoolConfig {
    let rules = Ejection {
        errors: 1,
        within: Duration::from_secs(10),
        duration: Duration::from_secs(30),
        rate_percent: None,
        requests: 20,
        retry_after: Duration::ZERO,
    };
    PoolConfig { balance: Balance::RoundRobin, eject: Some(rules), ..config(origins) }
}

#[tokio::test]
async fn what_is_known_of_a_server_stays_known() {
    let origins =
        [TestOrigin::always(BROKEN).await, TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let [broken, drained, new] = &origins;
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let before = pool_with(ejecting(&[broken, drained]), Arc::clone(&clock) as Arc<dyn Clock>);
    for _ in 0..2 {
        asked(&before).await;
    }
    clock.advance(Duration::from_secs(20));
    before.assign(&drained.address.to_string(), Duty::Draining);
    assert_eq!(states(&before), [ServerState::Ejected, ServerState::Draining]);

    // In another order, and with another one.
    let after = next(&before, ejecting(&[new, drained, broken]));
    assert_eq!(states(&after), [ServerState::Up, ServerState::Draining, ServerState::Ejected]);
    let known = after.snapshot().servers.pop().unwrap();
    assert_eq!((known.requests, known.failures, known.last_error.as_deref()), (1, 1, Some("status 500")));
    clock.advance(Duration::from_secs(9));
    assert_eq!(states(&after)[2], ServerState::Ejected);
    clock.advance(Duration::from_secs(1));
    assert_eq!(states(&after)[2], ServerState::Probation, "the time goes on, and is not begun anew");

    // Who is to eject nobody leaves nobody out.
    let free = next(&after, PoolConfig { eject: None, ..ejecting(&[broken]) });
    assert_eq!(states(&free), [ServerState::Up]);
}

#[tokio::test]
async fn a_server_that_is_down_stays_down_as_long_as_it_is_checked() {
    let checked = PoolConfig {
        health: Some(HealthCheck { every: Duration::from_secs(3600), ..test_origin::health_check(None) }),
        ..test_origin::pool(&[nobody()])
    };
    let before = pool(checked.clone());
    before.observe_health(&member(&before, 0), Outcome::Failed);
    let after = pool_after(&before, PoolConfig { panic: false, ..checked.clone() });
    assert_eq!(states(&after), [ServerState::Down]);
    assert_eq!(states(&pool_after(&after, PoolConfig { health: None, ..checked })), [ServerState::Up]);
}

/// The same as [`next`], which nothing is checked in yet.
fn pool_after(before: &Arc<Pool>, config: PoolConfig) -> Arc<Pool> {
    let (clock, tasks, metrics) = (Arc::clone(&before.clock), &before.tasks, Arc::clone(&before.metrics));
    Pool::new(Arc::new(config), Some(before), None, clock, tasks, metrics).unwrap()
}

#[tokio::test]
async fn connections_and_their_bounds_go_on_where_servers_are_spoken_to_as_before() {
    let origin = TestOrigin::always(OK).await;
    let before = pool(config(&[&origin]));
    asked(&before).await;
    let alike = PoolConfig { balance: Balance::RoundRobin, panic: false, ..config(&[&origin]) };
    let after = next(&before, alike);
    assert!(Arc::ptr_eq(&member(&before, 0).origin, &member(&after, 0).origin));
    asked(&after).await;
    assert_eq!(origin.accepted(), 1, "the one that was idle");

    let other = PoolConfig { max_connections: 3, ..config(&[&origin]) };
    let last = next(&after, other);
    asked(&last).await;
    assert_eq!(origin.accepted(), 2);
    // What nobody goes on with is closed.
    until(|| member(&after, 0).origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_server_that_is_there_twice_has_the_connections_of_each() {
    let origin = TestOrigin::always(OK).await;
    let twice = PoolConfig { balance: Balance::RoundRobin, ..config(&[&origin, &origin]) };
    let before = pool(twice.clone());
    for _ in 0..2 {
        asked(&before).await;
    }
    let after = next(&before, PoolConfig { panic: false, ..twice });
    let known = after.snapshot().servers;
    assert_eq!((known[0].requests, known[1].requests), (1, 1));
    for index in [0, 1] {
        assert!(Arc::ptr_eq(&member(&before, index).origin, &member(&after, index).origin), "{index}");
    }
    assert!(!Arc::ptr_eq(&member(&after, 0).origin, &member(&after, 1).origin));
}

#[tokio::test]
async fn an_address_that_is_found_under_a_name_from_now_on_is_spoken_to_by_that_name() {
    let before = pool(test_origin::pool(&[found::number(2)]));
    let after = pool_after(&before, found::named(test_origin::pool(&[found::number(1)])));
    found::found(&after, vec![found::at(found::number(2))]);
    let known = member(&after, 1);
    assert_eq!(known.origin.endpoint().name(), "app.internal");
    assert_eq!(known.standing(), Standing::Up);
    // Or it would be somebody new each time it is found.
    found::found(&after, vec![found::at(found::number(2))]);
    assert!(Arc::ptr_eq(&known, &member(&after, 1)));
}

#[tokio::test]
async fn a_retired_pool_ends_what_it_has() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let before = pool(config(&[&origins[0]]));
    let response = get(&before).await.unwrap();
    let _after = next(&before, config(&[&origins[1]]));
    assert_eq!(content(response).await.unwrap(), "hi");
    until(|| member(&before, 0).origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_pool_is_the_same_while_its_files_are() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, "old").unwrap();
    let mut config = test_origin::pool(&[nobody()]);
    config.tls.ca = Some(ca.clone());
    let pool = pool(config.clone());
    assert!(pool.is_of(&config));
    std::fs::write(&ca, "newer").unwrap();
    assert!(!pool.is_of(&config));
    let after = pool_after(&pool, config);
    assert!(!Arc::ptr_eq(&member(&pool, 0).origin, &member(&after, 0).origin));
}
