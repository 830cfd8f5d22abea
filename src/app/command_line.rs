//! What the user types: parsed, run, and answered with an exit code. 0: done; 1:
//! it failed, and the reason stands on standard error; 2: not understood.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use http::{Method, StatusCode};

use super::demo;
use super::look::{self, Explain};
use super::origins::{self, Origins};
use super::process::{self, Way};
use super::purge::{self, Purge};
use super::succession::{Predecessor, Program};
use crate::base::story;
use crate::config::{self, ConfigError};
use crate::control::{ControlError, client, show, show_changes};

/// A caching edge proxy: automatic certificates, an RFC 9111 cache and load
/// balancing in front of your website.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, propagate_version = true, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// Where a config is looked for that is not named.
const DEFAULT_CONFIGS: [&str; 2] = ["seawall.toml", "/etc/seawall/seawall.toml"];

const EXAMPLES: &str = "\
Examples:
  seawall demo                                        see it work on this machine
  seawall serve example.com --to 10.0.0.1:8080        put it in front of one server
  seawall check -c seawall.toml                       find every error of a config
  seawall run -c seawall.toml                         run it";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge that a config describes.
    Run(Run),
    /// Run the edge for one site, without a config.
    Serve(Serve),
    /// Read a config and report every error in it.
    Check(ConfigFile),
    /// Run a demonstration with three origin servers and a local CA.
    Demo(Demo),
    /// Show what a running edge does.
    Status(Shown),
    /// Show the origin servers of a running edge, or take one out and back.
    Origins(Origins),
    /// Show the certificates of a running edge, or have one renewed.
    Certs(Certs),
    /// Print the metrics of a running edge in Prometheus' format.
    Metrics(Running),
    /// Tell what becomes of a request: why it is a miss, and what would change it.
    Explain(Explain),
    /// Look into the cache of a running edge.
    Cache(look::Shown),
    /// Have a running edge forget stored responses, or make them stale.
    Purge(Purge),
    /// Tell what a reload would change in a running edge.
    Plan(Shown),
    /// Have a running edge read its config anew; a wrong one changes nothing.
    Reload(Shown),
    /// Have a running edge leave everything to the program as it is on the disk now: a
    /// new process takes its sockets, and the running one finishes its exchanges and
    /// ends. If the new one does not start, nothing changes.
    Upgrade(Shown),
    /// Have a running edge finish its exchanges and stop.
    Drain(Running),
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The config [default: ./seawall.toml, else /etc/seawall/seawall.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Read the config anew whenever its file changes, as `seawall reload` has it.
    #[arg(long)]
    watch: bool,
    /// Take over from the process at the other end of the standard input, which started
    /// this one.
    #[arg(long, hide = true)]
    take_over: bool,
}

#[derive(Debug, Args)]
struct Serve {
    /// The host name of the site.
    name: String,
    /// Its origin servers, as in 10.0.0.1:8080,10.0.0.2:8080.
    #[arg(long, value_name = "ORIGIN", required = true, value_delimiter = ',')]
    to: Vec<String>,
    /// Print the config this stands for, to go on from, and end.
    #[arg(long)]
    print_config: bool,
}

/// Where the demonstration listens.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Port for https; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub https_port: u16,
    /// Port for http; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// Where its CA and certificates are kept [default: $XDG_STATE_HOME/seawall-demo,
    /// else ~/.local/state/seawall-demo].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Which running edge is meant.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// The config the edge runs with, which tells where its admin socket is
    /// [default: ./seawall.toml, else /etc/seawall/seawall.toml].
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// The admin socket itself [default: as the config says, or as `seawall serve` has it].
    #[arg(long, value_name = "SOCKET", conflicts_with = "config", global = true)]
    socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Shown {
    #[command(flatten)]
    pub(super) running: Running,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
struct Certs {
    #[command(flatten)]
    shown: Shown,
    #[command(subcommand)]
    what: Option<CertsCommand>,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Have the certificate of a site made anew.
    Renew {
        /// The name of the site, or one of its other names.
        name: String,
    },
}

/// Runs what the process was started with.
pub fn run() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Run(run) => run_file(&run),
        Command::Serve(serve) => serve_site(&serve),
        Command::Check(file) => check(&file),
        Command::Demo(ports) => demo::run(&ports),
        Command::Status(shown) => show(&shown, "/v1/status", show::status),
        Command::Origins(origins) => origins::run(&origins),
        Command::Certs(certs) => show_certs(&certs),
        Command::Metrics(running) => {
            ask(&running, Method::GET, "/v1/metrics").and_then(|metrics| print(&metrics))
        }
        Command::Explain(explain) => look::explain(&explain),
        Command::Cache(shown) => look::cache(&shown),
        Command::Purge(purge) => purge::run(&purge),
        Command::Plan(shown) => show(&shown, "/v1/plan", show_changes::plan),
        Command::Reload(shown) => tell(&shown, "/v1/reload", show_changes::reloaded),
        Command::Upgrade(shown) => tell(&shown, "/v1/upgrade", show::upgraded),
        Command::Drain(running) => ask(&running, Method::POST, "/v1/drain")
            .and_then(|_| print("the edge takes no new connections, finishes its exchanges and ends")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Any floor's error on its way to the user.
pub(super) type CommandError = Box<dyn std::error::Error + Send + Sync>;

fn report(error: &(dyn std::error::Error + 'static)) {
    let _ = writeln!(io::stderr(), "{}", text_of(error));
}

fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    // Errors of a config are text for people already.
    if let Some(ConfigError::Invalid { rendered, .. }) = error.downcast_ref() {
        return rendered.clone();
    }
    format!("error: {}", story(error))
}

/// Prints `text` as lines. That nobody reads to the end, as `head` does not, is
/// no error.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(io::stdout(), "{text}{end}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The config with the file it is from.
pub(super) fn load(file: &ConfigFile) -> Result<(PathBuf, config::Loaded), CommandError> {
    let path = config_path(file.config.as_deref())?;
    let loaded = config::load(&path)?;
    warn(&loaded)?;
    Ok((path, loaded))
}

fn warn(loaded: &config::Loaded) -> io::Result<()> {
    loaded.warnings.iter().try_for_each(|warning| writeln!(io::stderr(), "{warning}\n"))
}

fn config_path(written: Option<&Path>) -> Result<PathBuf, CommandError> {
    written.map(Path::to_owned).or_else(default_config).ok_or_else(|| {
        let places = DEFAULT_CONFIGS.join(" nor ");
        format!("no config: there is neither {places}; name one with -c FILE").into()
    })
}

fn default_config() -> Option<PathBuf> {
    DEFAULT_CONFIGS.map(PathBuf::from).into_iter().find(|path| path.exists())
}

fn run_file(run: &Run) -> Result<(), CommandError> {
    let predecessor = match run.take_over {
        true => Some(Arc::new(Predecessor::on_standard_input()?)),
        false => None,
    };
    let program = Program::of_this_process();
    let way = Way { is_watched: run.watch, program, predecessor: predecessor.clone() };
    let outcome = load(&run.file).and_then(|(_, loaded)| run_config(loaded, way));
    if let (Err(error), Some(predecessor)) = (&outcome, predecessor) {
        predecessor.failed(text_of(&**error));
    }
    outcome
}

fn run_config(loaded: config::Loaded, way: Way) -> Result<(), CommandError> {
    process::run(loaded, way, |_| {
        process::warn_of_root();
        Ok(())
    })
}

fn serve_site(serve: &Serve) -> Result<(), CommandError> {
    let text = config::serve_text(&serve.name, &serve.to);
    let loaded = config::parse("the command line", &text, Path::new("."))?;
    warn(&loaded)?;
    if serve.print_config {
        return print(&text);
    }
    run_config(loaded, Way::default())
}

fn check(file: &ConfigFile) -> Result<(), CommandError> {
    let (path, loaded) = load(file)?;
    let sites = counted(loaded.config.sites.len(), "site");
    let servers = loaded.config.pools.values().map(|pool| pool.servers.len()).sum();
    print(&format!("{} is valid: {sites}, {}", path.display(), counted(servers, "origin server")))
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Shows what the running edge answers to a GET of `path`.
pub(super) fn show(
    shown: &Shown,
    path: &str,
    render: fn(&serde_json::Value) -> String,
) -> Result<(), CommandError> {
    let answer = ask(&shown.running, Method::GET, path)?;
    match shown.json {
        true => print(&answer),
        false => print(&render(&serde_json::from_str(&answer)?)),
    }
}

/// Has the running edge do what a POST to `path` asks for, and shows what it did.
fn tell(shown: &Shown, path: &str, render: fn(&serde_json::Value) -> String) -> Result<(), CommandError> {
    let answer = ask_with(&shown.running, Method::POST, path, Bytes::new())?;
    match shown.json {
        true => print(&answer),
        false => print(&render(&serde_json::from_str(&answer)?)),
    }
}

fn show_certs(certs: &Certs) -> Result<(), CommandError> {
    let Some(CertsCommand::Renew { name }) = &certs.what else {
        return show(&certs.shown, "/v1/certificates", show::certificates);
    };
    let wanted = serde_json::json!({ "name": name }).to_string();
    let answer = ask_with(&certs.shown.running, Method::POST, "/v1/certificates/renew", wanted.into())?;
    match certs.shown.json {
        true => print(&answer),
        false => print(&show::renewing(&serde_json::from_str(&answer)?)),
    }
}

/// What the running edge answers on its admin socket.
fn ask(running: &Running, method: Method, path: &str) -> Result<String, CommandError> {
    answer(running, async |socket| client::request(socket, method, path).await)
}

/// What it answers to a request with `content`, which may take half a minute.
pub(super) fn ask_with(
    running: &Running,
    method: Method,
    path: &str,
    content: Bytes,
) -> Result<String, CommandError> {
    answer(running, async |socket| client::request_with(socket, method, path, content).await)
}

fn answer(
    running: &Running,
    asked: impl AsyncFnOnce(&Path) -> Result<(StatusCode, Bytes), ControlError>,
) -> Result<String, CommandError> {
    let config = running.config.clone().or_else(default_config);
    let socket = match (&running.socket, config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => config::admin_socket(&config)?,
        (None, None) => config::default_admin_socket(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(asked(&socket))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(body);
    }
    let why = show::refusal(&body);
    let space = if why.contains('\n') { "\n\n" } else { " " };
    Err(format!("the edge answered {status}:{space}{why}").into())
}
