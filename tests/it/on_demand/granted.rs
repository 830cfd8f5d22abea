//! Who gets a certificate, and who does not.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use seawall::base::SystemClock;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::gatekeeper::Gatekeeper;
use super::{OnDemand, after_days};
use crate::support::acme_server::Step;
use crate::support::origin::{Origin, ok};
use crate::support::pebble::Authority;
use crate::support::process::{Place, words};
use crate::support::{curl, eventually, within};

#[tokio::test]
async fn a_crowd_at_a_new_host_makes_one_order() {
    let place = OnDemand::new().await;
    let up = place.start("").await;
    let crowd = join_all((0..50).map(|_| up.leaf("one.allowed.test"))).await;
    let leaves: Vec<_> = crowd.into_iter().map(Result::unwrap).collect();
    assert!(leaves.iter().all(|leaf| *leaf == leaves[0]));
    assert_eq!(up.leaf("ONE.allowed.test").await.unwrap(), leaves[0]);
    assert_eq!((place.gatekeeper.asked_in_all(), place.server.orders().len()), (1, 1));
    let status = up.edge.certs.status();
    assert_eq!(status.last().unwrap().names, ["one.allowed.test"]);

    assert_eq!(up.edge.certs.renew("one.allowed.test"), 1);
    eventually("another one", || (place.server.certificates().len() == 2).then_some(())).await;
    up.serves("one.allowed.test", &place.server.certificates()[1].leaf).await;
    assert_eq!(place.gatekeeper.asked("one.allowed.test"), 2);
    up.edge.stop().await;
}

#[tokio::test]
async fn a_thousand_unknown_hosts_order_nothing() {
    let place = OnDemand::new().await;
    let up = place.start("").await;
    let names: Vec<_> = (0..1000).map(|number| format!("n{number}.example.com")).collect();
    for some in names.chunks(100) {
        for refused in join_all(some.iter().map(|name| up.leaf(name))).await {
            assert!(refused.is_err());
        }
    }
    assert_eq!(place.gatekeeper.asked_in_all(), 1000);
    // They are remembered.
    for name in names.iter().step_by(100) {
        assert!(up.leaf(name).await.is_err());
    }
    assert_eq!(place.gatekeeper.asked_in_all(), 1000);
    assert!(place.gatekeeper.connections() <= 32, "{}", place.gatekeeper.connections());
    assert_eq!(place.server.requests(Step::Directory), 0);
    // Who may have one has it all the same.
    up.leaf("allowed.test").await.unwrap();
    up.edge.stop().await;
}

#[tokio::test]
async fn answers_that_say_nothing_of_the_host_forbid_nothing() {
    let place = OnDemand::new().await;
    let clock = after_days(0);
    let up = place.start_at(&clock).await;
    for (status, times) in [(401, 2), (407, 2), (408, 2), (429, 2), (500, 2), (403, 1), (302, 1)] {
        place.gatekeeper.says(status);
        let host = format!("n{status}.allowed.test");
        assert!(up.leaf(&host).await.is_err());
        clock.advance(Duration::from_secs(6));
        assert!(up.leaf(&host).await.is_err());
        assert_eq!(place.gatekeeper.asked(&host), times, "{status}");
    }
    assert_eq!(place.server.requests(Step::Directory), 0);
    up.edge.stop().await;
}

#[tokio::test]
async fn exact_names_beside_open_ones_are_ordered_as_ever() {
    let place = OnDemand::new().await;
    let sites = r#"
[site."*"]
aliases = ["www.exact.test", "exact.test"]
origins = ["127.0.0.1:9"]
[site."shop.test"]
aliases = ["*.shop.test", "*.allowed.test"]
origins = ["127.0.0.1:9"]
"#;
    let up = place.start_with("", sites, Arc::new(SystemClock)).await;
    for (site, names) in [("*", &["www.exact.test", "exact.test"][..]), ("shop.test", &["shop.test"])] {
        let status = eventually("a certificate", || {
            up.edge.certs.status().into_iter().find(|it| it.site == site && it.not_after.is_some())
        });
        assert_eq!(status.await.names, names);
        for name in names {
            up.leaf(name).await.unwrap();
        }
    }
    assert_eq!((place.gatekeeper.asked_in_all(), place.server.orders().len()), (0, 2));
    up.leaf("a.allowed.test").await.unwrap();
    assert!(up.leaf("a.shop.test").await.is_err());
    assert!(up.leaf("other.exact.test").await.is_err());
    assert_eq!((place.gatekeeper.asked_in_all(), place.server.orders().len()), (3, 3));
    up.edge.stop().await;
}

#[tokio::test]
async fn what_has_a_certificate_of_its_own_is_not_asked_about() {
    let place = OnDemand::new().await;
    let up = place.start("").await;
    for host in ["a.internal.test", "a_b.allowed.test"] {
        assert!(up.leaf(host).await.is_err(), "{host}");
    }
    assert_eq!(place.gatekeeper.asked_in_all(), 0);
    // As long as a name can be: its file has another one.
    let labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(48)].join(".");
    up.leaf(&format!("{labels}.allowed.test")).await.unwrap();
    // A client that leaves takes nobody's certificate away.
    let client = up.crowd(["left.allowed.test".to_owned()].into_iter()).remove(0);
    eventually("it is asked", || (place.gatekeeper.asked("left.allowed.test") == 1).then_some(())).await;
    client.abort();
    eventually("it comes all the same", || up.told("left.allowed.test").filter(String::is_empty)).await;
    up.edge.stop().await;
}

#[tokio::test]
async fn clients_may_have_to_show_a_certificate_there() {
    let place = OnDemand::new().await;
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let file = place.state.path().join("clients.pem");
    fs::write(&file, root.pem()).unwrap();
    let sites = format!("[site.\"*\"]\norigins = [\"127.0.0.1:9\"]\ntls = {{ client_ca = {file:?} }}\n");
    let up = place.start_with("", &sites, Arc::new(SystemClock)).await;

    let key = KeyPair::generate().unwrap();
    let shown = CertificateParams::default().signed_by(&key, &root).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    for is_known in [true, false] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(up.issuer.clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(seawall::base::provider());
        let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let client = match is_known {
            true => client.with_client_auth_cert(vec![shown.clone()], key.clone_key().into()).unwrap(),
            false => client.with_no_client_auth(),
        };
        let stream = TcpStream::connect(up.address).await.unwrap();
        let name = "one.allowed.test".try_into().unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, stream);
        let mut stream = within("a certificate", connecting).await.unwrap();
        let end = stream.read(&mut [0]).await;
        let is_refused = end.is_err_and(|error| error.to_string().contains("CertificateRequired"));
        assert_eq!(is_refused, !is_known);
    }
    assert_eq!(place.server.orders().len(), 1);
    up.edge.stop().await;
}

/// The real program and a real ACME server, which looks at the host by TLS-ALPN.
#[tokio::test]
async fn curl_gets_a_certificate_for_a_host_that_is_allowed() {
    let place = Place::new();
    let authority = Authority::prepare(place.http, place.https);
    let pebble = authority.start().await;
    let (origin, gatekeeper) = (Origin::answering(ok("", "hello")).await, Gatekeeper::start().await);
    place.configure(&format!(
        r#"
[site."*"]
origins = ["{}"]

[acme]
directory = ["{}"]
ca = "{}"
on_demand = {{ ask = "http://{}/allowed" }}
"#,
        origin.address,
        authority.url(),
        authority.root_file().display(),
        gatekeeper.address
    ));
    let mut seawall = place.run().await;
    let root = seawall.directory().join("issuer.pem");
    fs::write(&root, &pebble.issuer_pem).unwrap();
    let got = |host: &'static str| {
        let (address, root) = (seawall.https, root.clone());
        async move { words(&curl::get(host, address, Some(&root)).await) }
    };
    let said = got("shop.allowed.test").await;
    assert!(said.starts_with("HTTP/2 200") && said.ends_with("hello"), "{said}");
    let said = got("shop.forbidden.test").await;
    assert!(said.contains("unrecognized name"), "{said}");
    let listed = words(&seawall.ask("certs", &[]).await);
    assert!(listed.contains("shop.allowed.test\n  names         shop.allowed.test\n"));

    // Nobody is there to order from, or to ask.
    drop((pebble, gatekeeper));
    seawall.crash_and_restart().await;
    let said = words(&curl::get("shop.allowed.test", seawall.https, Some(&root)).await);
    assert!(said.starts_with("HTTP/2 200"), "{said}");
}
