//! What the admin socket tells about a running edge, and has it do.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::edge::{Live, ReloadError};
use super::reload;
use super::succession::UpgradeError;
use super::upgrade::Upgrade;
use crate::balance::{Duty, ServerState};
use crate::base::story;
use crate::certs::CertificateStatus;
use crate::config::Changes;
use crate::control::{
    Assigned, CacheUsage, Inspect, Lifecycle, ReloadRefused, Reloaded, Status, UpgradeRefused, Upgraded,
};
use crate::router::Router;
use crate::telemetry::prometheus::{self, Family, Sample};

const ORIGIN_UP: Family =
    Family::gauge("seawall_origin_up", "1 if the origin server may be asked, 0 if it is down.");
const ORIGIN_IN_FLIGHT: Family =
    Family::gauge("seawall_origin_in_flight", "Requests the origin server has not answered yet.");
const ORIGIN_TUNNELS: Family = Family::gauge("seawall_origin_tunnels", "WebSockets to the origin server.");
const ORIGIN_REQUESTS: Family =
    Family::counter("seawall_origin_server_requests_total", "Requests sent to the origin server.");
const ORIGIN_FAILURES: Family =
    Family::counter("seawall_origin_server_failures_total", "Requests the origin server failed to answer.");
const CACHE_CAPACITY: Family =
    Family::gauge("seawall_cache_capacity_bytes", "Bytes the memory tier may hold.");
const CONFIG_GENERATION: Family =
    Family::gauge("seawall_config_generation", "How many configs were in force, this one included.");

const CERTIFICATE_NOT_AFTER: Family = Family::gauge(
    "seawall_certificate_not_after_seconds",
    "When the first certificate of a site ends, in seconds since 1970; not there while it is on order.",
);
const CERTIFICATE_FAILING: Family = Family::gauge(
    "seawall_certificate_failing",
    "1 if the last try to make a new certificate of a site failed, 0 if none did.",
);

/// Looks into an edge, and does to it what it is told.
pub(super) struct Inspection {
    edge: Arc<Live>,
    started: Instant,
    stop: CancellationToken,
    upgrade: Option<Arc<Upgrade>>,
}

impl Inspection {
    /// Looks into `edge`; `stop` is cancelled when the admin socket asks for a drain.
    pub(super) fn new(edge: &Arc<Live>, stop: CancellationToken, upgrade: Option<Upgrade>) -> Self {
        let upgrade = upgrade.map(Arc::new);
        Self { edge: Arc::clone(edge), started: edge.ground.clock.now(), stop, upgrade }
    }
}

impl Lifecycle for Inspection {
    fn drain(&self) {
        self.stop.cancel();
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, ReloadRefused>> {
        async {
            let changes = reload::now(&self.edge).await.map_err(|error| refused(&error))?;
            Ok(Reloaded { generation: self.edge.generation().number, changes })
        }
        .boxed()
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<Upgraded, UpgradeRefused>> {
        async {
            let upgraded = match self.upgrade.clone() {
                None => Err(UpgradeError::NotARun),
                // Whoever asked may not wait for the end, and it goes on.
                Some(upgrade) => {
                    let upgraded =
                        self.edge.ground.background.spawn(async move { upgrade.carry_out().await });
                    upgraded.await.map_err(io::Error::other).map_err(UpgradeError::Line).flatten()
                }
            };
            upgraded.map_err(|error| UpgradeRefused(story(&error)))
        }
        .boxed()
    }

    fn renew_certificates(&self, name: &str) -> usize {
        self.edge.generation().certificates.renew(name)
    }

    fn assign(&self, server: &str, pool: Option<&str>, duty: Duty) -> Vec<Assigned> {
        let generation = self.edge.generation();
        let meant = generation.pools.iter().filter(|each| pool.is_none_or(|name| name == each.name()));
        let assigned = meant.flat_map(|pool| {
            let to_pool = |server| Assigned { pool: pool.name().to_owned(), server, duty };
            pool.assign(server, duty).into_iter().map(to_pool)
        });
        assigned.collect()
    }
}

fn refused(error: &ReloadError) -> ReloadRefused {
    ReloadRefused(story(error))
}

impl Inspect for Inspection {
    fn status(&self) -> Status {
        let (edge, generation) = (&self.edge, self.edge.generation());
        let usage = edge.ground.cache.usage();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: edge.ground.clock.now().saturating_duration_since(self.started).as_secs(),
            generation: generation.number,
            config_file: generation.source.as_deref().map(whole_path),
            workers: edge.workers(),
            connections_open: u64::try_from(edge.telemetry.metrics.connections_open.value()).unwrap_or(0),
            cache: CacheUsage { bytes: usage.bytes, limit: usage.capacity, objects: usage.objects },
            draining: edge.is_draining(),
        }
    }

    fn config_text(&self) -> String {
        self.edge.generation().text.clone()
    }

    fn plan(&self) -> Result<Changes, ReloadRefused> {
        self.edge.plan().map_err(|error| refused(&error))
    }

    fn router(&self) -> Arc<Router> {
        Arc::clone(&self.edge.generation().router)
    }

    fn origins(&self) -> Value {
        let pools: Vec<_> = self.edge.generation().pools.iter().map(|pool| pool.snapshot()).collect();
        serde_json::to_value(pools).unwrap_or_default()
    }

    fn certificates(&self) -> Value {
        serde_json::to_value(self.edge.generation().certificates.status()).unwrap_or_default()
    }

    fn metrics_text(&self) -> String {
        let generation = self.edge.generation();
        let plain = |family, value| Sample { family, labels: Vec::new(), value };
        let mut samples = vec![
            plain(CACHE_CAPACITY, self.edge.ground.cache.usage().capacity as f64),
            plain(CONFIG_GENERATION, generation.number as f64),
        ];
        samples.extend(of_certificates(&generation.certificates.status()));
        for pool in &generation.pools {
            let status = pool.snapshot();
            for server in &status.servers {
                let labels = vec![("pool", status.name.to_string()), ("server", server.label.to_string())];
                for (family, value) in [
                    (ORIGIN_UP, f64::from(u8::from(is_up(server.state)))),
                    (ORIGIN_IN_FLIGHT, server.in_flight as f64),
                    (ORIGIN_TUNNELS, server.tunnels as f64),
                    (ORIGIN_REQUESTS, server.requests as f64),
                    (ORIGIN_FAILURES, server.failures as f64),
                ] {
                    samples.push(Sample { family, labels: labels.clone(), value });
                }
            }
        }
        prometheus::render(&self.edge.telemetry.metrics, &samples)
    }
}

/// One sample of each family for a site, however many certificates it has: two of the
/// same labels would have Prometheus drop one.
fn of_certificates(certificates: &[CertificateStatus]) -> Vec<Sample> {
    let mut sites = BTreeMap::<&str, (bool, Option<u64>)>::new();
    for certificate in certificates {
        let (is_failing, first_end) = sites.entry(&certificate.site).or_default();
        *is_failing |= certificate.last_error.is_some();
        *first_end = first_end.iter().copied().chain(certificate.not_after).min();
    }
    let mut samples = Vec::new();
    for (site, (is_failing, first_end)) in sites {
        let sample = |family, value| Sample { family, labels: vec![("site", site.to_owned())], value };
        samples.push(sample(CERTIFICATE_FAILING, f64::from(u8::from(is_failing))));
        samples.extend(first_end.map(|first_end| sample(CERTIFICATE_NOT_AFTER, first_end as f64)));
    }
    samples
}

/// True if a server gets requests like the others, or will with the next one.
fn is_up(state: ServerState) -> bool {
    matches!(state, ServerState::Up | ServerState::Probation)
}

/// The path as it is for somebody in another directory.
fn whole_path(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::IssuerKind;

    #[test]
    fn a_site_with_several_certificates_has_one_series() {
        let certificate = |site: &str, not_after, error: Option<&str>| CertificateStatus {
            site: site.to_owned(),
            names: Vec::new(),
            issuer: IssuerKind::Files,
            authority: None,
            key: None,
            not_after,
            next_renewal: None,
            why_then: None,
            last_error: error.map(str::to_owned),
            what_to_do: None,
            warnings: Vec::new(),
        };
        let samples = of_certificates(&[
            certificate("b.test", Some(20), None),
            certificate("b.test", Some(10), Some("no key")),
            certificate("b.test", Some(30), None),
            certificate("a.test", None, None),
        ]);
        let told: Vec<_> = samples.iter().map(|it| (it.family, it.labels[0].1.as_str(), it.value)).collect();
        assert_eq!(
            told,
            [
                (CERTIFICATE_FAILING, "a.test", 0.0),
                (CERTIFICATE_FAILING, "b.test", 1.0),
                (CERTIFICATE_NOT_AFTER, "b.test", 10.0)
            ]
        );
    }
}
