//! The clock of the machine is put forward by more than a year, and back by a day,
//! while the program runs: nobody is turned away, and nothing is ordered twice.

use futures_util::future::join_all;
use rustls_pki_types::CertificateDer;

use super::support::acme_server::{AcmeServer, Fault, Options, Step};
use super::support::client::{Alpn, Client, shown};
use super::support::clock::{Monotonic, MovableClock};
use super::support::origin::{FixedOrigin, Origin, ok};
use super::support::process::{Seawall, words};
use super::support::raw::RawClient;
use super::support::within;

const SITE: &str = "shop.example.test";
const FORWARD: i64 = 400;
const BACK: i64 = -1;

/// So many clients come at a time.
const CLIENTS: usize = 16;

const ISSUED: &str = "seawall_certificates_issued_total";
const FAILED: &str = "seawall_certificate_failures_total";

async fn origin() -> FixedOrigin {
    Origin::answering(ok("", "hello")).await
}

fn site(origin: &FixedOrigin, further: &str) -> String {
    let address = origin.address;
    format!("[site.\"{SITE}\"]\norigins = [\"{address}\"]\nhealth = false\nredirect_http = false\n{further}")
}

fn ordered_from(server: &AcmeServer, origin: &FixedOrigin) -> String {
    let (directory, root) = (server.directory(), server.root_file());
    site(origin, &format!("[acme]\ndirectory = [{directory:?}]\nca = {root:?}\npreflight = false\n"))
}

/// The certificate that all of many clients are shown.
async fn shown_to_all(seawall: &Seawall) -> CertificateDer<'static> {
    let mut shown = join_all((0..CLIENTS).map(|_| shown(seawall.https, SITE))).await;
    shown.dedup();
    let [certificate] = shown.try_into().expect("one certificate for all");
    certificate
}

/// Waits for another certificate than `before`. Whoever asks wakes those who look
/// after certificates, so that they see what became of the monotonic clock.
async fn another(seawall: &Seawall, before: &CertificateDer<'_>) -> CertificateDer<'static> {
    within("another certificate", async {
        loop {
            let certificate = shown(seawall.https, SITE).await;
            if certificate != *before {
                return certificate;
            }
            seawall.metric(ISSUED).await;
        }
    })
    .await
}

async fn assert_served(seawall: &Seawall) {
    let res = RawClient::ask(seawall.http, format!("GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n")).await;
    assert_eq!((res.status(), &res.content[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn a_year_ahead_what_is_over_is_shown_until_its_one_successor_is_there() {
    let (server, origin, clock) =
        (AcmeServer::start(Options::default()).await, origin().await, MovableClock::new());
    let place = clock.place(Monotonic::Jumps);
    place.configure(&ordered_from(&server, &origin));
    let seawall = place.run().await;
    seawall.metric_is(ISSUED, 1).await;
    let first = shown_to_all(&seawall).await;
    assert_eq!(first, server.certificates()[0].leaf);

    server.set_lifetime(time::Duration::hours(-1), time::Duration::days(FORWARD + 90));
    server.fail(Step::NewOrder, Fault::Problem("serverInternal", 500, None));
    clock.put(FORWARD);
    seawall.metric_is(FAILED, 1).await;
    assert_eq!(shown_to_all(&seawall).await, first, "it has expired");
    assert_served(&seawall).await;
    assert_eq!((seawall.metric(FAILED).await, server.orders().len()), (Some(1), 1));

    server.heal(Step::NewOrder);
    let told = words(&seawall.ask("certs", &["renew", SITE]).await);
    let second = another(&seawall, &first).await;
    assert_eq!(second, server.certificates()[1].leaf, "{told}");
    assert_eq!(shown_to_all(&seawall).await, second);
    assert_eq!((seawall.metric(ISSUED).await, server.orders().len()), (Some(2), 2));
}

/// It is the clock that is wrong: by that of the authority all is well.
#[tokio::test]
async fn a_day_back_orders_nothing() {
    let (server, origin, clock) =
        (AcmeServer::start(Options::default()).await, origin().await, MovableClock::new());
    let place = clock.place(Monotonic::Stays);
    place.configure(&ordered_from(&server, &origin));
    let mut seawall = place.run().await;
    seawall.metric_is(ISSUED, 1).await;
    let first = shown_to_all(&seawall).await;

    clock.put(BACK);
    assert_eq!(shown_to_all(&seawall).await, first);
    seawall.crash_and_restart().await;
    assert_eq!(shown_to_all(&seawall).await, first);
    assert_served(&seawall).await;
    assert_eq!((seawall.metric(FAILED).await, server.orders().len()), (Some(0), 1));
}

#[tokio::test]
async fn the_local_ca_signs_once_for_a_year_ahead_and_once_more_for_the_way_back() {
    let (origin, clock) = (origin().await, MovableClock::new());
    let place = clock.place(Monotonic::Jumps);
    place.configure(&site(&origin, "tls = \"internal\"\n"));
    let mut seawall = place.run().await;
    let first = shown_to_all(&seawall).await;

    clock.put(FORWARD);
    let second = another(&seawall, &first).await;
    assert_eq!(shown_to_all(&seawall).await, second);
    assert_served(&seawall).await;
    assert_eq!(seawall.metric(ISSUED).await, Some(1));

    clock.put(0);
    seawall.crash_and_restart().await;
    // One who believes the CA and goes by the right time.
    let mut client = Client::connect(seawall.https, &seawall.ca(), SITE, Alpn::H2).await;
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(shown_to_all(&seawall).await, client.certificate);
    assert_ne!(client.certificate, second);
}
