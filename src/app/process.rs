//! The life of the process: from the limits of the system to the last log line.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::command_line::CommandError;
use super::edge::{Edge, Live};
use super::inspect::Inspection;
use super::reload;
use crate::config::Loaded;
use crate::config::model::Admin;
use crate::control::{AdminSocket, ControlError, Inspect, MetricsEndpoint};
use crate::telemetry::diagnostics;

/// Runs an edge until a signal or the admin socket asks it to stop. `started` is
/// called once it serves.
pub(super) fn run(
    loaded: Loaded,
    watched: bool,
    started: impl FnOnce(&Edge) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    diagnostics::init(&loaded.config.log.level);
    raise_open_files();
    // For libraries that ask the process; ours are told.
    let _ = (*crate::certs::provider()).clone().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let endpoints = Endpoints::bind(&loaded.config.admin)?;
        let file = loaded.source.clone().filter(|_| watched);
        let edge = Edge::start(loaded).await?;
        let stop = CancellationToken::new();
        endpoints.serve(edge.live(), &stop);
        let reload = reload::start(edge.live(), file);
        tracing::info!(http = ?edge.http, https = ?edge.https, "serving");
        started(&edge)?;
        signals.until_stop(edge.live(), &reload, &stop).await;
        tracing::info!("draining");
        end(edge, &mut signals).await;
        Ok(())
    })
}

/// Where the process is looked into.
struct Endpoints {
    admin: AdminSocket,
    metrics: Option<MetricsEndpoint>,
}

impl Endpoints {
    /// Takes their names and addresses, before the edge takes any client's
    /// connection: what is in use already is found while nothing runs.
    fn bind(admin: &Admin) -> Result<Self, ControlError> {
        let metrics = admin.metrics.map(MetricsEndpoint::bind).transpose()?;
        Ok(Self { admin: AdminSocket::bind(&admin.socket)?, metrics })
    }

    /// Answers on them until the background tasks of `edge` are stopped.
    fn serve(self, edge: &Arc<Live>, stop: &CancellationToken) {
        let tasks = &edge.ground.background;
        let inspection = Arc::new(Inspection::new(edge, stop.clone()));
        let inspect: Arc<dyn Inspect> = Arc::clone(&inspection) as _;
        tasks.spawn(noted(self.admin.serve(Arc::clone(&inspect), inspection, tasks.clone())));
        if let Some(endpoint) = self.metrics {
            tasks.spawn(noted(endpoint.serve(inspect, tasks.clone())));
        }
    }
}

async fn noted(served: impl Future<Output = Result<(), ControlError>>) {
    if let Err(error) = served.await {
        tracing::error!(error = &error as &dyn std::error::Error, "the edge can no longer be looked into");
    }
}

/// Drains; a second signal ends the process at once.
async fn end(edge: Edge, signals: &mut Signals) {
    tokio::select! {
        is_clean = edge.drain() => tracing::info!(is_clean, "stopped"),
        () = signals.another() => {
            let _ = writeln!(io::stderr(), "ended at once by a second signal");
            std::process::exit(1);
        }
    }
}

/// The signals the process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for SIGTERM, SIGINT or `stop`. SIGUSR1 opens the access log anew, as
    /// logrotate wants it; SIGHUP does so, too, and asks for a `reload`.
    async fn until_stop(&mut self, edge: &Live, reload: &Notify, stop: &CancellationToken) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = stop.cancelled() => return,
                _ = self.user1.recv() => edge.telemetry.reopen(),
                _ = self.hangup.recv() => {
                    edge.telemetry.reopen();
                    reload.notify_one();
                }
            }
        }
    }

    async fn another(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Says so where a fault in the process would be a fault of the whole machine.
pub(super) fn warn_of_root() {
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "running as root: let the service manager choose a user and grant the ports, as \
             packaging/seawall.service does"
        );
    }
}

/// Raises the number of open files to what the system allows; a connection
/// needs one, and one more towards the origin server.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the limit of open files cannot be raised");
    }
}
