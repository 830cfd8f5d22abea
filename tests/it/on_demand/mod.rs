//! Certificates for hosts that nobody configured: who gets one, who does not, and
//! how much of that a crowd of clients can set off.

mod bounds;
mod gatekeeper;
mod granted;
mod renewal;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use seawall::base::{Clock, ManualClock, SystemClock};
use seawall::config::{self, Config};
use seawall::telemetry::metrics::Limit;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::gatekeeper::Gatekeeper;
use super::acme::{Edge, leaf};
use super::support::acme_server::{AcmeServer, Options};
use super::support::within;

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
