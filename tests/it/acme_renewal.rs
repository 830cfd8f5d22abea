//! Certificates that are renewed: when the authority wants it, when it can, and what an
//! earlier order or account has left.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seawall::base::{Clock, ManualClock, SystemClock};

use super::acme::SITE;
use super::acme_faults::Place;
use super::support::acme_server::{AcmeServer, Fault, Options, Step};
use super::support::{eventually, within};

#[tokio::test]
async fn it_is_renewed_when_the_authority_says_so() {
    let server = AcmeServer::start(Options { renewal_info: true, ..Options::default() }).await;
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    let first = edge.certified().await;
    eventually("a suggestion", || edge.status().why_then.filter(|why| *why == "the authority suggests it"))
        .await;
    assert!(edge.status().next_renewal < first.not_after);
    edge.stop().await;

    // It is to be revoked: the window is now.
    let now = SystemClock.wall();
    server.set_renewal_window(now - Duration::from_secs(60), now);
    let edge = place.start().await;
    eventually("the next one", || (server.certificates().len() == 2).then_some(())).await;
    // The window of the new one is over, too: there is a pause all the same.
    eventually("the question about it", || (server.requests(Step::RenewalInfo) > 2).then_some(())).await;
    let (orders, certificates) = (server.orders(), server.certificates());
    assert_eq!(certificates.len(), 2);
    assert_eq!(orders[0].replaces, None);
    assert_eq!(orders[1].replaces.as_ref(), Some(&certificates[0].id));
    assert_eq!(edge.metrics.certificate_failures.value(), 0);
    edge.stop().await;
}

#[tokio::test]
async fn a_suggestion_without_a_time_to_ask_again_leaves_the_lifetime() {
    let server = AcmeServer::start(Options { renewal_info: true, ..Options::default() }).await;
    server.set_renewal_retry_after(None);
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    edge.certified().await;
    eventually("the question", || (server.requests(Step::RenewalInfo) > 0).then_some(())).await;
    assert_eq!(edge.status().why_then, Some("most of the lifetime is over then"));
    edge.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_served_until_there_is_another() {
    let server = AcmeServer::start(Options::default()).await;
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    let first = edge.certified().await;
    edge.stop().await;

    server.fail(Step::NewOrder, Fault::Status(503, None));
    let later: SystemTime = SystemClock.wall() + Duration::from_secs(100 * 24 * 3600);
    let edge = place.start_at(Arc::new(ManualClock::at(later))).await;
    within("a failure", async {
        while edge.metrics.certificate_failures.value() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(edge.status().not_after, first.not_after);
    edge.stop().await;
}

/// Another account knows nothing of the certificate that is to be replaced.
#[tokio::test]
async fn an_account_that_was_lost_costs_no_renewal() {
    let server = AcmeServer::start(Options { renewal_info: true, ..Options::default() }).await;
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    edge.certified().await;
    edge.stop().await;
    let acme = fs::read_dir(place.state.path().join("acme")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(acme.join("account.json")).unwrap();

    let edge = place.start().await;
    assert_eq!(edge.certs.renew(SITE), 1);
    eventually("another certificate", || (server.certificates().len() == 2).then_some(())).await;
    assert_eq!((server.accounts().len(), server.orders().last().unwrap().replaces.clone()), (2, None));
    edge.stop().await;
}

/// What was finished, and not cleared away, is not taken for a new one.
#[tokio::test]
async fn an_order_that_is_over_brings_no_old_certificate_back() {
    let server = AcmeServer::start(Options::default()).await;
    let place = Place::new(&[&server], "");
    server.fail(Step::Certificate, Fault::Hang);
    let edge = place.start().await;
    eventually("the last step", || (server.requests(Step::Certificate) > 0).then_some(())).await;
    let acme = fs::read_dir(place.state.path().join("acme")).unwrap().next().unwrap().unwrap().path();
    let left = acme.join(format!("{SITE}.order.json"));
    let order = fs::read(&left).unwrap();
    edge.stop().await;

    server.heal(Step::Certificate);
    let edge = place.start().await;
    edge.certified().await;
    // As if the process had ended just before.
    fs::write(&left, order).unwrap();
    assert_eq!(edge.certs.renew(SITE), 1);
    eventually("another certificate", || (server.certificates().len() == 2).then_some(())).await;
    assert_eq!(server.orders().len(), 2);
    edge.stop().await;
}
