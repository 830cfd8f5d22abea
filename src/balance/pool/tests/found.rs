//! Servers that are found under a name, and change.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::select;
use proptest::prelude::*;

use super::*;
use crate::balance::discovery::LookUpError;
use crate::config::model::{Location, OriginProtocol};
use crate::resolve::{Answer, NotFound};
use crate::upstream::Endpoint;

/// A pool of one server at an address, and a name, whose place is 1.
pub(super) fn named(config: PoolConfig) -> PoolConfig {
    let mut config = PoolConfig { balance: Balance::RoundRobin, ..config };
    let location = Location::Host("app.internal".to_owned(), 80);
    config.servers.push(ServerConfig { label: "app".into(), location, ..config.servers[0].clone() });
    config
}

pub(super) fn at(address: SocketAddr) -> FoundServer {
    let host = "app.internal".to_owned();
    let endpoint = Endpoint::Tcp { host, address, other: None };
    FoundServer {
        entry: 1,
        label: address.to_string().into(),
        endpoint,
        tls: false,
        protocol: OriginProtocol::Http1,
        weight: 1,
        backup: false,
    }
}

/// The name in `pool` stands for these from now on.
pub(super) fn found(pool: &Arc<Pool>, servers: Vec<FoundServer>) {
    pool.found(1, servers, Answer { hosts: Vec::new(), ttl: Duration::MAX });
}

pub(super) fn number(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 80).into()
}

fn labels(pool: &Pool) -> Vec<Arc<str>> {
    pool.members().iter().map(|member| Arc::clone(&member.label)).collect()
}

fn no_name() -> LookUpError {
    NotFound::NoName.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Who stays is who was there before, with all that is known of it.
    #[test]
    fn whoever_is_found_again_stays_the_same(
        rounds in prop::collection::vec(prop::collection::btree_set(2..12u8, 1..6), 1..6),
    ) {
        let pool = pool(named(test_origin::pool(&[number(1)])));
        let given = member(&pool, 0);
        let mut before = pool.members();
        for round in rounds {
            found(&pool, round.iter().map(|last| at(number(*last))).collect());
            let now = pool.members();
            prop_assert!(Arc::ptr_eq(&given, now.get(0).unwrap()));
            let expected: Vec<_> = [1].into_iter().chain(round).map(|last| number(last).to_string()).collect();
            prop_assert_eq!(labels(&pool).iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
            for member in now.iter() {
                prop_assert!(!member.departure().is_cancelled());
                let known = before.iter().find(|known| known.label == member.label);
                prop_assert!(known.is_none_or(|known| Arc::ptr_eq(known, member)));
            }
            let is_gone = |member: &&Arc<Member>| !now.iter().any(|other| Arc::ptr_eq(other, member));
            prop_assert!(before.iter().filter(is_gone).all(|member| member.departure().is_cancelled()));
            before = now;
        }
    }
}

#[tokio::test]
async fn shares_change_and_nothing_else_does() {
    let pool = pool(named(test_origin::pool(&[number(1)])));
    found(&pool, vec![at(number(2))]);
    let list = pool.members();
    found(&pool, vec![FoundServer { weight: 7, backup: true, ..at(number(2)) }]);
    assert!(Arc::ptr_eq(&list, &pool.members()), "turns go on");
    let status = pool.snapshot().servers.remove(1);
    assert_eq!((status.weight, status.backup), (7, true));
}

#[tokio::test]
async fn who_leaves_ends_what_it_has_and_gets_nothing_new() {
    let open = Arc::new(AtomicUsize::new(0));
    let (gate, counted) = (Arc::new(Semaphore::new(0)), Arc::clone(&open));
    let release = Arc::clone(&gate);
    let origin = TestOrigin::start(move |_, mut stream| {
        let (gate, open) = (Arc::clone(&gate), Arc::clone(&counted));
        async move {
            open.fetch_add(1, SeqCst);
            while read_request(&mut stream).await.is_some() {
                gate.acquire().await.unwrap().forget();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let mut config = named(test_origin::pool(&[nobody()]));
    config.servers[0].backup = true;
    let pool = pool(config);
    found(&pool, vec![at(origin.address)]);
    let whole = async || content(get(&pool).await.unwrap()).await.unwrap();
    let (mut one, mut other) = (Box::pin(whole()), Box::pin(whole()));
    until(|| {
        assert!(one.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        open.load(SeqCst) == 2
    })
    .await;
    // The connection of one is idle then, that of the other in use.
    release.add_permits(1);
    let (answered, other) = select(one, other).await.into_inner();
    assert_eq!(answered, "hi");
    found(&pool, vec![at(number(9))]);
    until(|| open.load(SeqCst) == 1).await;
    release.add_permits(1);
    assert_eq!(other.await, "hi");
    until(|| open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn bounds_are_those_of_each_server() {
    let origins = [TestOrigin::endless().await, TestOrigin::endless().await];
    let mut config = named(test_origin::pool(&[nobody()]));
    config.servers[0].backup = true;
    (config.max_connections, config.max_requests, config.queue.max) = (1, 1, 0);
    let pool = pool(config);
    found(&pool, origins.iter().map(|origin| at(origin.address)).collect());
    let under_way = [get_endless(&pool).await.unwrap(), get_endless(&pool).await.unwrap()];
    assert_eq!(origins.each_ref().map(TestOrigin::accepted), [1, 1]);
    assert_eq!(get(&pool).await.unwrap_err().kind, ProxyErrorType::ConnectionLimitReached);
    drop(under_way);
}

#[tokio::test]
async fn who_was_asked_in_vain_is_followed_by_who_came_in_its_place() {
    let gate = Arc::new(Semaphore::new(0));
    let release = Arc::clone(&gate);
    let old = TestOrigin::start(move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            read_request(&mut stream).await;
            gate.acquire().await.unwrap().forget();
        }
    })
    .await;
    let new = TestOrigin::always(OK).await;
    let mut config = named(test_origin::pool(&[nobody()]));
    config.servers[0].backup = true;
    let pool = pool(config);
    found(&pool, vec![at(old.address)]);
    let mut waiting = Box::pin(get(&pool));
    until(|| waiting.as_mut().now_or_never().is_some() || old.accepted() == 1).await;
    found(&pool, vec![at(new.address)]);
    release.add_permits(1);
    let response = waiting.await.unwrap();
    assert_eq!(response.facts.origin_server.as_deref(), Some(&*new.address.to_string()));
    assert_eq!(response.facts.attempts, 2);
}

#[tokio::test]
async fn newcomers_start_slowly_where_there_were_others() {
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    let slow_start = Duration::from_secs(30);
    let config = PoolConfig { slow_start, ..named(test_origin::pool(&[number(1)])) };
    let pool = pool_with(config, Arc::clone(&clock) as Arc<dyn Clock>);
    let warmth = |index| member(&pool, index).candidate(0, pool.now()).warmth;
    found(&pool, vec![at(number(2))]);
    assert_eq!(warmth(1), 100, "nobody was asked before");
    found(&pool, vec![at(number(2)), at(number(3))]);
    assert_eq!([1, 2].map(warmth), [100, 10]);
    clock.advance(slow_start);
    assert_eq!(warmth(2), 100);
}

#[tokio::test]
async fn who_is_known_to_be_up_comes_before_who_was_not_checked() {
    let config = PoolConfig { health: Some(health(None)), ..named(test_origin::pool(&[number(1)])) };
    let pool = pool(config);
    found(&pool, vec![at(number(2)), at(number(3))]);
    let picked = || {
        let wish = pool.wish(&request(Method::GET, "/"));
        pool.pick(&pool.members(), wish, &[], true, pool.now())
            .map(|it| Arc::clone(&it.member.label))
            .unwrap()
    };
    let up = number(2).to_string();
    let all: HashSet<_> = std::iter::repeat_with(picked).take(9).collect();
    assert_eq!(all.len(), 3, "somebody has to be first");
    pool.observe_health(&member(&pool, 1), Outcome::Passed);
    assert!(std::iter::repeat_with(picked).take(9).all(|label| *label == *up));
    pool.observe_health(&member(&pool, 1), Outcome::Failed);
    pool.observe_health(&member(&pool, 1), Outcome::Failed);
    assert_ne!(*picked(), *up);
}

#[tokio::test]
async fn checks_come_and_go_with_their_servers() {
    let (one, other) = (TestOrigin::always(OK).await, TestOrigin::always(OK).await);
    let mut config = named(test_origin::pool(&[nobody()]));
    config.health = Some(health(Some("/")));
    let pool = pool(config);
    found(&pool, vec![at(one.address)]);
    until(|| pool.snapshot().servers[1].state == ServerState::Up).await;
    let running = pool.tasks.running();
    found(&pool, vec![at(other.address)]);
    until(|| pool.snapshot().servers[1].state == ServerState::Up).await;
    until(|| pool.tasks.running() <= running).await;
    let checked = one.accepted();
    let again = other.accepted() + 3;
    until(|| other.accepted() >= again).await;
    assert!(one.accepted() <= checked + 1, "{} after {checked}", one.accepted());
}

#[tokio::test]
async fn what_is_wanted_of_a_name_is_wanted_of_whoever_it_leads_to() {
    let pool = pool(named(test_origin::pool(&[number(1)])));
    let duties = || pool.members().iter().map(|member| member.duty.get()).collect::<Vec<_>>();
    assert_eq!(pool.assign("app", Duty::Draining).as_deref(), Some("app"), "though nobody was found yet");
    found(&pool, vec![at(number(2)), at(number(3))]);
    assert_eq!(duties(), [Duty::Enabled, Duty::Draining, Duty::Draining]);
    assert_eq!(pool.assign("http://10.0.0.3:80", Duty::Disabled).as_deref(), Some("10.0.0.3:80"));
    found(&pool, vec![at(number(2))]);
    found(&pool, vec![at(number(2)), at(number(3)), at(number(4))]);
    assert_eq!(duties()[1..], [Duty::Draining, Duty::Disabled, Duty::Draining], "also after it was away");
    pool.assign("http://app.internal:80", Duty::Enabled);
    assert!(duties().into_iter().all(|duty| duty == Duty::Enabled));
}

#[tokio::test]
async fn without_an_answer_requests_wait_for_one_and_are_told_of_a_failure() {
    let mut config = named(test_origin::pool(&[nobody()]));
    config.servers[0].location = Location::Host("other.internal".to_owned(), 80);
    let origin = TestOrigin::always(OK).await;
    let pool = pool(config);
    let state = || pool.snapshot().servers.remove(1);
    assert_eq!((state().state, state().last_error), (ServerState::Unresolved, None));
    let mut waiting = Box::pin(get(&pool));
    pool.lost_sight(0, &no_name());
    assert!(waiting.as_mut().now_or_never().is_none(), "the other name may yet be found");
    pool.lost_sight(1, &no_name());
    let error = waiting.await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (ProxyErrorType::DnsError, 0));
    assert_eq!(state().last_error.as_deref(), Some("DNS has no such name"));
    found(&pool, vec![at(origin.address)]);
    asked(&pool).await;
    assert_eq!(state().last_error, None);
    pool.lost_sight(1, &LookUpError::TimedOut);
    asked(&pool).await;
    assert_eq!(state().last_error.as_deref(), Some("last look-up: the DNS servers do not answer"));
}

#[tokio::test]
async fn a_wait_for_an_answer_ends() {
    let mut config = named(test_origin::pool(&[nobody()]));
    config.servers.remove(0);
    config.timeouts.connect = Duration::from_millis(10);
    assert_eq!(get(&pool(config)).await.unwrap_err().kind, ProxyErrorType::DnsTimeout);
}
