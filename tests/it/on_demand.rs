//! Certificates for hosts that nobody configured: who gets one, who does not, and
//! how much of that a crowd of clients can set off.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use seawall::base::{Clock, ManualClock, SystemClock};
use seawall::config::{self, Config};
use seawall::telemetry::metrics::Limit;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::acme::{Edge, leaf};
use super::support::acme_server::{AcmeServer, ChallengeType, Fault, Options, Step, Validation};
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
    /// The answer for hosts under `allowed.test`; for all others it is 403, and none
    /// at all for those under `slow.test`.
    status: Option<u16>,
    connections: usize,
}

impl Gatekeeper {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<Asked>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(Self::answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    async fn answer(stream: TcpStream, state: Arc<Mutex<Asked>>) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
                return;
            }
            let host = line.strip_prefix("GET /allowed?domain=").unwrap();
            let host = host.strip_suffix(" HTTP/1.1\r\n").unwrap().to_owned();
            let status = {
                let mut state = state.lock().unwrap();
                *state.times.entry(host.clone()).or_default() += 1;
                if host.ends_with("allowed.test") { state.status.unwrap_or(200) } else { 403 }
            };
            while stream.read_line(&mut line).await.unwrap() > 2 {}
            if host.ends_with("slow.test") {
                std::future::pending::<()>().await;
            }
            let head = format!("HTTP/1.1 {status} As It Is\r\nContent-Length: 5\r\n\r\nwhat?");
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }

    fn asked(&self, host: &str) -> usize {
        self.state.lock().unwrap().times.get(host).copied().unwrap_or_default()
    }

    fn asked_in_all(&self) -> usize {
        self.state.lock().unwrap().times.values().sum()
    }

    fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// What it answers for the hosts that it knows.
    fn says(&self, status: u16) {
        self.state.lock().unwrap().status = Some(status);
    }
}

/// Any host, and those of one domain from elsewhere.
const SITES: &str = r#"
[site."*"]
origins = ["127.0.0.1:9"]
[site."*.internal.test"]
origins = ["127.0.0.1:9"]
tls = "internal"
"#;

const DAY: Duration = Duration::from_secs(24 * 3600);

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
        self.start_with(further, SITES, Arc::new(SystemClock)).await
    }

    async fn start_at(&self, clock: &Arc<ManualClock>) -> Up {
        self.start_with("", SITES, Arc::clone(clock) as Arc<dyn Clock>).await
    }

    async fn start_with(&self, further: &str, sites: &str, clock: Arc<dyn Clock>) -> Up {
        self.up(Edge::run(&self.config(further, sites), clock).await).await
    }

    async fn reload(&self, up: Up, further: &str) -> Up {
        self.up(up.edge.reload(&self.config(further, SITES)).await).await
    }

    fn config(&self, further: &str, sites: &str) -> Config {
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
{sites}
"#,
            self.state.path().display(),
            self.server.directory(),
            self.server.root_file().display(),
            self.gatekeeper.address
        );
        fs::write(&file, text).unwrap();
        config::load(&file).unwrap().config
    }

    async fn up(&self, edge: Edge) -> Up {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        edge.serve_tls(listener);
        Up { edge, address, issuer: self.issuer.clone() }
    }

    /// Has a certificate for `host` stored that is valid for so many days, and the
    /// next ones longer.
    async fn stored(&self, host: &str, days: i64) -> CertificateDer<'static> {
        self.server.set_lifetime(-time::Duration::HOUR, time::Duration::days(days));
        let up = self.start("").await;
        let leaf = up.leaf(host).await.unwrap();
        up.edge.stop().await;
        self.server.set_lifetime(-time::Duration::HOUR, time::Duration::days(400));
        leaf
    }
}

/// A clock that stands, after so many days.
fn after_days(days: u32) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemClock.wall() + days * DAY))
}

impl Up {
    async fn leaf(&self, host: &str) -> std::io::Result<CertificateDer<'static>> {
        within(host, leaf(self.address, host, &self.issuer)).await
    }

    fn told(&self, host: &str) -> Option<String> {
        let status = self.edge.certs.status().into_iter().find(|status| status.site == host)?;
        Some(status.last_error.unwrap_or_default())
    }

    /// Waits until a host has this one.
    async fn serves(&self, host: &str, expected: &CertificateDer<'static>) {
        within(host, async {
            while self.leaf(host).await.unwrap() != *expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Names hosts, and waits for nothing.
    fn crowd(&self, hosts: impl Iterator<Item = String>) -> Vec<JoinHandle<()>> {
        let name = |host: String| {
            let (address, issuer) = (self.address, self.issuer.clone());
            tokio::spawn(async move { drop(leaf(address, &host, &issuer).await) })
        };
        hosts.map(name).collect()
    }

    fn turned_away(&self) -> u64 {
        self.edge.metrics.limits[Limit::OnDemand as usize].value()
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
        let client = rustls::ClientConfig::builder_with_provider(seawall::certs::provider());
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
