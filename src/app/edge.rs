//! One edge: everything a configuration describes, started as a whole or not at
//! all.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::workers::{self, Workers};
use crate::balance::{BalanceError, Pool, StickyKey, StickyKeyError};
use crate::base::{Clock, SystemClock, Tasks};
use crate::cache::Cache;
use crate::certs::{CertError, Certificates};
use crate::config::Config;
use crate::config::model::Balance;
use crate::exchange::{Handler, Origin};
use crate::front::Front;
use crate::listener::{self, BindError, Bound, ConnectionLimits};
use crate::router::Router;
use crate::telemetry::metrics::Limit;
use crate::telemetry::{AccessLogWriter, Telemetry, TelemetryError};
use crate::tls::{ClientAuthError, Tls};

/// An edge does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it wraps")]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Certificates(#[from] CertError),
    #[error(transparent)]
    ClientAuth(#[from] ClientAuthError),
    #[error(transparent)]
    Balance(#[from] BalanceError),
    #[error(transparent)]
    StickyKey(#[from] StickyKeyError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("a worker cannot be started")]
    Worker(#[source] io::Error),
}

/// A running edge.
pub struct Edge {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) cache: Arc<Cache>,
    pub(super) router: Arc<Router>,
    pub(super) pools: Vec<Arc<Pool>>,
    /// Where cleartext comes in.
    pub http: Vec<SocketAddr>,
    /// Where TLS comes in.
    pub https: Vec<SocketAddr>,
    draining: CancellationToken,
    /// What a drain waits for: connections, exchanges, tunnels, fills.
    exchanges: Tasks,
    /// What it does not: checks, renewals, connections to origin servers.
    background: Tasks,
    workers: Workers,
    access_log: AccessLogWriter,
}

impl Edge {
    /// Starts everything on the workers' runtimes and, for what is not on the
    /// way of a request, on the current one. Nothing is left running on an
    /// error.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let workers = config.workers.get();
        let http = bind_all(&config.listen.http, workers)?;
        let https = bind_all(&config.listen.https, workers)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (exchanges, background) = (Tasks::new(), Tasks::new());
        let (telemetry, access_log) = Telemetry::start(&config.log)?;
        let metrics = &telemetry.metrics;
        let certificates =
            Certificates::start(config, Arc::clone(&clock), &background, Arc::clone(metrics)).await?;
        let tls = Tls::new(config, &certificates)?;
        let cache = Cache::new(&config.cache, Arc::clone(&clock), &exchanges, Arc::clone(metrics));
        let is_any_sticky = config.pools.values().any(|pool| matches!(pool.balance, Balance::Sticky(_)));
        let key = if is_any_sticky { Some(StickyKey::open(&config.state_dir)?) } else { None };
        let mut pools = Vec::new();
        let mut origins: BTreeMap<Arc<str>, Arc<dyn Origin>> = BTreeMap::new();
        for (name, pool) in &config.pools {
            let (pool, key) = (Arc::clone(pool), key.as_ref());
            let pool = Pool::new(pool, key, Arc::clone(&clock), &background, Arc::clone(metrics))?;
            origins.insert(Arc::clone(name), Arc::clone(&pool) as Arc<dyn Origin>);
            pools.push(pool);
        }
        let router = Arc::new(Router::new(config, &origins, Arc::clone(&cache), metrics));
        let draining = CancellationToken::new();
        let front = Arc::new(Front::new(
            config,
            Arc::clone(&router) as Arc<dyn Handler>,
            Arc::clone(&certificates),
            Arc::clone(&telemetry),
            Arc::clone(&clock),
            exchanges.clone(),
            draining.clone(),
        ));
        let addresses = |bound: &[Bound]| bound.iter().map(|bound| bound.address).collect();
        let (http_addresses, https_addresses) = (addresses(&http), addresses(&https));
        let limits = Arc::new(ConnectionLimits::new(config));
        let proxies = config.listen.proxy_protocol_from.as_slice().into();
        let sockets = workers::Sockets { http, https, tls: Arc::new(tls), proxies };
        let workers = workers::start(workers, sockets, &front, &limits)?;
        for pool in &pools {
            pool.start_checks();
        }
        Ok(Self {
            clock,
            telemetry,
            certificates,
            cache,
            router,
            pools,
            http: http_addresses,
            https: https_addresses,
            draining,
            exchanges,
            background,
            workers,
            access_log,
        })
    }

    /// Stops to accept, lets exchanges end for as long as `within`, and ends the
    /// rest. True if none had to be cut.
    pub async fn drain(self, within: Duration) -> bool {
        self.draining.cancel();
        let is_clean = tokio::time::timeout(within, self.exchanges.wait()).await.is_ok();
        if !is_clean {
            self.telemetry.metrics.limit(Limit::DrainTimeout);
            tracing::warn!(left = self.exchanges.running(), "the drain took too long; the rest is cut");
        }
        self.cache.close().await;
        self.background.stop();
        self.workers.stop();
        self.access_log.finish();
        is_clean
    }

    /// Cancelled once a drain has begun.
    pub(super) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// How many worker threads there are.
    pub(super) fn workers(&self) -> usize {
        self.workers.count()
    }

    /// Tasks that a drain does not wait for.
    pub(super) fn background(&self) -> &Tasks {
        &self.background
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("http", &self.http).field("https", &self.https).finish_non_exhaustive()
    }
}

fn bind_all(addresses: &[SocketAddr], workers: usize) -> Result<Vec<Bound>, BindError> {
    addresses.iter().map(|address| listener::bind(*address, workers)).collect()
}
