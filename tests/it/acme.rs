//! Certificates from a real ACME server, over each challenge, with a quarter
//! of all nonces rejected.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use seawall::base::{Backoff, Clock, SystemClock, Tasks};
use seawall::certs::{CertificateStatus, Certificates, IssuerKind};
use seawall::config::{self, Config};
use seawall::telemetry::Metrics;
use seawall::tls::{self, Tls};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::support::pebble::{Authority, trusting};
use super::support::ports::free_address;

pub(super) const SITE: &str = "shop.example.test";
pub(super) const ALIAS: &str = "www.shop.example.test";
const DEADLINE: Duration = Duration::from_secs(20);
const SOON: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_millis(500) };

/// An edge whose certificates are ordered from an [`Authority`].
pub(super) struct Edge {
    pub(super) certs: Arc<Certificates>,
    pub(super) metrics: Arc<Metrics>,
    tls: Arc<Tls>,
    tasks: Tasks,
}

impl Edge {
    /// Brings it up on the state in `state`; nothing answers challenges yet.
    async fn start(state: &TempDir, authority: &Authority, challenges: &[&str]) -> Self {
        let directory = format!("directory = [\"{}\"]", authority.url());
        Self::start_with(state, authority, challenges, &directory).await
    }

    /// The same with these lines for `[acme]`, which say which directories to ask.
    async fn start_with(state: &TempDir, authority: &Authority, challenges: &[&str], acme: &str) -> Self {
        let config = config(state.path(), &authority.root_file(), challenges, acme, [SITE, ALIAS]);
        Self::run(&config, Arc::new(SystemClock)).await
    }

    pub(super) async fn run(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let (tasks, metrics) = (Tasks::new(), Arc::<Metrics>::default());
        let certs = Certificates::start_with_backoff(config, clock, &tasks, Arc::clone(&metrics), SOON).await;
        let certs = certs.unwrap();
        let tls = Arc::new(Tls::new(config, &certs, None).unwrap());
        Self { certs, metrics, tls, tasks }
    }

    /// The edge that follows it in a reload.
    pub(super) async fn reload(self, config: &Config) -> Self {
        let Self { certs, metrics, tasks, .. } = self;
        let certs = certs.follow(config, Arc::new(SystemClock), &tasks, Arc::clone(&metrics)).await;
        let certs = certs.unwrap();
        let tls = Arc::new(Tls::new(config, &certs, None).unwrap());
        Self { certs, metrics, tls, tasks }
    }

    /// Answers HTTP-01 challenges on `listener`.
    pub(super) fn serve_http(&self, listener: TcpListener) {
        let certs = Arc::clone(&self.certs);
        self.tasks.spawn_until_stopped(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer_http01(&certs, stream).await;
            }
        });
    }

    /// Does TLS handshakes on `listener`.
    pub(super) fn serve_tls(&self, listener: TcpListener) {
        let (tls, metrics, tasks) = (Arc::clone(&self.tls), Arc::clone(&self.metrics), self.tasks.clone());
        self.tasks.spawn_until_stopped(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let deadline = SystemClock.now() + DEADLINE;
                let (tls, metrics) = (Arc::clone(&tls), Arc::clone(&metrics));
                tasks.spawn_until_stopped(async move {
                    let _each_client_judges_for_itself = tls::accept(stream, &tls, deadline, &metrics).await;
                });
            }
        });
    }

    pub(super) fn status(&self) -> CertificateStatus {
        let [status] = self.certs.status().try_into().unwrap();
        status
    }

    /// The state of the certificate once there is one.
    pub(super) async fn certified(&self) -> CertificateStatus {
        let certified = async {
            let mut again = tokio::time::interval(Duration::from_millis(20));
            while self.status().not_after.is_none() {
                again.tick().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, certified).await;
        in_time.unwrap_or_else(|_| panic!("no certificate: {:?}", self.status()));
        self.status()
    }

    pub(super) async fn stop(self) {
        self.tasks.stop();
        tokio::time::timeout(DEADLINE, self.tasks.wait()).await.unwrap();
    }
}

async fn answer_http01(certs: &Certificates, stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let (status, content) = match certs.http01(token) {
        Some(proof) => ("200 OK", proof),
        None => ("404 Not Found", String::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
    while stream.read_line(&mut line).await.unwrap() > 2 {}
    stream.write_all((head + &content).as_bytes()).await.unwrap();
}

/// The leaf that a client gets which trusts `issuer` alone.
pub(super) async fn leaf(
    address: std::net::SocketAddr,
    name: &str,
    issuer: &CertificateDer<'static>,
) -> std::io::Result<CertificateDer<'static>> {
    let connector = TlsConnector::from(trusting([issuer.clone()]));
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
}

/// The files under `state` whose names end with `end`.
fn files(state: &TempDir, end: &str) -> Vec<PathBuf> {
    let directories = fs::read_dir(state.path().join("acme")).unwrap();
    let files = directories.flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|file| file.to_str().unwrap().ends_with(end)).collect()
}

async fn tls_listener() -> (TcpListener, std::net::SocketAddr) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn http01_issues_once_and_restarts_order_nothing() {
    let (http, tls) = (listener().await, listener().await);
    let address = tls.local_addr().unwrap();
    let authority = Authority::prepare(http.local_addr().unwrap(), free_address());
    let pebble = authority.start().await;
    let state = tempfile::tempdir().unwrap();

    let edge = Edge::start(&state, &authority, &["http-01"]).await;
    edge.serve_http(http);
    edge.serve_tls(tls);
    let status = edge.certified().await;
    assert_eq!((status.issuer, status.last_error), (IssuerKind::Acme, None));
    assert_eq!(status.names, [SITE, ALIAS]);
    assert!(status.next_renewal < status.not_after);
    let first = leaf(address, SITE, &pebble.issuer).await.unwrap();
    assert_eq!(leaf(address, ALIAS, &pebble.issuer).await.unwrap(), first);
    assert_eq!(edge.metrics.certificates_issued.value(), 1);
    edge.stop().await;
    assert_eq!(files(&state, ".order.json"), [] as [PathBuf; 0]);

    let edge = Edge::start(&state, &authority, &["http-01"]).await;
    assert_eq!(edge.status().not_after, status.not_after);
    let tls = listener().await;
    let address = tls.local_addr().unwrap();
    edge.serve_tls(tls);
    assert_eq!(leaf(address, SITE, &pebble.issuer).await.unwrap(), first);
    assert_eq!(edge.metrics.certificates_issued.value() + edge.metrics.certificate_failures.value(), 0);
    edge.stop().await;
}

#[tokio::test]
async fn tls_alpn01_issues_and_the_account_is_used_again() {
    let tls = listener().await;
    let address = tls.local_addr().unwrap();
    let authority = Authority::prepare(free_address(), address);
    let pebble = authority.start().await;
    let state = tempfile::tempdir().unwrap();

    let edge = Edge::start(&state, &authority, &["tls-alpn-01"]).await;
    edge.serve_tls(tls);
    edge.certified().await;
    let first = leaf(address, ALIAS, &pebble.issuer).await.unwrap();
    edge.stop().await;

    let [account] = files(&state, "account.json").try_into().unwrap();
    let credentials = fs::read(&account).unwrap();
    let [certificate] = files(&state, ".pem").try_into().unwrap();
    fs::write(certificate, "broken").unwrap();
    let edge = Edge::start(&state, &authority, &["tls-alpn-01"]).await;
    edge.serve_tls(TcpListener::bind(address).await.unwrap());
    edge.certified().await;
    assert_ne!(leaf(address, SITE, &pebble.issuer).await.unwrap(), first);
    assert_eq!(fs::read(account).unwrap(), credentials);
    edge.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_down_harms_nothing() {
    let (http, tls) = (listener().await, listener().await);
    let address = tls.local_addr().unwrap();
    // Nobody answers TLS-ALPN-01, so that the other challenge has to be tried.
    let authority = Authority::prepare(http.local_addr().unwrap(), free_address());
    let state = tempfile::tempdir().unwrap();

    let begun = SystemClock.now();
    let edge = Edge::start(&state, &authority, &["tls-alpn-01", "http-01"]).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    edge.serve_http(http);
    edge.serve_tls(tls);
    let nobody = CertificateDer::from_pem_file(authority.root_file()).unwrap();
    let refused = leaf(address, SITE, &nobody).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");

    let pebble = authority.start().await;
    let status = edge.certified().await;
    assert_eq!(status.last_error, None);
    assert!(edge.metrics.certificate_failures.value() > 0);
    leaf(address, SITE, &pebble.issuer).await.unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn another_authority_stands_in_for_one_that_is_down() {
    let (http, dead) = (listener().await, free_address());
    let authority = Authority::prepare(http.local_addr().unwrap(), free_address());
    let _pebble = authority.start().await;
    let state = tempfile::tempdir().unwrap();
    let both = format!("directory = [\"https://{dead}/dir\", \"{}\"]", authority.url());

    let edge = Edge::start_with(&state, &authority, &["http-01"], &both).await;
    edge.serve_http(http);
    let status = edge.certified().await;
    assert_eq!((status.last_error, edge.metrics.certificate_failures.value()), (None, 0));
    edge.stop().await;

    // What the one that stood in has issued is found again.
    let edge = Edge::start_with(&state, &authority, &["http-01"], &both).await;
    assert_eq!(edge.status().not_after, status.not_after);
    edge.stop().await;
}

#[tokio::test]
async fn an_account_is_bound_to_one_made_by_other_means() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let http = listener().await;
    let (address, account) = (http.local_addr().unwrap(), [("kid-1", KEY)]);
    let authority = Authority::with_accounts(address, free_address(), &account);
    let _pebble = authority.start().await;
    let directory = format!("directory = [\"{}\"]", authority.url());

    let state = tempfile::tempdir().unwrap();
    let edge = Edge::start_with(&state, &authority, &["http-01"], &directory).await;
    let refused = super::support::eventually("a failure", || edge.status().last_error).await;
    assert!(refused.contains("externalAccountRequired"), "{refused}");
    edge.stop().await;

    let key = state.path().join("hmac");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let bound = format!("{directory}\neab = {{ kid = \"kid-1\", hmac = {{ file = {key:?} }} }}");
    let edge = Edge::start_with(&state, &authority, &["http-01"], &bound).await;
    edge.serve_http(http);
    edge.certified().await;
    edge.stop().await;
}

#[tokio::test]
async fn two_processes_order_one_certificate() {
    let (tls, address) = tls_listener().await;
    let authority = Authority::prepare(free_address(), address);
    let pebble = authority.start().await;
    let state = tempfile::tempdir().unwrap();
    let (one, other) = (
        Edge::start(&state, &authority, &["tls-alpn-01"]).await,
        Edge::start(&state, &authority, &["tls-alpn-01"]).await,
    );
    // Only what the one orders can be proven.
    one.serve_tls(tls);
    one.certified().await;
    other.certified().await;
    let mut leaves = Vec::new();
    for edge in [&one, &other] {
        let (tls, address) = tls_listener().await;
        edge.serve_tls(tls);
        leaves.push(leaf(address, SITE, &pebble.issuer).await.unwrap());
    }
    assert_eq!(leaves[0], leaves[1]);
    one.stop().await;
    other.stop().await;
}

/// A wildcard and the name it is under: two records of one name.
#[tokio::test]
async fn a_wildcard_is_proven_by_dns() {
    let authority = Authority::prepare(free_address(), free_address());
    let pebble = authority.start().await;
    let state = tempfile::tempdir().unwrap();
    let (hook, log) = (state.path().join("hook"), state.path().join("log"));
    let script = format!(
        "#!/bin/sh\necho \"$1 $2\" >> {log}\nif [ $1 = present ]; then path=set-txt; else path=clear-txt; fi\n\
         curl -sf -d \"{{\\\"host\\\":\\\"$2\\\",\\\"value\\\":\\\"$3\\\"}}\" http://{dns}/$path\n",
        log = log.display(),
        dns = pebble.dns
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    let acme = format!("directory = {:?}\ndns = {{ exec = {hook:?}, wait = \"0s\" }}", authority.url());
    let all = ["tls-alpn-01", "http-01", "dns-01"];
    let config = config(
        state.path(),
        &authority.root_file(),
        &all,
        &acme,
        ["*.wild.example.test", "wild.example.test"],
    );

    let edge = Edge::run(&config, Arc::new(SystemClock)).await;
    let status = edge.certified().await;
    assert_eq!((status.last_error, edge.metrics.certificate_failures.value()), (None, 0));
    let tls = listener().await;
    let address = tls.local_addr().unwrap();
    edge.serve_tls(tls);
    for name in ["wild.example.test", "any.wild.example.test"] {
        leaf(address, name, &pebble.issuer).await.unwrap();
    }
    let done = super::support::eventually("the records are taken away", || {
        fs::read_to_string(&log).ok().filter(|done| done.matches("cleanup").count() == 2)
    });
    let done = done.await;
    assert_eq!(done.matches("present _acme-challenge.wild.example.test.\n").count(), 2, "{done}");
    edge.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_to_whom_it_concerns() {
    let (hook, dead) = (listener().await, free_address());
    let authority = Authority::prepare(dead, dead);
    let state = tempfile::tempdir().unwrap();
    let told = format!("notify = {{ webhook = \"http://{}/certificates\" }}", hook.local_addr().unwrap());
    let acme = format!("directory = [\"https://{dead}/dir\"]\n{told}");
    let edge = Edge::start_with(&state, &authority, &["http-01"], &acme).await;

    let notice = async {
        let (mut stream, _) = hook.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\"certificate-failed\"}") {
            stream.read_buf(&mut asked).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(asked).unwrap()
    };
    let notice = tokio::time::timeout(DEADLINE, notice).await.unwrap();
    let (head, content) = notice.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /certificates HTTP/1.1\r\n"), "{head}");
    let content: serde_json::Value = serde_json::from_str(content).unwrap();
    let certificate = &content["certificate"];
    assert_eq!((&content["event"], &certificate["site"]), (&"certificate-failed".into(), &SITE.into()));
    assert!(certificate["last_error"].as_str().unwrap().contains("Connection refused"), "{certificate}");
    assert!(certificate["what_to_do"].as_str().unwrap().contains("acme.directory"), "{certificate}");
    edge.stop().await;
}

/// The one site of these names, ordered from an authority with this root.
pub(super) fn config(
    state: &Path,
    root: &Path,
    challenges: &[&str],
    acme: &str,
    [name, alias]: [&str; 2],
) -> Config {
    let state_dir = state.display();
    let text = format!(
        r#"
email = "admin@example.test"
state_dir = "{state_dir}"
log = {{ access = "off" }}
[acme]
{acme}
ca = "{root}"
challenges = {challenges:?}
[site."{name}"]
aliases = ["{alias}"]
origins = ["127.0.0.1:9"]
"#,
        root = root.display()
    );
    let file = state.join("seawall.toml");
    fs::write(&file, text).unwrap();
    config::load(&file).unwrap().config
}
