//! Runs the demo: its origin servers on a thread of their own, the edge on the
//! main one.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::{banner, config_text, origins};
use crate::app::StartError;
use crate::app::command_line::{CommandError, Demo};
use crate::app::process::{self, Way};
use crate::base::Tasks;
use crate::config;

const ORIGINS: usize = 3;

/// Runs the demo until it is told to stop.
pub(in crate::app) fn run(demo: &Demo) -> Result<(), CommandError> {
    if demo.http_port == demo.https_port && demo.http_port != 0 {
        let port = demo.http_port;
        return Err(format!("port {port} is asked for http and for https: they need two").into());
    }
    let state_dir = demo.state_dir.clone().map_or_else(default_state_dir, Ok)?;
    make(&state_dir).map_err(|error| {
        let state_dir = state_dir.display();
        format!("cannot make {state_dir} for the local CA; name another folder with --state-dir: {error}")
    })?;
    let servers = OriginServers::start()?;
    let (http, https) = (loopback(demo.http_port), loopback(demo.https_port));
    let text = config_text(&http, &https, &state_dir, &servers.addresses);
    let loaded = config::parse("the demo", &text, Path::new("."))?;
    process::run(loaded, Way::default(), |edge| {
        let port = |addresses: &[SocketAddr]| addresses.first().map_or(0, SocketAddr::port);
        let ca = state_dir.join("ca").join("ca.pem");
        let text = banner(port(&edge.https), port(&edge.http), &ca);
        io::stdout().write_all(text.as_bytes())?;
        Ok(io::stdout().flush()?)
    })
    .map_err(name_the_flags)
}

/// A port that cannot be had is one that the user may choose otherwise.
fn name_the_flags(error: CommandError) -> CommandError {
    match error.downcast_ref() {
        Some(StartError::Bind(bind)) => format!("{bind}; --http-port and --https-port name others").into(),
        _ => error,
    }
}

/// Makes the directory for the owner alone.
fn make(state_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)
}

/// `localhost` by IPv4 and, where the machine has it, IPv6.
fn loopback(port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    // Two ports that the system picks would differ.
    if port != 0 && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    }
    addresses
}

fn default_state_dir() -> Result<PathBuf, CommandError> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let state = state.ok_or("neither XDG_STATE_HOME nor HOME is set; name a folder with --state-dir")?;
    Ok(state.join("seawall-demo"))
}

/// The origin servers on their thread; they end when this is dropped.
struct OriginServers {
    addresses: Vec<SocketAddr>,
    tasks: Tasks,
    thread: Option<JoinHandle<()>>,
}

impl OriginServers {
    fn start() -> io::Result<Self> {
        let tasks = Tasks::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, started) = mpsc::channel();
        let on_thread = tasks.clone();
        let thread = std::thread::Builder::new().name("demo-origins".into()).spawn(move || {
            runtime.block_on(async {
                let _ = sender.send(origins::start(ORIGINS, &on_thread));
                on_thread.stopped().await;
            });
        })?;
        let addresses = started.recv().map_err(io::Error::other)??;
        Ok(Self { addresses, tasks, thread: Some(thread) })
    }
}

impl Drop for OriginServers {
    fn drop(&mut self) {
        self.tasks.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
