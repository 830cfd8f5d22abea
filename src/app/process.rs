//! The life of the process: from the limits of the system to the last log line.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::command_line::CommandError;
use super::edge::{Edge, Live};
use super::inspect::Inspection;
use super::succession::{Inheritance, Predecessor, Program, Scheme};
use super::upgrade::Upgrade;
use super::{memory, privileges, reload, service_manager};
use crate::base::{Tasks, provider};
use crate::config::model::Admin;
use crate::config::{self, Loaded};
use crate::control::{AdminSocket, ControlError, Inspect, MetricsEndpoint};
use crate::telemetry::diagnostics;

/// How long the end waits for who is answered on the admin socket.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// How long it waits for what still blocks on the disk then.
const BLOCKED_AT_MOST: Duration = Duration::from_secs(2);

/// How an edge is run.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The config is read anew whenever its file changes.
    pub(super) is_watched: bool,
    /// Another process may take over: this program, started anew.
    pub(super) program: Option<Program>,
    /// The process that is taken over from.
    pub(super) predecessor: Option<Arc<Predecessor>>,
}

/// Runs an edge until a signal or the admin socket asks it to stop. `started` is
/// called once it serves.
pub(super) fn run(
    loaded: Loaded,
    way: Way,
    started: impl FnOnce(&Edge) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    diagnostics::init(&loaded.config.log.level);
    raise_open_files();
    privileges::give_up(&loaded.config)?;
    warn_of_closed_files(&loaded);
    // Not before: it makes a thread.
    memory::give_back_unused();
    // For libraries that ask the process; ours are told.
    let _ = (*provider()).clone().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut inherited = match &way.predecessor {
            Some(predecessor) => predecessor.take()?,
            None => Inheritance::default(),
        };
        let mut endpoints = Endpoints::bind(&loaded.config.admin, &mut inherited)?;
        let file = loaded.source.clone().filter(|_| way.is_watched);
        let edge = tokio::select! {
            edge = Edge::start_over(loaded, &mut inherited) => edge?,
            () = signals.ending.next() => {
                tracing::info!("ended by a signal before it served");
                return Ok(());
            }
        };
        drop(inherited);
        let stop = CancellationToken::new();
        let reload = reload::start(edge.live(), file);
        // Nothing fails from here on: there may be nobody else who serves.
        match way.predecessor {
            // That one tells the service manager.
            Some(predecessor) => predecessor.serving(|| endpoints.take_name()),
            None => service_manager::tell("READY=1"),
        }
        let answering = endpoints.serve(edge.live(), way.program, &stop);
        tracing::info!(http = ?edge.http, https = ?edge.https, "serving");
        started(&edge)?;
        let is_by_signal = signals.until_stop(edge.live(), &reload, &stop).await;
        tracing::info!("draining");
        end(edge, &answering, &mut signals.ending, is_by_signal).await;
        Ok(())
    });
    // A disk that hangs holds no end up.
    runtime.shutdown_timeout(BLOCKED_AT_MOST);
    outcome
}

/// Root read the files: the user that it has become reads them at each reload and upgrade.
fn warn_of_closed_files(loaded: &Loaded) {
    let (Some(user), Some(source)) = (&loaded.config.user, &loaded.source) else { return };
    if let Err(error) = config::load(source) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(user, error, "no reload and no upgrade will be able to read the config again");
    }
}

/// Where the process is looked into.
struct Endpoints {
    admin: AdminSocket,
    /// The name that the admin socket of a predecessor still has.
    name_to_take: Option<PathBuf>,
    metrics: Option<MetricsEndpoint>,
    /// The same once more for a successor, with the address as the config writes it.
    metrics_socket: Option<(SocketAddr, TcpListener)>,
}

impl Endpoints {
    /// Takes their names and addresses, before the edge takes any client's
    /// connection: what is in use already is found while nothing runs. What a
    /// predecessor has is taken over.
    fn bind(admin: &Admin, inherited: &mut Inheritance) -> Result<Self, ControlError> {
        let (mut metrics, mut metrics_socket) = (None, None);
        if let Some(address) = admin.metrics {
            let failed = |source| ControlError::Metrics { address, source };
            let socket = inherited.remove((Scheme::Metrics, address)).and_then(|mut sockets| sockets.pop());
            let endpoint = match socket {
                Some(socket) => MetricsEndpoint::over(socket).map_err(failed)?,
                None => MetricsEndpoint::bind(address)?,
            };
            metrics_socket = Some((address, endpoint.handle().map_err(failed)?));
            metrics = Some(endpoint);
        }
        let is_to_take = inherited.has_admin_socket(&admin.socket);
        let name_to_take = is_to_take.then(|| admin.socket.clone());
        let bind = if is_to_take { AdminSocket::bind_beside } else { AdminSocket::bind };
        Ok(Self { admin: bind(&admin.socket)?, name_to_take, metrics, metrics_socket })
    }

    /// Has the admin socket found where that of the predecessor was.
    fn take_name(&mut self) {
        if let Some(name) = self.name_to_take.take()
            && let Err(error) = self.admin.take_name(&name)
        {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the edge can only be looked into under the other name of its admin socket"
            );
        }
    }

    /// Answers on them until the tasks that this gives are stopped. `program` is started
    /// anew where an upgrade is asked for.
    fn serve(self, edge: &Arc<Live>, program: Option<Program>, stop: &CancellationToken) -> Tasks {
        let answering = Tasks::new();
        let metrics_tasks = Tasks::new();
        let upgrade = program.map(|program| Upgrade {
            edge: Arc::clone(edge),
            program,
            metrics: self.metrics_socket,
            metrics_tasks: metrics_tasks.clone(),
            stop: stop.clone(),
        });
        let inspection = Arc::new(Inspection::new(edge, stop.clone(), upgrade));
        let inspect: Arc<dyn Inspect> = Arc::clone(&inspection) as _;
        answering.spawn(noted(self.admin.serve(Arc::clone(&inspect), inspection, answering.clone())));
        if let Some(endpoint) = self.metrics {
            answering.spawn_until_stopped(async move { noted(endpoint.serve(inspect, metrics_tasks)).await });
        }
        answering
    }
}

async fn noted(served: impl Future<Output = Result<(), ControlError>>) {
    if let Err(error) = served.await {
        tracing::error!(error = &error as &dyn std::error::Error, "the edge can no longer be looked into");
    }
}

/// Drains; a second signal ends the process at once. The drain may be due to the first.
async fn end(edge: Edge, answering: &Tasks, signals: &mut EndingSignals, is_by_signal: bool) {
    let drained = async {
        let is_clean = edge.drain().await;
        // Who asked for the end on the admin socket may still wait for an answer.
        answering.stop();
        let _ = tokio::time::timeout(ANSWERED_WITHIN, answering.wait()).await;
        is_clean
    };
    let second = async {
        if !is_by_signal {
            signals.next().await;
            tracing::info!("draining already; another signal ends it at once");
        }
        signals.next().await;
    };
    tokio::select! {
        is_clean = drained => tracing::info!(is_clean, "stopped"),
        () = second => {
            let _ = writeln!(io::stderr(), "ended at once by a second signal");
            std::process::exit(1);
        }
    }
}

/// The signals the process listens to.
struct Signals {
    ending: EndingSignals,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

/// Those that end it: SIGTERM, SIGINT, and SIGQUIT, by which nginx stops gracefully.
struct EndingSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            ending: EndingSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
            },
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal that ends the process, or `stop`; true if it was a signal.
    /// SIGUSR1 opens the access log anew, as logrotate wants it; SIGHUP does so, too, and
    /// asks for a `reload`.
    async fn until_stop(&mut self, edge: &Live, reload: &Notify, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = self.ending.next() => return true,
                () = stop.cancelled() => return false,
                _ = self.user1.recv() => edge.telemetry.reopen(),
                _ = self.hangup.recv() => {
                    edge.telemetry.reopen();
                    reload.notify_one();
                }
                // With nginx it is for an upgrade, with HAProxy for a reload.
                _ = self.user2.recv() => tracing::warn!(
                    "SIGUSR2 does nothing: use `seawall upgrade` for another process, or `seawall reload`"
                ),
            }
        }
    }
}

impl EndingSignals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Says so where a fault in the process would be a fault of the whole machine.
pub(super) fn warn_of_root() {
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "running as root: name a `user` in the config, or let the service manager choose one and \
             grant the ports, as packaging/seawall.service does"
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
