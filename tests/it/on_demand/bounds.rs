//! How much a crowd of clients can set off, and what follows a failure.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{OnDemand, Up, after_days};
use crate::support::acme_server::{ChallengeType, Fault, Step, Validation};
use crate::support::eventually;

#[tokio::test]
async fn so_many_hosts_in_a_time() {
    let place = OnDemand::new().await;
    let up = place.start(", orders = \"2/1h\"").await;
    for (host, is_served) in
        [("one.allowed.test", true), ("two.allowed.test", true), ("three.allowed.test", false)]
    {
        assert_eq!(up.leaf(host).await.is_ok(), is_served, "{host}");
    }
    assert_eq!(place.server.orders().len(), 2);

    // In any such time, however often the config is read.
    place.server.fail(Step::NewOrder, Fault::Problem("rejectedIdentifier", 400, None));
    let up = place.reload(up, ", orders = \"3/1h\"").await;
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), place.server.certificates()[0].leaf);
    assert!(up.leaf("three.allowed.test").await.is_err() && up.leaf("four.allowed.test").await.is_err());
    assert_eq!(place.server.requests(Step::NewOrder), 3);
    up.edge.stop().await;
}

#[tokio::test]
async fn who_got_none_gets_none_by_a_reload() {
    let place = OnDemand::new().await;
    place.server.fail(Step::NewOrder, Fault::Problem("rejectedIdentifier", 400, Some("3600")));
    let up = place.start("").await;
    let hosts = ["failed.allowed.test", "forbidden.example.com"];
    let ask_for_both = async |up: &Up| {
        for host in hosts {
            assert!(up.leaf(host).await.is_err(), "{host}");
        }
        (place.gatekeeper.asked_in_all(), place.server.requests(Step::NewOrder))
    };
    assert_eq!(ask_for_both(&up).await, (2, 1));
    let up = place.reload(up, "").await;
    assert!(up.told(hosts[0]).is_some_and(|told| told.contains("rejectedIdentifier")));
    assert_eq!(ask_for_both(&up).await, (2, 1));
    // Not so where another one is to be asked, or otherwise.
    let up = place.reload(up, ", orders = \"10/1h\"").await;
    assert_eq!(ask_for_both(&up).await, (4, 2));
    up.edge.stop().await;
}

#[tokio::test]
async fn an_order_that_fails_is_told_and_made_again_later_and_later() {
    let place = OnDemand::new().await;
    place.server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    let clock = after_days(0);
    let up = place.start_at(&clock).await;
    let again = async |after: u64| {
        clock.advance(Duration::from_millis(after));
        assert!(up.leaf("one.allowed.test").await.is_err());
        (place.server.orders().len(), up.edge.metrics.certificate_failures.value())
    };
    assert_eq!((again(0).await, again(0).await), ((1, 1), (1, 1)));
    let told = up.told("one.allowed.test").unwrap();
    assert!(told.contains("one.allowed.test was not proven by http-01"), "{told}");
    // 200 ms, then 400 ms, or a quarter less.
    assert_eq!((again(201).await, again(250).await, again(151).await), ((2, 2), (2, 2), (3, 3)));

    // Nobody wants it any more.
    clock.advance(Duration::from_secs(602));
    assert_eq!(up.told("one.allowed.test"), None);
    clock.advance(Duration::from_secs(3600));
    assert!(up.leaf("one.allowed.test").await.is_err());
    place.server.set_validation(Validation::AcceptAll);
    assert_eq!(up.edge.certs.renew("one.allowed.test"), 1);
    eventually("a certificate", || up.told("one.allowed.test").filter(String::is_empty)).await;
    up.leaf("one.allowed.test").await.unwrap();
    up.edge.stop().await;
}

#[tokio::test]
async fn a_crowd_that_nobody_answers_for_takes_nothing_from_those_with_certificates() {
    let place = OnDemand::new().await;
    let first = place.stored("one.allowed.test", 90).await;
    let up = place.start("").await;
    let crowd = up.crowd((0..300).map(|number| format!("n{number}.slow.test")));
    eventually("some are turned away", || (up.turned_away() == 300 - 256).then_some(())).await;
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    assert!(place.gatekeeper.asked_in_all() <= 17);
    crowd.iter().for_each(JoinHandle::abort);
    up.edge.stop().await;
}

#[tokio::test]
async fn so_many_orders_are_under_way() {
    let place = OnDemand::new().await;
    place.server.fail(Step::NewOrder, Fault::Hang);
    let up = place.start(", orders = \"1000/1m\"").await;
    let crowd = up.crowd((0..70).map(|number| format!("n{number}.allowed.test")));
    eventually("some are turned away", || (up.turned_away() == 70 - 64).then_some(())).await;
    crowd.iter().for_each(JoinHandle::abort);
    up.edge.stop().await;
}
