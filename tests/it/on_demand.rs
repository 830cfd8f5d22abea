//! Certificates for hosts that nobody configured: who gets one, who does not, and
//! how much of that a crowd of clients can set off.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use seawall::base::SystemClock;
use seawall::config;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::acme::{Edge, leaf};
use super::support::acme_server::{AcmeServer, ChallengeType, Options, Step, Validation};
use super::support::origin::{Origin, ok};
use super::support::pebble::Authority;
use super::support::process::{Place, Seawall, words};
use super::support::{curl, eventually, within};

/// The server of the user's that says which hosts may have a certificate.
struct Gatekeeper {
    address: SocketAddr,
    state: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    /// How often for each host.
    times: HashMap<String, usize>,
    /// The answer for hosts under `allowed.test`; for all others it is 403.
    status: Option<u16>,
}

impl Gatekeeper {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<Asked>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    async fn answer(stream: TcpStream, state: Arc<Mutex<Asked>>) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let host = line.strip_prefix("GET /allowed?domain=").unwrap();
        let host = host.strip_suffix(" HTTP/1.1\r\n").unwrap().to_owned();
        let status = {
            let mut state = state.lock().unwrap();
            *state.times.entry(host.clone()).or_default() += 1;
            if host.ends_with("allowed.test") { state.status.unwrap_or(200) } else { 403 }
        };
        while stream.read_line(&mut line).await.unwrap() > 2 {}
        let head = format!("HTTP/1.1 {status} As It Is\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    }

    fn asked(&self, host: &str) -> usize {
        self.state.lock().unwrap().times.get(host).copied().unwrap_or_default()
    }

    fn asked_in_all(&self) -> usize {
        self.state.lock().unwrap().times.values().sum()
    }

    /// What it answers for the hosts that it knows.
    fn says(&self, status: u16) {
        self.state.lock().unwrap().status = Some(status);
    }
}

/// An edge that answers for any host, and for one by name.
struct OnDemand {
    state: TempDir,
    server: AcmeServer,
    gatekeeper: Gatekeeper,
    issuer: CertificateDer<'static>,
}

/// A running edge, and where it takes TLS.
struct Up {
    edge: Edge,
    address: SocketAddr,
    issuer: CertificateDer<'static>,
}

impl OnDemand {
    async fn new() -> Self {
        let server = AcmeServer::start(Options::default()).await;
        let issuer = CertificateDer::from_pem_slice(server.issuer_pem().as_bytes()).unwrap();
        Self { state: tempfile::tempdir().unwrap(), server, gatekeeper: Gatekeeper::start().await, issuer }
    }

    async fn start(&self, further: &str) -> Up {
        let file = self.state.path().join("seawall.toml");
        let text = format!(
            r#"
state_dir = "{}"
log = {{ access = "off" }}
[acme]
directory = ["{}"]
ca = "{}"
challenges = ["http-01"]
on_demand = {{ ask = "http://{}/allowed"{further} }}
[site."*"]
origins = ["127.0.0.1:9"]
[site."*.internal.test"]
origins = ["127.0.0.1:9"]
tls = "internal"
"#,
            self.state.path().display(),
            self.server.directory(),
            self.server.root_file().display(),
            self.gatekeeper.address
        );
        fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap().config;
        let edge = Edge::run(&config, Arc::new(SystemClock)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        edge.serve_tls(listener);
        Up { edge, address, issuer: self.issuer.clone() }
    }
}

impl Up {
    async fn leaf(&self, host: &str) -> std::io::Result<CertificateDer<'static>> {
        within(host, leaf(self.address, host, &self.issuer)).await
    }

    fn told(&self, host: &str) -> Option<String> {
        let status = self.edge.certs.status().into_iter().find(|status| status.site == host)?;
        Some(status.last_error.unwrap_or_default())
    }
}

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
    eventually("it is served", || {
        (up.edge.certs.status().last().unwrap().last_error.is_none()).then_some(())
    })
    .await;
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
    assert_eq!(place.server.requests(Step::Directory), 0);
    // Who may have one has it all the same.
    up.leaf("allowed.test").await.unwrap();
    up.edge.stop().await;
}

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
    let up = place.start("").await;
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    assert_eq!((place.gatekeeper.asked_in_all(), place.server.orders().len()), (asked, 1));

    // It is not renewed as long as nobody allows it, and given up if somebody
    // forbids it.
    assert_eq!(up.edge.certs.renew("one.allowed.test"), 1);
    let told = eventually("a failure", || up.told("one.allowed.test").filter(|told| !told.is_empty())).await;
    assert!(told.starts_with("`acme.on_demand.ask` could not be asked"), "{told}");
    assert_eq!(up.leaf("one.allowed.test").await.unwrap(), first);
    place.gatekeeper.says(404);
    eventually("it is given up", || up.told("one.allowed.test").is_none().then_some(())).await;
    assert_eq!(place.server.orders().len(), 1);
    up.edge.stop().await;
}

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
    up.edge.stop().await;
}

#[tokio::test]
async fn an_order_that_fails_is_told_and_not_made_again_at_once() {
    let place = OnDemand::new().await;
    place.server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    let up = place.start("").await;
    assert!(up.leaf("one.allowed.test").await.is_err());
    assert!(up.leaf("one.allowed.test").await.is_err());
    let told = up.told("one.allowed.test").unwrap();
    assert!(told.contains("one.allowed.test was not proven by http-01"), "{told}");
    assert_eq!(place.server.orders().len(), 1);

    place.server.set_validation(Validation::AcceptAll);
    assert_eq!(up.edge.certs.renew("one.allowed.test"), 1);
    eventually("a certificate", || up.told("one.allowed.test").filter(String::is_empty)).await;
    up.leaf("one.allowed.test").await.unwrap();
    up.edge.stop().await;
}

#[tokio::test]
async fn what_has_a_certificate_of_its_own_is_not_asked_about() {
    let place = OnDemand::new().await;
    let up = place.start("").await;
    for host in ["a.internal.test", "xn--.-bad.example", "a_b..c"] {
        assert!(leaf_of_any(&up, host).await.is_err(), "{host}");
    }
    assert_eq!(place.gatekeeper.asked("a.internal.test"), 0);
    // A client that leaves takes nobody's certificate away.
    let client = tokio::spawn({
        let (address, issuer) = (up.address, up.issuer.clone());
        async move { leaf(address, "left.allowed.test", &issuer).await }
    });
    eventually("it is asked", || (place.gatekeeper.asked("left.allowed.test") == 1).then_some(())).await;
    client.abort();
    eventually("it comes all the same", || up.told("left.allowed.test").filter(String::is_empty)).await;
    up.edge.stop().await;
}

/// As [`leaf`], for what may be no name at all.
async fn leaf_of_any(up: &Up, host: &str) -> std::io::Result<()> {
    if rustls_pki_types::ServerName::try_from(host).is_err() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    up.leaf(host).await.map(drop)
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
    assert!(said.contains("alert"), "{said}");
    assert!(shown(&seawall).await.contains("shop.allowed.test\n  names         shop.allowed.test\n"));

    // Nobody is there to order from, or to ask.
    drop((pebble, gatekeeper));
    seawall.crash_and_restart().await;
    let said = words(&curl::get("shop.allowed.test", seawall.https, Some(&root)).await);
    assert!(said.starts_with("HTTP/2 200"), "{said}");
}

async fn shown(seawall: &Seawall) -> String {
    words(&seawall.ask("certs", &[]).await)
}
