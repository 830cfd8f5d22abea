//! What the admin socket tells about a running edge.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::edge::Edge;
use crate::balance::{Duty, Pool, ServerState};
use crate::base::Clock;
use crate::cache::Cache;
use crate::certs::Certificates;
use crate::control::{Assigned, CacheUsage, Inspect, Lifecycle, Status};
use crate::telemetry::Telemetry;
use crate::telemetry::prometheus::{self, Family, Sample};

const ORIGIN_UP: Family =
    Family::gauge("seawall_origin_up", "1 if the origin server may be asked, 0 if it is down.");
const ORIGIN_IN_FLIGHT: Family =
    Family::gauge("seawall_origin_in_flight", "Requests the origin server has not answered yet.");
const ORIGIN_REQUESTS: Family =
    Family::counter("seawall_origin_server_requests_total", "Requests sent to the origin server.");
const ORIGIN_FAILURES: Family =
    Family::counter("seawall_origin_server_failures_total", "Requests the origin server failed to answer.");
const CACHE_CAPACITY: Family =
    Family::gauge("seawall_cache_capacity_bytes", "Bytes the memory tier may hold.");

const CERTIFICATE_NOT_AFTER: Family = Family::gauge(
    "seawall_certificate_not_after_seconds",
    "When the certificate of a site ends, in seconds since 1970; not there while it is on order.",
);
const CERTIFICATE_FAILING: Family = Family::gauge(
    "seawall_certificate_failing",
    "1 if the last try to make a new certificate failed, 0 if it did not.",
);

/// Looks into an edge.
pub(super) struct Inspection {
    source: Option<PathBuf>,
    text: String,
    clock: Arc<dyn Clock>,
    started: Instant,
    workers: usize,
    telemetry: Arc<Telemetry>,
    certificates: Arc<Certificates>,
    cache: Arc<Cache>,
    pools: Vec<Arc<Pool>>,
    stop: CancellationToken,
    draining: CancellationToken,
}

impl Inspection {
    /// Looks into `edge`, which runs with `text`, read from `source`; `stop` is cancelled when the admin socket asks for a
    /// drain.
    pub(super) fn new(edge: &Edge, source: Option<PathBuf>, text: String, stop: CancellationToken) -> Self {
        Self {
            source,
            text,
            clock: Arc::clone(&edge.clock),
            started: edge.clock.now(),
            workers: edge.workers(),
            telemetry: Arc::clone(&edge.telemetry),
            certificates: Arc::clone(&edge.certificates),
            cache: Arc::clone(&edge.cache),
            pools: edge.pools.clone(),
            stop,
            draining: edge.draining().clone(),
        }
    }
}

impl Lifecycle for Inspection {
    fn drain(&self) {
        self.stop.cancel();
    }

    fn renew_certificates(&self, name: &str) -> usize {
        self.certificates.renew(name)
    }

    fn assign(&self, server: &str, pool: Option<&str>, duty: Duty) -> Vec<Assigned> {
        let meant = self.pools.iter().filter(|each| pool.is_none_or(|name| name == each.name()));
        let assigned = meant.flat_map(|pool| {
            let to_pool = |server| Assigned { pool: pool.name().to_owned(), server, duty };
            pool.assign(server, duty).into_iter().map(to_pool)
        });
        assigned.collect()
    }
}

impl Inspect for Inspection {
    fn status(&self) -> Status {
        let usage = self.cache.usage();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.clock.now().saturating_duration_since(self.started).as_secs(),
            generation: 1,
            config_file: self.source.as_deref().map(whole_path),
            workers: self.workers,
            connections_open: u64::try_from(self.telemetry.metrics.connections_open.value()).unwrap_or(0),
            cache: CacheUsage { bytes: usage.bytes, limit: usage.capacity, objects: usage.objects },
            draining: self.draining.is_cancelled(),
        }
    }

    fn config_text(&self) -> String {
        self.text.clone()
    }

    fn origins(&self) -> Value {
        let pools: Vec<_> = self.pools.iter().map(|pool| pool.snapshot()).collect();
        serde_json::to_value(pools).unwrap_or_default()
    }

    fn certificates(&self) -> Value {
        serde_json::to_value(self.certificates.status()).unwrap_or_default()
    }

    fn metrics_text(&self) -> String {
        let mut samples = vec![Sample {
            family: CACHE_CAPACITY,
            labels: Vec::new(),
            value: self.cache.usage().capacity as f64,
        }];
        for certificate in self.certificates.status() {
            let labels = vec![("site", certificate.site)];
            let is_failing = f64::from(u8::from(certificate.last_error.is_some()));
            samples.push(Sample { family: CERTIFICATE_FAILING, labels: labels.clone(), value: is_failing });
            if let Some(not_after) = certificate.not_after {
                samples.push(Sample { family: CERTIFICATE_NOT_AFTER, labels, value: not_after as f64 });
            }
        }
        for pool in &self.pools {
            let status = pool.snapshot();
            for server in &status.servers {
                let labels = vec![("pool", status.name.to_string()), ("server", server.label.to_string())];
                for (family, value) in [
                    (ORIGIN_UP, f64::from(u8::from(is_up(server.state)))),
                    (ORIGIN_IN_FLIGHT, server.in_flight as f64),
                    (ORIGIN_REQUESTS, server.requests as f64),
                    (ORIGIN_FAILURES, server.failures as f64),
                ] {
                    samples.push(Sample { family, labels: labels.clone(), value });
                }
            }
        }
        prometheus::render(&self.telemetry.metrics, &samples)
    }
}

/// True if a server gets requests like the others, or will with the next one.
fn is_up(state: ServerState) -> bool {
    matches!(state, ServerState::Up | ServerState::Probation)
}

/// The path as it is for somebody in another directory.
fn whole_path(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
