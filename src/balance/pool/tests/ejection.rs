//! Servers that fail requests, on a clock that the tests move.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::config::model::Ejection;

const S: fn(u64) -> Duration = Duration::from_secs;

fn rules() -> Ejection {
    Ejection {
        errors: 2,
        within: S(10),
        duration: S(30),
        rate_percent: None,
        requests: 20,
        retry_after: S(0),
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH))
}

/// In turn, so that it is known who is asked.
fn turning(clock: &Arc<ManualClock>, origins: &[&TestOrigin]) -> Arc<Pool> {
    let config = PoolConfig { balance: Balance::RoundRobin, eject: Some(rules()), ..config(origins) };
    pool_with(config, Arc::clone(clock) as Arc<dyn Clock>)
}

fn states(pool: &Pool) -> Vec<ServerState> {
    pool.snapshot().servers.iter().map(|server| server.state).collect()
}

/// Fails its requests while it is told to.
async fn switched() -> (TestOrigin, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_broken);
    let origin = TestOrigin::start(move |_, mut stream| {
        let is_broken = Arc::clone(&is_broken);
        async move {
            while read_request(&mut stream).await.is_some() {
                let answer = if is_broken.load(SeqCst) { BROKEN } else { OK };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (origin, switch)
}

#[tokio::test]
async fn failures_in_a_row_eject_a_server_but_never_the_last() {
    let (broken, whole) = (TestOrigin::always(BROKEN).await, TestOrigin::always(OK).await);
    let clock = clock();
    let pool = turning(&clock, &[&broken, &whole]);
    for _ in 0..4 {
        asked(&pool).await;
    }
    assert_eq!(states(&pool), [ServerState::Ejected, ServerState::Up]);
    for _ in 0..5 {
        assert_eq!(asked(&pool).await.as_ref(), whole.address.to_string());
    }

    let alone = turning(&clock, &[&broken]);
    for _ in 0..4 {
        asked(&alone).await;
    }
    assert_eq!(states(&alone), [ServerState::Up]);
    let status = serde_json::to_value(alone.snapshot()).unwrap();
    assert_eq!(
        (&status["servers"][0]["state"], &status["servers"][0]["failures"]),
        (&"up".into(), &4.into())
    );
}

/// It may be back; who has failed the request twice is not.
#[tokio::test]
async fn who_was_ejected_is_asked_before_who_failed_the_same_request_twice() {
    let (broken, is_broken) = switched().await;
    let cut = cutting().await;
    let pool = turning(&clock(), &[&broken, &cut]);
    while states(&pool) != [ServerState::Ejected, ServerState::Up] {
        let _ = Arc::clone(&pool).fetch(request(Method::POST, "/")).await;
    }
    is_broken.store(false, SeqCst);
    let response = get(&pool).await.unwrap();
    assert_eq!((response.status, response.facts.attempts), (StatusCode::OK, 3));
}

#[tokio::test]
async fn a_certificate_of_another_name_is_no_fault_of_the_server() {
    let broken = TestOrigin::always(BROKEN).await;
    let pool = turning(&clock(), &[&broken, &broken]);
    let unproven = || {
        let error = FetchError::new(ProxyErrorType::TlsCertificateError, RequestProgress::NotSent);
        FetchError { is_requests_fault: true, ..error }
    };
    let asked = Asked { number: 1, sent: Duration::ZERO, is_trial: false, was_down: false };
    for _ in 0..4 {
        pool.observe(&member(&pool, 0), &mut Err(unproven()), &asked, Duration::ZERO);
    }
    assert_eq!(states(&pool), [ServerState::Up; 2]);
}

#[tokio::test]
async fn never_more_than_half_of_a_pool_is_ejected() {
    let broken = TestOrigin::always(BROKEN).await;
    for (servers, ejected) in [(2, 1), (3, 1), (4, 2), (5, 2)] {
        let pool = turning(&clock(), &vec![&broken; servers]);
        for _ in 0..servers * 4 {
            asked(&pool).await;
        }
        let count = states(&pool).iter().filter(|state| **state == ServerState::Ejected).count();
        assert_eq!(count, ejected, "of {servers}");
    }
}

#[tokio::test]
async fn on_probation_a_failure_ejects_for_longer_and_a_success_frees() {
    let ((origin, is_broken), whole) = (switched().await, TestOrigin::always(OK).await);
    let clock = clock();
    let pool = turning(&clock, &[&origin, &whole]);
    let state = || states(&pool)[0];
    for _ in 0..4 {
        asked(&pool).await;
    }
    clock.advance(S(30));
    assert_eq!(state(), ServerState::Probation);
    asked(&pool).await;
    asked(&pool).await;
    assert_eq!(state(), ServerState::Ejected);
    clock.advance(S(59));
    assert_eq!(state(), ServerState::Ejected, "for twice as long");
    clock.advance(S(1));
    is_broken.store(false, SeqCst);
    asked(&pool).await;
    asked(&pool).await;
    assert_eq!(state(), ServerState::Up);
}

#[tokio::test]
async fn on_probation_there_is_one_request_at_a_time() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let origin = TestOrigin::start(move |_, mut stream| {
        let waiting = Arc::clone(&waiting);
        async move {
            while read_request(&mut stream).await.is_some() {
                waiting.acquire().await.unwrap().forget();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let whole = TestOrigin::always(OK).await;
    let clock = clock();
    let pool = turning(&clock, &[&origin, &whole]);
    member(&pool, 0).eject(&rules(), pool.now());
    clock.advance(S(30));
    let trial = {
        let mut trial = Box::pin(get(&pool));
        while origin.accepted() == 0 {
            assert!(trial.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        trial
    };
    for _ in 0..6 {
        assert_eq!(asked(&pool).await.as_ref(), whole.address.to_string());
    }
    // A client that leaves takes its trial along, and decides nothing.
    drop(trial);
    assert_eq!(states(&pool)[0], ServerState::Probation);
    gate.add_permits(Semaphore::MAX_PERMITS);
    for _ in 0..2 {
        asked(&pool).await;
    }
    assert_eq!(states(&pool)[0], ServerState::Up);
}

#[tokio::test]
async fn a_share_of_failures_ejects_without_a_row() {
    let number = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let half = TestOrigin::start(move |_, mut stream| {
        let number = Arc::clone(&number);
        async move {
            while read_request(&mut stream).await.is_some() {
                let answer = if number.fetch_add(1, SeqCst).is_multiple_of(2) { BROKEN } else { OK };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let whole = TestOrigin::always(OK).await;
    let rate = Ejection { rate_percent: Some(50), ..rules() };
    let balance = Balance::RoundRobin;
    let pool = pool_with(PoolConfig { balance, eject: Some(rate), ..config(&[&half, &whole]) }, clock());
    for _ in 0..44 {
        asked(&pool).await;
    }
    assert_eq!(states(&pool), [ServerState::Ejected, ServerState::Up]);
    assert!(pool.snapshot().servers[0].requests >= 20);
}

/// By its latency alone it would not be for longer than it was ejected.
#[tokio::test]
async fn a_server_that_failed_is_asked_as_soon_as_its_ejection_is_over() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let clock = clock();
    let config = PoolConfig { eject: Some(rules()), ..config(&[&origins[0], &origins[1]]) };
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    member(&pool, 0).failed("broken".to_owned(), None, false, pool.now());
    member(&pool, 0).eject(&rules(), pool.now());
    clock.advance(S(30));
    for _ in 0..100 {
        asked(&pool).await;
    }
    assert_eq!(states(&pool)[0], ServerState::Up);
}

/// Of requests that were sent before it was ejected.
#[tokio::test]
async fn late_outcomes_decide_nothing_on_probation() {
    let (origin, whole) = (TestOrigin::always(OK).await, TestOrigin::always(OK).await);
    let clock = clock();
    let pool = turning(&clock, &[&origin, &whole]);
    let member = &member(&pool, 0);
    member.eject(&rules(), pool.now());
    clock.advance(S(30));
    assert!(!member.succeeded(S(31), false, pool.now()));
    assert!(!member.failed("late".to_owned(), Some(&rules()), false, pool.now()));
    assert_eq!(states(&pool)[0], ServerState::Probation);
    assert!(member.succeeded(S(1), true, pool.now()));
    assert_eq!(states(&pool)[0], ServerState::Up);
}
