//! The four-line config with a real ACME server: the program obtains, serves and
//! keeps a certificate that curl believes, over each challenge.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::{Alpn, Client};
use crate::support::origin::{FixedOrigin, Origin, ok};
use crate::support::pebble::{Authority, Pebble};
use crate::support::process::{Place, Seawall, words};
use crate::support::{curl, within};

const SITE: &str = "shop.example.test";

/// The four lines, and where the ACME server is.
fn config(directory: &str, authority: &Authority, challenge: &str, origins: &[FixedOrigin; 2]) -> String {
    let (one, other) = (origins[0].address, origins[1].address);
    let root = authority.root_file();
    format!(
        r#"
email = "me@example.com"
[site."{SITE}"]
origins = ["{one}", "{other}"]
health = "/healthz"

[acme]
directory = ["{directory}"]
ca = "{}"
challenges = ["{challenge}"]
"#,
        root.display()
    )
}

async fn origins() -> [FixedOrigin; 2] {
    [Origin::answering(ok("", "hello")).await, Origin::answering(ok("", "hello")).await]
}

/// The root of the certificates it issues, as a file that curl reads.
fn issuer_file(seawall: &Seawall, pebble: &Pebble) -> PathBuf {
    let path = seawall.directory().join("issuer.pem");
    fs::write(&path, &pebble.issuer_pem).unwrap();
    path
}

/// What the admin socket says of the site's certificate.
async fn certificate(seawall: &Seawall) -> Value {
    let output = seawall.ask("certs", &["--json"]).await;
    let certificates: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    certificates[0].clone()
}

async fn certified(seawall: &Seawall) -> Value {
    within("a certificate", async {
        loop {
            let certificate = certificate(seawall).await;
            if !certificate["not_after"].is_null() {
                return certificate;
            }
        }
    })
    .await
}

/// curl believes the certificate and gets the origin server's answer.
async fn assert_served(seawall: &Seawall, root: &std::path::Path) {
    let output = curl::get(SITE, seawall.https, Some(root)).await;
    let said = words(&output);
    assert!(said.starts_with("HTTP/2 200") && said.ends_with("hello"), "{said}");
}

async fn obtained_and_kept(challenge: &str) {
    let place = Place::new();
    let authority = Authority::prepare(place.http, place.https);
    let pebble = authority.start().await;
    let origins = origins().await;
    place.configure(&config(&authority.url(), &authority, challenge, &origins));
    let mut seawall = place.run().await;

    let first = certified(&seawall).await;
    assert_eq!((&first["issuer"], &first["last_error"]), (&Value::from("acme"), &Value::Null));
    let root = issuer_file(&seawall, &pebble);
    assert_served(&seawall, &root).await;
    let shown = words(&seawall.ask("certs", &[]).await);
    for told in [SITE, &authority.url(), first["not_after"].as_str().unwrap(), "most of the lifetime"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }

    let renewing = words(&seawall.ask("certs", &["renew", SITE]).await);
    assert!(renewing.starts_with("a new certificate is being made"), "{renewing}");
    within("another certificate", async {
        while seawall.metric("seawall_certificates_issued_total").await != Some(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_served(&seawall, &root).await;
    let first = certificate(&seawall).await;
    let unknown = seawall.ask("certs", &["renew", "other.test"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let refused = "the edge answered 404 Not Found: no certificate that is renewed here has this name";
    assert!(words(&unknown).contains(refused), "{}", words(&unknown));

    // Nobody is there to order from.
    drop(pebble);
    seawall.crash_and_restart().await;
    assert_eq!(certificate(&seawall).await["not_after"], first["not_after"]);
    assert_served(&seawall, &root).await;
    seawall.terminate();
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_comes_over_http01_and_outlives_a_crash() {
    obtained_and_kept("http-01").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_comes_over_tls_alpn01_and_outlives_a_crash() {
    obtained_and_kept("tls-alpn-01").await;
}

/// The way to an ACME server that takes connections and says nothing, until it
/// is opened.
struct Gate(TcpListener);

impl Gate {
    async fn closed() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn open(self, to: SocketAddr) {
        tokio::spawn(async move {
            while let Ok((mut client, _)) = self.0.accept().await {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    let _either_may_end_it = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_served_before_its_first_certificate_comes() {
    let place = Place::new();
    let authority = Authority::prepare(place.http, place.https);
    let pebble = authority.start().await;
    let (gate, origins) = (Gate::closed().await, origins().await);
    place.configure(&config(&authority.url_at(gate.address()), &authority, "tls-alpn-01", &origins));
    let seawall = place.run().await;

    let output = curl::get(SITE, seawall.https, None).await;
    assert!(words(&output).starts_with("HTTP/2 200"), "{}", words(&output));
    let root = issuer_file(&seawall, &pebble);
    let refused = curl::get(SITE, seawall.https, Some(&root)).await;
    assert_eq!(refused.status.code(), Some(60), "a self-signed one: {}", words(&refused));

    gate.open(authority.address());
    certified(&seawall).await;
    assert_served(&seawall, &root).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_costs_no_request_and_no_connection() {
    let place = Place::new();
    let authority = Authority::prepare(place.http, place.https);
    let pebble = authority.start().await;
    let origins = origins().await;
    place.configure(&config(&authority.url(), &authority, "tls-alpn-01", &origins));
    let seawall = place.run().await;
    certified(&seawall).await;
    let (root, to) = (issuer_file(&seawall, &pebble), seawall.https);

    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for (alpn, reconnects) in [(Alpn::H1, false), (Alpn::H2, false), (Alpn::H1, true), (Alpn::H2, true)] {
        let (root, is_over) = (root.clone(), Arc::clone(&is_over));
        clients.spawn(async move {
            let mut client = Client::connect(to, &root, SITE, alpn).await;
            let (first, mut requests) = (client.certificate.clone(), 0);
            while !is_over.load(SeqCst) {
                if reconnects {
                    client = Client::connect(to, &root, SITE, alpn).await;
                }
                assert_eq!(client.get("/").await.status(), 200);
                requests += 1;
            }
            (reconnects, client.certificate != first, requests)
        });
    }
    for issued in 2..5 {
        seawall.ask("certs", &["renew", SITE]).await;
        within("another certificate", async {
            while seawall.metric("seawall_certificates_issued_total").await != Some(issued) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    is_over.store(true, SeqCst);
    while let Some(client) = clients.join_next().await {
        let (reconnects, has_another, requests) = client.unwrap();
        assert_eq!(reconnects, has_another);
        assert!(requests > 10, "{requests}");
    }
}
