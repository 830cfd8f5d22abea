//! Servers that an operator takes out and back.

use super::*;
use crate::balance::Duty;

fn states(pool: &Pool) -> Vec<ServerState> {
    pool.snapshot().servers.iter().map(|server| server.state).collect()
}

#[tokio::test]
async fn who_is_taken_out_gets_nothing_new_whatever_the_strategy() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    for balance in every_balance() {
        let pool = pool(PoolConfig { balance, ..config(&[&origins[0], &origins[1]]) });
        for (duty, state) in
            [(Duty::Draining, ServerState::Draining), (Duty::Disabled, ServerState::Disabled)]
        {
            let label = origins[0].address.to_string();
            assert_eq!(pool.assign(&format!("http://{label}"), duty), Some(label));
            assert_eq!(states(&pool), [state, ServerState::Up]);
            for _ in 0..10 {
                assert_eq!(asked(&pool).await.as_ref(), origins[1].address.to_string());
            }
        }
        assert_eq!(pool.assign("10.9.9.9:80", Duty::Disabled), None);
    }
}

#[tokio::test]
async fn who_was_taken_out_comes_back_slowly() {
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let config = PoolConfig { slow_start: Duration::from_secs(30), ..test_origin::pool(&[nobody()]) };
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    let warmth = || member(&pool, 0).candidate(0, pool.now()).warmth;
    let label = nobody().to_string();
    pool.assign(&label, Duty::Enabled);
    assert_eq!(warmth(), 100, "it was there all the time");
    pool.assign(&label, Duty::Disabled);
    clock.advance(Duration::from_secs(3600));
    pool.assign(&label, Duty::Enabled);
    assert_eq!(warmth(), 10);
    clock.advance(Duration::from_secs(15));
    pool.assign(&label, Duty::Enabled);
    assert_eq!(warmth(), 55);
}

#[tokio::test]
async fn nobody_is_asked_where_all_are_taken_out() {
    let origin = TestOrigin::always(OK).await;
    let pool = pool(config(&[&origin]));
    let label = origin.address.to_string();
    pool.assign(&label, Duty::Disabled);
    pool.observe_health(&member(&pool, 0), Outcome::Failed);
    assert_eq!(get(&pool).await.unwrap_err().kind, ProxyErrorType::DestinationUnavailable);
    assert_eq!(origin.accepted(), 0);
    pool.assign(&label, Duty::Enabled);
    pool.observe_health(&member(&pool, 0), Outcome::Passed);
    asked(&pool).await;
}

#[tokio::test]
async fn a_drain_keeps_sessions_and_a_disabled_server_none() {
    let mut config = test_origin::pool(&["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]);
    config.balance = Balance::Sticky("server".into());
    let directory = tempfile::tempdir().unwrap();
    let key = StickyKey::open(directory.path()).unwrap();
    let pool =
        Pool::new(Arc::new(config), None, Some(&key), Arc::new(SystemClock), &Tasks::new(), Arc::default())
            .unwrap();
    let mut req = request(Method::GET, "/");
    req.session = member(&pool, 0).tie.as_ref().map(|tie| tie.tag);
    let wish = pool.wish(&req);
    let picked =
        || pool.pick(&pool.members(), wish, &[], true, pool.now()).map(|it| Arc::clone(&it.member.label));
    for (duty, expected) in [(Duty::Enabled, 1), (Duty::Draining, 1), (Duty::Disabled, 2)] {
        pool.assign("10.0.0.1:80", duty);
        assert_eq!(*picked().unwrap(), *format!("10.0.0.{expected}:80"), "{duty:?}");
    }
}
