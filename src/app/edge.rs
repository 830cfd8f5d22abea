//! One edge: everything a configuration describes, started as a whole or not at
//! all, and changed as a whole or not at all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::generation::{Generation, Ground};
use super::memory;
use super::sockets::Sockets;
use super::succession::{self, Inheritance, Listening, Program, UpgradeError};
use super::workers::Workers;
use crate::balance::{BalanceError, StickyKeyError};
use crate::base::{Clock, SystemClock, Tasks};
use crate::cache::Cache;
use crate::certs::CertError;
use crate::config::{Changes, ConfigError, Loaded};
use crate::control::Upgraded;
use crate::front::Front;
use crate::listener::{BindError, ConnectionLimits};
use crate::telemetry::metrics::Limit;
use crate::telemetry::{AccessLogWriter, Telemetry, TelemetryError};
use crate::tls::{ClientAuthError, Tickets, Tls};

/// An edge does not start, or does not become what another configuration says.
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

/// The configuration in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no file to read it from.
    #[error("the config was not read from a file: there is nothing to read anew")]
    NoFile,
    /// It would come into force for nobody.
    #[error("the edge is draining: it takes no other config")]
    Draining,
    /// The file cannot be read, or holds errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What it describes cannot be made.
    #[error(transparent)]
    Start(Box<StartError>),
}

impl From<StartError> for ReloadError {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// A running edge.
pub struct Edge {
    live: Arc<Live>,
    access_log: AccessLogWriter,
    /// Where cleartext came in at the start.
    pub http: Vec<SocketAddr>,
    /// Where TLS came in at the start.
    pub https: Vec<SocketAddr>,
}

/// What of an edge others look into, and change.
pub(super) struct Live {
    pub(super) ground: Ground,
    pub(super) telemetry: Arc<Telemetry>,
    generation: ArcSwap<Generation>,
    front: Arc<Front>,
    tls: Arc<ArcSwap<Tls>>,
    limits: Arc<ConnectionLimits>,
    /// Held while another configuration comes into force.
    sockets: tokio::sync::Mutex<Sockets>,
    /// What a drain waits for: connections, exchanges, tunnels, fills.
    exchanges: Tasks,
    workers: Workers,
}

impl Edge {
    /// Starts everything on the workers' runtimes and, for what is not on the
    /// way of a request, on the current one. Nothing is left running on an
    /// error.
    pub async fn start(loaded: Loaded) -> Result<Self, StartError> {
        Self::start_over(loaded, &mut Inheritance::default()).await
    }

    /// The same on the sockets that another process leaves to this one.
    pub(super) async fn start_over(loaded: Loaded, inherited: &mut Inheritance) -> Result<Self, StartError> {
        let config = &loaded.config;
        let workers = config.workers.get();
        let bound = Sockets::bind(&config.listen, workers, inherited)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (exchanges, background) = (Tasks::new(), Tasks::new());
        let (telemetry, access_log) = Telemetry::start(&config.log)?;
        let metrics = Arc::clone(&telemetry.metrics);
        let cache = Cache::new(&config.cache, Arc::clone(&clock), &exchanges, Arc::clone(&metrics));
        let limits = Arc::new(ConnectionLimits::new(config));
        let tickets = Tickets::begin(Arc::clone(&clock));
        let ground = Ground { clock, metrics, cache, tickets, background };
        let (generation, tls) = Generation::prepare(loaded, &ground, None).await?;
        let front = Arc::new(Front::new(
            generation.serving(),
            Arc::clone(&telemetry),
            Arc::clone(&ground.clock),
            exchanges.clone(),
        ));
        let workers = Workers::start(workers, &front, &limits)?;
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let (http, https) = bound.addresses();
        let mut sockets = Sockets::new(Arc::clone(&tls), front.draining());
        sockets.listen(bound.listen()?, &workers);
        generation.start_pools(None);
        let memory = memory::watch(Arc::clone(&front), Arc::clone(&ground.cache));
        ground.background.spawn_until_stopped(memory);
        let live = Arc::new(Live {
            ground,
            telemetry,
            generation: ArcSwap::from_pointee(generation),
            front,
            tls,
            limits,
            sockets: tokio::sync::Mutex::new(sockets),
            exchanges,
            workers,
        });
        Ok(Self { live, access_log, http, https })
    }

    /// What others may look into and change.
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Stops to accept, lets exchanges end for as long as the configuration says,
    /// and ends the rest. True if none had to be cut.
    pub async fn drain(self) -> bool {
        let Self { live, access_log, .. } = self;
        live.front.drain();
        // Else who holds them lets them go: a reload, or an upgrade.
        if let Ok(mut sockets) = live.sockets.try_lock() {
            sockets.let_go();
        }
        let within = live.generation().config.limits.drain_timeout;
        let is_clean = tokio::time::timeout(within, live.exchanges.wait()).await.is_ok();
        if !is_clean {
            live.telemetry.metrics.limit(Limit::DrainTimeout);
            tracing::warn!(left = live.exchanges.running(), "the drain took too long; the rest is cut");
        }
        let certificates = Arc::clone(&live.generation().certificates);
        let ((), written) = tokio::join!(live.ground.cache.close(), certificates.write_down());
        if let Err(error) = written {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a certificate was in memory only, and is gone now");
        }
        live.ground.background.stop();
        live.workers.stop();
        access_log.finish();
        is_clean
    }
}

impl Live {
    /// The configuration in force.
    pub(super) fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// What a reload would change.
    pub(super) fn plan(&self) -> Result<Changes, ReloadError> {
        let in_force = self.generation();
        let loaded = read_anew(&in_force)?;
        Ok(Changes::of(&in_force.config, &loaded))
    }

    /// Reads the file of the configuration anew and has it in force from then on.
    /// Exchanges and tunnels under way end as they began; connections stay, and
    /// their next requests are served as the new one says. On an error nothing has
    /// changed.
    pub(super) async fn reload(&self) -> Result<Changes, ReloadError> {
        let mut sockets = self.sockets.lock().await;
        let reloaded = self.reload_on(&mut sockets).await;
        // A drain may have begun meanwhile, and found them held.
        if self.is_draining() {
            sockets.let_go();
        }
        reloaded
    }

    async fn reload_on(&self, sockets: &mut Sockets) -> Result<Changes, ReloadError> {
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        let in_force = self.generation();
        let loaded = read_anew(&in_force)?;
        let changes = Changes::of(&in_force.config, &loaded);
        let bound =
            sockets.bind_new(&loaded.config.listen, self.workers.count()).map_err(StartError::from)?;
        let prepared = Generation::prepare(loaded, &self.ground, Some(&in_force)).await;
        let (generation, tls) = prepared?;
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        let listening = bound.listen().map_err(StartError::from)?;
        // Nothing fails from here on.
        generation.start_pools(Some(&in_force));
        self.limits.become_those_of(&generation.config);
        self.front.serve_so(generation.serving());
        self.tls.store(Arc::new(tls));
        sockets.listen(listening, &self.workers);
        sockets.close_all_but(&generation.config.listen);
        in_force.leave_to(&generation);
        self.generation.store(Arc::new(generation));
        Ok(changes)
    }

    /// Starts `program`, which takes over what this edge listens on, and `beside`, what
    /// the process does besides; then a drain has begun. On an error nothing has changed.
    /// To be run to its end.
    pub(super) async fn hand_over(
        &self,
        program: &Program,
        beside: Vec<Listening>,
    ) -> Result<Upgraded, UpgradeError> {
        // No other configuration comes into force meanwhile.
        let mut sockets = self.sockets.lock().await;
        if self.is_draining() {
            sockets.let_go();
            return Err(UpgradeError::Draining);
        }
        // It would serve a self-signed certificate.
        self.generation().certificates.write_down().await.map_err(UpgradeError::Unwritten)?;
        let mut listening = sockets.handles()?;
        listening.extend(beside);
        let admin_socket = self.generation().config.admin.socket.clone();
        let handed_over = succession::hand_over(program, &self.ground.cache, listening, admin_socket).await;
        if self.is_draining() {
            sockets.let_go();
        }
        let upgraded = handed_over?;
        self.generation().certificates.leave();
        self.front.drain();
        Ok(upgraded)
    }

    /// True once a drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.front.is_draining()
    }

    /// How many worker threads there are.
    pub(super) fn workers(&self) -> usize {
        self.workers.count()
    }
}

fn read_anew(in_force: &Generation) -> Result<Loaded, ReloadError> {
    let source = in_force.source.as_deref().ok_or(ReloadError::NoFile)?;
    Ok(crate::config::load(source)?)
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("http", &self.http).field("https", &self.https).finish_non_exhaustive()
    }
}
