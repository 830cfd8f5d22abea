//! Certificates from an authority that fails or refuses, and while the process is killed:
//! what a real ACME server does not do on demand.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use seawall::base::{Clock, ManualClock, SystemClock};
use seawall::config::Config;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::acme::{ALIAS, Edge, SITE, config};
use super::support::acme_server::{
    AcmeServer, ChallengeType, Fault, Options, Status, Step, TxtRecords, Validation,
};
use super::support::dns::DnsServer;
use super::support::eventually;
use super::support::named::SECRET;
use super::support::ports::free_address;

/// The steps of an order once there is one.
const STEPS: [Step; 5] =
    [Step::Authorization, Step::Challenge, Step::Order, Step::Finalize, Step::Certificate];

/// A state directory, and the servers that are asked in turn.
pub(super) struct Place {
    pub(super) state: TempDir,
    root: PathBuf,
    acme: String,
}

impl Place {
    pub(super) fn new(servers: &[&AcmeServer], further: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().join("roots");
        let roots: String =
            servers.iter().map(|server| fs::read_to_string(server.root_file()).unwrap()).collect();
        fs::write(&root, roots).unwrap();
        let directories: Vec<_> = servers.iter().map(|server| server.directory()).collect();
        Self { state, root, acme: format!("directory = {directories:?}\n{further}") }
    }

    pub(super) async fn start(&self) -> Edge {
        self.start_at(Arc::new(SystemClock)).await
    }

    pub(super) async fn start_at(&self, clock: Arc<dyn Clock>) -> Edge {
        Edge::run(&self.config("http-01"), clock).await
    }

    fn config(&self, challenge: &str) -> Config {
        config(self.state.path(), &self.root, &[challenge], &self.acme, [SITE, ALIAS])
    }
}

pub(super) async fn failure(edge: &Edge) -> String {
    eventually("a failure", || edge.status().last_error).await
}

#[tokio::test]
async fn a_step_that_fails_for_a_moment_is_taken_again() {
    let faults = || [Fault::Status(503, None), Fault::Close, Fault::Problem("badNonce", 400, None)];
    let orders = STEPS.iter().flat_map(|step| faults().map(|fault| (*step, fault)));
    join_all(orders.map(async |(step, fault)| {
        // The proofs have to stand while a step is taken again.
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, txt) = (http.local_addr().unwrap(), TxtRecords::default());
        let validation = Validation::Real { http: address, tls: address, txt };
        let server = AcmeServer::start(Options { validation, ..Options::default() }).await;
        // instant-acme asks three times where a nonce is rejected.
        server.fail_next(step, if matches!(fault, Fault::Problem(..)) { 3 } else { 1 }, fault);
        let place = Place::new(&[&server], "");
        let edge = place.start().await;
        edge.serve_http(http);
        let status = edge.certified().await;
        assert_eq!((status.last_error, edge.metrics.certificate_failures.value()), (None, 0), "{step:?}");
        assert_eq!((server.orders().len(), server.certificates().len()), (1, 1), "{step:?}");
        edge.stop().await;
    }))
    .await;
}

/// The process ends while the server is at each step of the order.
#[tokio::test]
async fn an_order_is_taken_up_where_a_crash_left_it() {
    join_all(STEPS.iter().map(async |step| {
        let server = AcmeServer::start(Options::default()).await;
        server.fail(*step, Fault::Hang);
        let place = Place::new(&[&server], "");
        let edge = place.start().await;
        eventually("the step", || (server.requests(*step) > 0).then_some(())).await;
        edge.stop().await;
        assert_eq!(server.certificates().len(), usize::from(matches!(step, Step::Certificate)), "{step:?}");

        server.heal(*step);
        let edge = place.start().await;
        edge.certified().await;
        let counted = (server.accounts().len(), server.orders().len(), server.certificates().len());
        assert_eq!(counted, (1, 1, 1), "{step:?}");
        assert!(matches!(server.orders()[0].status, Status::Valid));
        edge.stop().await;
    }))
    .await;
}

#[tokio::test]
async fn an_order_that_is_never_decided_is_given_up_after_an_hour() {
    let server = AcmeServer::start(Options::default()).await;
    // No time is so late.
    server.leave_undecided(Some("18446744073709551615"));
    let clock = Arc::new(ManualClock::at(SystemClock.wall()));
    let place = Place::new(&[&server], "");
    let edge = place.start_at(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let failed = async |count: u64| {
        let failures = || edge.metrics.certificate_failures.value();
        eventually("a failure", || (failures() == count).then_some(())).await;
    };
    failed(1).await;
    assert!(edge.status().last_error.unwrap().contains("timed out waiting for an order update"));
    for count in [2, 3] {
        assert_eq!(edge.certs.renew(SITE), 1);
        failed(count).await;
        assert_eq!(server.orders().len(), 1);
    }
    // The next try ends like those, and finds that it is old.
    clock.advance(Duration::from_secs(3600));
    failed(4).await;
    assert_eq!(server.orders().len(), 1);
    server.leave_undecided(None);
    assert_eq!(edge.certs.renew(SITE), 1);
    edge.certified().await;
    assert_eq!(server.orders().len(), 2);
    edge.stop().await;
}

/// The authority looks for the proof while no order is under way here.
#[tokio::test]
async fn a_proof_that_an_authority_looks_for_stands_over_a_reload() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let [http, tls] = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await]
            .map(Result::unwrap);
        let (http_at, tls_at) = (http.local_addr().unwrap(), tls.local_addr().unwrap());
        let validation = Validation::Real { http: http_at, tls: tls_at, txt: TxtRecords::default() };
        let server = AcmeServer::start(Options { validation, ..Options::default() }).await;
        let place = Place::new(&[&server], "");
        let config = place.config(challenge);
        let edge = Edge::run(&config, Arc::new(SystemClock)).await;
        eventually("both names are claimed", || (server.requests(Step::Challenge) == 2).then_some(())).await;
        let edge = edge.reload(&config).await;
        edge.serve_http(http);
        edge.serve_tls(tls);
        edge.certified().await;
        assert_eq!((server.orders().len(), server.certificates().len()), (1, 1), "{challenge}");
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_record_that_an_authority_looks_for_stands_over_a_reload() {
    let server = AcmeServer::start(Options::default()).await;
    server.fail(Step::Challenge, Fault::Hang);
    let directory = tempfile::tempdir().unwrap();
    let (hook, log) = (directory.path().join("hook"), directory.path().join("log"));
    fs::write(&hook, format!("#!/bin/sh\necho $1 >> {}\n", log.display())).unwrap();
    fs::set_permissions(&hook, Permissions::from_mode(0o700)).unwrap();
    let place = Place::new(&[&server], &format!("dns = {{ exec = {hook:?}, wait = \"0s\" }}"));
    let config = place.config("dns-01");
    let edge = Edge::run(&config, Arc::new(SystemClock)).await;
    eventually("a claim", || (server.requests(Step::Challenge) > 0).then_some(())).await;
    let edge = edge.reload(&config).await;
    server.heal(Step::Challenge);
    edge.certified().await;
    let done = || fs::read_to_string(&log).unwrap();
    assert_eq!(done(), "present\n".repeat(4), "two records, by two orders one after the other");
    edge.stop().await;
    assert_eq!(done().matches("cleanup").count(), 2);
    assert_eq!(server.orders().len(), 1);
}

#[tokio::test]
async fn another_authority_issues_where_one_cannot() {
    for (step, fault) in [
        (Step::NewOrder, Fault::Problem("rateLimited", 429, Some("3600"))),
        (Step::Directory, Fault::Garbage),
        (Step::Directory, Fault::Status(503, None)),
        (Step::NewAccount, Fault::Close),
    ] {
        let (one, other) =
            (AcmeServer::start(Options::default()).await, AcmeServer::start(Options::default()).await);
        one.fail(step, fault);
        let place = Place::new(&[&one, &other], "");
        let edge = place.start().await;
        let status = edge.certified().await;
        assert_eq!((status.authority, status.last_error), (Some(other.directory()), None), "{step:?}");
        assert_eq!((one.certificates().len(), other.certificates().len()), (0, 1), "{step:?}");

        // Who asked to be left alone is, for as long as that was said.
        let asked = one.requests(Step::NewOrder);
        assert_eq!(edge.certs.renew(SITE), 1);
        eventually("another one", || (other.certificates().len() == 2).then_some(())).await;
        assert_eq!(one.requests(Step::NewOrder), asked, "{step:?}");

        let in_use = || (edge.metrics.certificates_issued.value() == 2).then_some(());
        eventually("it is in use", in_use).await;
        let edge = edge.reload(&place.config("http-01")).await;
        assert_eq!(edge.certs.renew(SITE), 1);
        eventually("a third one", || (other.certificates().len() == 3).then_some(())).await;
        assert_eq!(one.requests(Step::NewOrder), asked, "{step:?}");
        edge.stop().await;
    }
}

/// Whoever sets the records.
#[tokio::test]
async fn another_challenge_is_tried_where_dns_fails() {
    let (dead, dns) = (free_address(), DnsServer::start().await);
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("tsig");
    fs::write(&secret, SECRET).unwrap();
    let keys = format!("zone = \"example.test\", key = \"seawall\", secret = {{ file = {secret:?} }}");
    for by in [
        format!("webhook = \"http://{dead}/\""),
        format!("provider = \"rfc2136\", server = \"{dead}\", {keys}"),
    ] {
        let server = AcmeServer::start(Options::default()).await;
        let place = Place::new(&[&server], &format!("resolver = \"{}\"\ndns = {{ {by} }}", dns.address));
        let both = ["dns-01", "http-01"];
        let config = config(place.state.path(), &place.root, &both, &place.acme, [SITE, ALIAS]);
        let edge = Edge::run(&config, Arc::new(SystemClock)).await;
        let status = edge.certified().await;
        assert_eq!((status.last_error, edge.metrics.certificate_failures.value()), (None, 0), "{by}");
        assert_eq!(server.orders().len(), 1, "{by}");
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_name_that_one_authority_refuses_is_asked_of_no_other() {
    let (one, other) =
        (AcmeServer::start(Options::default()).await, AcmeServer::start(Options::default()).await);
    one.fail(Step::NewOrder, Fault::Problem("rejectedIdentifier", 400, None));
    let place = Place::new(&[&one, &other], "");
    let edge = place.start().await;
    let told = failure(&edge).await;
    assert!(told.contains("rejectedIdentifier"), "{told}");
    assert!(edge.status().what_to_do.unwrap().contains("does not certify the name"));
    assert_eq!(other.requests(Step::Directory), 0);
    edge.stop().await;
}

#[tokio::test]
async fn a_limit_on_failures_spares_the_authority() {
    let server = AcmeServer::start(Options::default()).await;
    server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    eventually("the limit", || edge.status().last_error.filter(|told| told.contains("five orders for")))
        .await;
    assert_eq!(server.orders().len(), 5);

    let edge = edge.reload(&place.config("http-01")).await;
    edge.certs.renew(SITE);
    eventually("the limit", || edge.status().last_error.filter(|told| told.contains("five orders for")))
        .await;
    assert_eq!(server.orders().len(), 5);
    edge.stop().await;
}

#[tokio::test]
async fn who_has_failed_waits_over_a_reload_unless_it_is_ordered_otherwise() {
    let server = AcmeServer::start(Options::default()).await;
    server.fail(Step::NewOrder, Fault::Problem("rejectedIdentifier", 400, Some("3600")));
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    failure(&edge).await;
    let (before, asked) = (edge.status(), server.requests(Step::NewOrder));
    let edge = edge.reload(&place.config("http-01")).await;
    let after = edge.status();
    assert_eq!((after.last_error, after.next_renewal), (before.last_error, before.next_renewal));

    let edge = edge.reload(&place.config("tls-alpn-01")).await;
    failure(&edge).await;
    assert_eq!(server.requests(Step::NewOrder), asked + 1, "only the second reload had it asked");
    edge.stop().await;
}

/// What instant-acme does not foresee.
#[tokio::test]
async fn an_answer_that_makes_a_library_panic_costs_one_try() {
    const NOWHERE: &str =
        r#"{"newNonce": "", "newAccount": "https://ca.test/", "newOrder": "https://ca.test/"}"#;
    let server = AcmeServer::start(Options { renewal_info: true, ..Options::default() }).await;
    server.fail(Step::Directory, Fault::Json(NOWHERE));
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    let told = failure(&edge).await;
    assert!(told.starts_with("it panicked: "), "{told}");
    // No time is so late.
    server.set_renewal_retry_after(Some("18446744073709551615"));
    server.heal(Step::Directory);
    assert_eq!(edge.certified().await.last_error, None);
    eventually("a suggestion", || edge.status().why_then.filter(|why| *why == "the authority suggests it"))
        .await;
    edge.stop().await;

    server.fail(Step::Directory, Fault::Json(NOWHERE));
    let other = AcmeServer::start(Options::default()).await;
    let place = Place::new(&[&server, &other], "");
    let edge = place.start().await;
    assert_eq!(edge.certified().await.authority, Some(other.directory()));
    edge.stop().await;
}

#[tokio::test]
async fn a_profile_is_one_that_the_authority_has() {
    let options = || Options { profiles: vec!["classic", "shortlived"], ..Options::default() };
    let server = AcmeServer::start(options()).await;
    let edge = Place::new(&[&server], "profile = \"shortlived\"").start().await;
    edge.certified().await;
    assert_eq!(server.orders()[0].profile.as_deref(), Some("shortlived"));
    edge.stop().await;

    let place = Place::new(&[&server], "profile = \"tlsserver\"");
    let edge = place.start().await;
    let told = failure(&edge).await;
    assert_eq!(told, "the ACME server has no profile \"tlsserver\"; it has classic, shortlived");
    assert_eq!(server.orders().len(), 1);
    edge.stop().await;
}

/// A stand-in without the profile gives what it has, and its orders are taken up
/// as any others.
#[tokio::test]
async fn a_stand_in_needs_no_profile() {
    let (one, other) =
        (AcmeServer::start(Options::default()).await, AcmeServer::start(Options::default()).await);
    one.fail(Step::Directory, Fault::Status(503, None));
    other.fail(Step::Certificate, Fault::Hang);
    let place = Place::new(&[&one, &other], "profile = \"shortlived\"");
    let edge = place.start().await;
    eventually("the last step", || (other.requests(Step::Certificate) > 0).then_some(())).await;
    edge.stop().await;
    other.heal(Step::Certificate);
    let edge = place.start().await;
    edge.certified().await;
    assert_eq!((other.orders().len(), other.orders()[0].profile.clone()), (1, None));
    edge.stop().await;
}

#[tokio::test]
async fn a_server_that_decides_at_once_is_understood() {
    let server = AcmeServer::start(Options { validates_at_once: true, ..Options::default() }).await;
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    assert_eq!(edge.certified().await.last_error, None);
    assert_eq!((server.orders().len(), edge.metrics.certificate_failures.value()), (1, 0));

    server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    assert_eq!(edge.certs.renew(SITE), 1);
    let told = failure(&edge).await;
    assert!(told.contains("was not proven by http-01: API error: the test rejects it"), "{told}");
    edge.stop().await;
}

/// As those of step-ca do.
#[tokio::test]
async fn a_name_that_is_left_open_is_proven_by_another_challenge() {
    let options = Options { validates_at_once: true, leaves_open: true, ..Options::default() };
    let server = AcmeServer::start(options).await;
    server.set_validation(Validation::RejectAll(vec![ChallengeType::TlsAlpn01]));
    let place = Place::new(&[&server], "");
    let both = ["tls-alpn-01", "http-01"];
    let config = config(place.state.path(), &place.root, &both, &place.acme, [SITE, ALIAS]);
    let edge = Edge::run(&config, Arc::new(SystemClock)).await;
    assert_eq!(edge.certified().await.last_error, None);
    assert_eq!((server.orders().len(), edge.metrics.certificate_failures.value()), (1, 0));

    // The next try goes on with the same order.
    server.set_validation(Validation::RejectAll(vec![ChallengeType::TlsAlpn01, ChallengeType::Http01]));
    assert_eq!(edge.certs.renew(SITE), 1);
    let told = failure(&edge).await;
    assert!(told.contains("was not proven by http-01: API error: the test rejects it"), "{told}");
    assert_eq!(server.orders().len(), 2);
    server.set_validation(Validation::AcceptAll);
    eventually("another one", || (server.certificates().len() == 2).then_some(())).await;
    assert_eq!(server.orders().len(), 2);
    edge.stop().await;
}

#[tokio::test]
async fn what_is_proven_already_is_not_proven_again() {
    let server = AcmeServer::start(Options::default()).await;
    let place = Place::new(&[&server], "");
    let edge = place.start().await;
    edge.certified().await;
    server.reuse_authorizations(true);
    let claimed = server.requests(Step::Challenge);
    assert_eq!(edge.certs.renew(SITE), 1);
    eventually("another one", || (server.certificates().len() == 2).then_some(())).await;
    assert_eq!(server.requests(Step::Challenge), claimed);
    edge.stop().await;
}

/// RFC 8738
#[tokio::test]
async fn addresses_are_certified() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let validation = Validation::Real {
            http: http.local_addr().unwrap(),
            tls: tls.local_addr().unwrap(),
            txt: TxtRecords::default(),
        };
        let server = AcmeServer::start(Options { validation, ..Options::default() }).await;
        let place = Place::new(&[&server], "");
        let names = ["192.0.2.1", "[2001:db8::1]"];
        let config = config(place.state.path(), &place.root, &[challenge], &place.acme, names);
        let edge = Edge::run(&config, Arc::new(SystemClock)).await;
        edge.serve_http(http);
        edge.serve_tls(tls);
        let status = edge.certified().await;
        assert_eq!(
            (status.last_error, &status.names[..]),
            (None, &["192.0.2.1", "2001:db8::1"].map(str::to_owned)[..])
        );
        edge.stop().await;
    }
}
