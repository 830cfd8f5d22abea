//! What becomes of certificates that there are: served, renewed, given up.

use std::time::Duration;

use super::{OnDemand, after_days};
use crate::support::eventually;

#[tokio::test]
async fn without_an_answer_nothing_is_ordered_and_what_there_is_is_served() {
    let place = OnDemand::new().await;
    let up = place.start("").await;
    let first = up.leaf("one.allowed.test").await.unwrap();
    place.gatekeeper.says(500);
    assert!(up.leaf("two.allowed.test").await.is_err());
    assert_eq!(place.server.orders().len(), 1);
    up.edge.stop().await;

    let asked = place.gatekeeper.asked_in_all();
    let clock = after_days(0);
    let up = place.start_at(&clock).await;
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    assert_eq!((place.gatekeeper.asked_in_all(), place.server.orders().len()), (asked, 1));

    // It is not renewed as long as nobody allows it, and given up if somebody
    // forbids it.
    assert_eq!(up.edge.certs.renew("one.allowed.test"), 1);
    let told = eventually("a failure", || up.told("one.allowed.test").filter(|told| !told.is_empty())).await;
    assert!(told.starts_with("`acme.on_demand.ask` could not be asked"), "{told}");
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    place.gatekeeper.says(404);
    clock.advance(Duration::from_secs(1));
    eventually("it is given up", || up.told("one.allowed.test").is_none().then_some(())).await;
    assert_eq!(place.server.orders().len(), 1);

    // So it stays, whatever is stored, until somebody allows it again.
    let asked = place.gatekeeper.asked("one.allowed.test");
    assert!(up.leaf("one.allowed.test").await.is_err());
    assert_eq!(place.gatekeeper.asked("one.allowed.test"), asked);
    for (status, is_served) in [(404, false), (500, false), (200, true)] {
        place.gatekeeper.says(status);
        clock.advance(Duration::from_secs(301));
        assert_eq!(up.leaf("one.allowed.test").await.is_ok(), is_served, "{status}");
    }
    assert_eq!(place.gatekeeper.asked("one.allowed.test"), asked + 3);
    assert_eq!((up.leaf("one.allowed.test").await.unwrap(), place.server.orders().len()), (first, 1));
    up.edge.stop().await;
}

#[tokio::test]
async fn what_is_over_is_ordered_anew_and_what_is_due_is_served_and_renewed() {
    let place = OnDemand::new().await;
    for (host, is_over) in [("over.allowed.test", true), ("due.allowed.test", false)] {
        let first = place.stored(host, 30).await;
        let up = place.start_at(&after_days(if is_over { 31 } else { 25 })).await;
        let orders = place.server.orders().len();
        assert_eq!(up.leaf(host).await.unwrap() == first, !is_over, "{host}");
        eventually("another one", || (place.server.certificates().len() == orders + 1).then_some(())).await;
        up.serves(host, &place.server.certificates()[orders].leaf).await;
        up.edge.stop().await;
    }
}

#[tokio::test]
async fn what_is_due_is_not_served_to_whom_it_is_forbidden() {
    let place = OnDemand::new().await;
    let first = place.stored("one.allowed.test", 30).await;
    let clock = after_days(25);
    let up = place.start_at(&clock).await;
    place.gatekeeper.says(404);
    assert!(up.leaf("one.allowed.test").await.is_err());
    place.gatekeeper.says(500);
    assert!(up.leaf("one.allowed.test").await.is_err());
    up.edge.stop().await;

    // Without an answer what there is is better than nothing.
    let up = place.start_at(&clock).await;
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    up.edge.stop().await;
}

#[tokio::test]
async fn what_is_used_is_renewed_and_what_is_not_is_let_go() {
    let place = OnDemand::new().await;
    place.server.set_lifetime(-time::Duration::SECOND, time::Duration::seconds(5));
    let up = place.start("").await;
    up.leaf("one.allowed.test").await.unwrap();
    eventually("it is let go", || up.told("one.allowed.test").is_none().then_some(())).await;
    assert_eq!((place.server.orders().len(), place.gatekeeper.asked("one.allowed.test")), (2, 2));
    up.edge.stop().await;
}
