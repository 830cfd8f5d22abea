//! The ACME server pebble and its DNS server, both of the Debian package
//! `pebble`, on loopback. Every name resolves to 127.0.0.1.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::eventually;
use super::ports::free_address;
use super::process::Running;

/// An ACME server that is set up, but does not run yet.
pub(crate) struct Authority {
    directory: TempDir,
    listen: SocketAddr,
    management: SocketAddr,
}

/// The ACME server, running.
pub(crate) struct Pebble {
    processes: Vec<Running>,
    /// Where its own DNS server is told what to answer, if it has one.
    pub(crate) dns: String,
    /// Who signs what it issues; another one at each start.
    pub(crate) issuer: CertificateDer<'static>,
    /// The same as PEM.
    pub(crate) issuer_pem: String,
}

impl Authority {
    /// One that checks HTTP-01 on `http` and TLS-ALPN-01 on `tls`.
    pub(crate) fn prepare(http: SocketAddr, tls: SocketAddr) -> Self {
        Self::with_accounts(http, tls, &[])
    }

    /// The same, where accounts have to be bound to one of these, each a name and
    /// a key in base64url, if there are any.
    pub(crate) fn with_accounts(http: SocketAddr, tls: SocketAddr, accounts: &[(&str, &str)]) -> Self {
        let (listen, management) = (free_address(), free_address());
        let authority = Self { directory: tempfile::tempdir().unwrap(), listen, management };
        authority.make_own_certificate();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": listen,
            "managementListenAddress": management,
            "certificate": authority.file("chain.pem"),
            "privateKey": authority.file("key.pem"),
            "httpPort": http.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !accounts.is_empty(),
            "externalAccountMACKeys": accounts.iter().copied().collect::<BTreeMap<_, _>>(),
        }});
        fs::write(authority.file("pebble.json"), config.to_string()).unwrap();
        authority
    }

    /// The URL of its directory.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.listen)
    }

    /// The URL of its directory for who reaches it at `address`.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        format!("https://{address}/dir")
    }

    /// Where it listens once it runs.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The root that has to be trusted to talk to it.
    pub(crate) fn root_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Runs it; a quarter of all good nonces is rejected.
    pub(crate) async fn start(&self) -> Pebble {
        let [dns, dns_management] = [free_address(), free_address()].map(|address| address.to_string());
        let mut dns_server = Command::new("pebble-challtestsrv");
        dns_server.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-dns01", &dns]);
        dns_server.args(["-management", &dns_management, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        let dns_server = spawn(&mut dns_server);
        let resolver = dns.parse().unwrap();
        listens(resolver).await;
        let mut pebble = self.start_with(resolver).await;
        pebble.processes.push(dns_server);
        pebble.dns = dns_management;
        pebble
    }

    /// The same, which looks names up at `dns`.
    pub(crate) async fn start_with(&self, dns: SocketAddr) -> Pebble {
        let mut server = Command::new("pebble");
        server.arg("-config").arg(self.file("pebble.json")).args(["-dnsserver", &dns.to_string()]);
        server.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "25");
        let processes = vec![spawn(&mut server)];
        listens(self.listen).await;
        listens(self.management).await;
        let issuer_pem = self.issuer().await;
        let issuer = CertificateDer::from_pem_slice(issuer_pem.as_bytes()).unwrap();
        Pebble { processes, dns: String::new(), issuer, issuer_pem }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make_own_certificate(&self) {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
        fs::write(self.root_file(), root.pem()).unwrap();
        fs::write(self.file("chain.pem"), leaf.pem()).unwrap();
        fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
    }

    async fn issuer(&self) -> String {
        let root = CertificateDer::from_pem_file(self.root_file()).unwrap();
        let tls = TlsConnector::from(trusting([root]));
        let tcp = TcpStream::connect(self.management).await.unwrap();
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let mut stream = tls.connect(name, tcp).await.unwrap();
        stream.write_all(b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// A client that trusts `roots` alone.
pub(crate) fn trusting<const N: usize>(roots: [CertificateDer<'static>; N]) -> Arc<rustls::ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let config = rustls::ClientConfig::builder_with_provider(seawall::base::provider());
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(store).with_no_client_auth())
}

async fn listens(address: SocketAddr) {
    eventually("pebble listens", || std::net::TcpStream::connect(address).ok()).await;
}

fn spawn(command: &mut Command) -> Running {
    Running::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
}
