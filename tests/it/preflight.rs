//! What is looked up before an order: CAA records that forbid the authority end
//! it before it is made, anything else is a warning only.

use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::acme::{ALIAS, SITE};
use super::acme_faults::{Place, failure};
use super::support::acme_server::{AcmeServer, ChallengeType, Fault, Options, Step, Validation};
use super::support::dns::{DnsServer, Reply};
use super::support::eventually;

/// Where the CAA records of both names are.
const DOMAIN: &str = "example.test";

async fn authority(identity: &'static str) -> AcmeServer {
    AcmeServer::start(Options { caa_identities: vec![identity], ..Options::default() }).await
}

/// Both names lead to this machine.
async fn dns() -> DnsServer {
    let dns = DnsServer::start().await;
    for name in [SITE, ALIAS] {
        dns.set_addresses(name, &["127.0.0.1"]);
    }
    dns
}

fn place(servers: &[&AcmeServer], dns: &DnsServer) -> Place {
    Place::new(servers, &format!("preflight = true\nresolver = \"{}\"", dns.address))
}

#[tokio::test]
async fn an_authority_that_caa_forbids_is_passed_over_without_an_order() {
    let (one, other, dns) = (authority("one.test").await, authority("other.test").await, dns().await);
    dns.set_issuers(DOMAIN, &["other.test"]);
    let place = place(&[&one, &other], &dns);
    let edge = place.start().await;
    let status = edge.certified().await;
    assert_eq!((status.authority, status.last_error), (Some(other.directory()), None));
    assert_eq!(status.warnings, Vec::<String>::new());
    assert_eq!((one.requests(Step::NewOrder), other.orders().len()), (0, 1));
    edge.stop().await;
}

#[tokio::test]
async fn it_is_told_what_forbids_and_over_once_that_is_gone() {
    let (one, dns) = (authority("one.test").await, dns().await);
    dns.set_issuers(SITE, &["other.test", "third.test; policy=ev"]);
    let place = place(&[&one], &dns);
    let edge = place.start().await;
    let expected = format!(
        "the CAA record of {SITE} lets only other.test, third.test issue; \
         add `{SITE}. CAA 0 issue \"one.test\"`"
    );
    assert_eq!(failure(&edge).await, expected);
    let status = edge.status();
    assert_eq!(
        status.what_to_do,
        Some("change the CAA record so, or name another authority in `acme.directory`")
    );
    assert_eq!((status.why_then, status.not_after), (Some("it is tried again after a failure"), None));
    assert_eq!(one.requests(Step::NewOrder), 0);

    // Whose account it is counts, too.
    dns.set_issuers(SITE, &["one.test; accounturi=https://one.test/acct/nobody"]);
    let told = |told: &String| told.contains("to another account only");
    eventually("the other reason", || edge.status().last_error.filter(told)).await;
    dns.set_issuers(SITE, &["one.test; validationmethods=dns-01"]);
    let told = |told: &String| told.contains("only what is proven by dns-01");
    eventually("the third reason", || edge.status().last_error.filter(told)).await;
    assert_eq!(one.requests(Step::NewOrder), 0);

    dns.set_issuers(SITE, &["one.test; validationmethods=http-01"]);
    assert_eq!(edge.certified().await.last_error, None);
    edge.stop().await;
}

#[tokio::test]
async fn a_name_that_does_not_lead_here_is_warned_of_until_it_is_certified() {
    let server = AcmeServer::start(Options::default()).await;
    server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    let dns = dns().await;
    dns.set_addresses(ALIAS, &["192.0.2.7"]);
    dns.set(SITE, RecordType::A, Reply::Code(ResponseCode::ServFail));
    let place = place(&[&server], &dns);
    let edge = place.start().await;
    assert!(failure(&edge).await.contains("was not proven by http-01"));
    let expected = [
        format!("{SITE}: could not be looked up (the DNS server says `Server Failure`)"),
        format!("{ALIAS}: leads to 192.0.2.7, not to this machine: see that what arrives there comes here"),
    ];
    assert_eq!(edge.status().warnings, expected);
    assert!(server.requests(Step::NewOrder) > 0);

    server.set_validation(Validation::AcceptAll);
    assert_eq!(edge.certified().await.warnings, Vec::<String>::new());
    edge.stop().await;
}

#[tokio::test]
async fn an_authority_without_a_name_is_asked_all_the_same() {
    let (server, dns) = (AcmeServer::start(Options::default()).await, dns().await);
    dns.set_issuers(DOMAIN, &["other.test"]);
    server.fail(Step::NewOrder, Fault::Status(503, None));
    let place = place(&[&server], &dns);
    let edge = place.start().await;
    failure(&edge).await;
    let warning = edge.status().warnings.concat();
    assert!(warning.starts_with("example.test: its CAA record lets only other.test issue"), "{warning}");
    server.heal(Step::NewOrder);
    edge.certified().await;
    edge.stop().await;
}

#[tokio::test]
async fn a_silent_dns_server_delays_an_order_by_no_more_than_two_seconds() {
    let (server, dns) = (authority("one.test").await, dns().await);
    for name in [SITE, ALIAS] {
        dns.set(name, RecordType::A, Reply::Silence);
    }
    dns.set(DOMAIN, RecordType::CAA, Reply::Silence);
    server.fail(Step::NewOrder, Fault::Hang);
    let place = place(&[&server], &dns);
    let edge = place.start().await;
    eventually("the first question", || (!dns.asked().is_empty()).then_some(())).await;
    let asked = tokio::time::Instant::now();
    eventually("the order", || (server.requests(Step::NewOrder) > 0).then_some(())).await;
    let waited = asked.elapsed();
    assert!(waited > Duration::from_millis(1500) && waited < Duration::from_secs(5), "{waited:?}");
    let warnings = edge.status().warnings;
    assert!(warnings[0].starts_with(&format!("{SITE}, {ALIAS}: could not be looked up")), "{warnings:?}");
    assert!(warnings[1].starts_with("example.test: its CAA record could not be looked up"), "{warnings:?}");
    edge.stop().await;
}

/// What was ordered before is not asked about again.
#[tokio::test]
async fn an_order_that_was_left_is_taken_up_without_a_question() {
    let (server, dns) = (authority("one.test").await, dns().await);
    server.fail(Step::Certificate, Fault::Hang);
    let place = place(&[&server], &dns);
    let edge = place.start().await;
    eventually("the last step", || (server.requests(Step::Certificate) > 0).then_some(())).await;
    edge.stop().await;

    dns.set_issuers(DOMAIN, &["other.test"]);
    let asked = dns.asked().len();
    server.heal(Step::Certificate);
    let edge = place.start().await;
    edge.certified().await;
    assert_eq!((dns.asked().len(), server.orders().len()), (asked, 1));
    edge.stop().await;
}

#[tokio::test]
async fn a_private_authority_is_ordered_from_without_a_question() {
    let (server, dns) = (authority("one.test").await, dns().await);
    dns.set_issuers(DOMAIN, &["other.test"]);
    let place = Place::new(&[&server], &format!("resolver = \"{}\"", dns.address));
    let edge = place.start().await;
    edge.certified().await;
    assert_eq!(dns.asked(), []);
    edge.stop().await;
}
