//! What the user types: parsed, run, and answered with an exit code. 0: done; 1:
//! it failed, and the reason stands on standard error; 2: not understood.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use http::Method;

use super::{demo, process};
use crate::config;
use crate::control::{client, show};

/// A caching edge proxy: automatic certificates, an RFC 9111 cache and load
/// balancing in front of your website.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, propagate_version = true, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  seawall demo                                        see it work on this machine
  seawall serve example.com --to 10.0.0.1:8080        put it in front of one server
  seawall check -c seawall.toml                       find every error of a config
  seawall run -c seawall.toml                         run it";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge that a config describes.
    Run(ConfigFile),
    /// Run the edge for one site, without a config.
    Serve(Serve),
    /// Read a config and report every error in it.
    Check(ConfigFile),
    /// Run a demonstration with three origin servers and a local CA.
    Demo(Demo),
    /// Show what a running edge does.
    Status(Running),
    /// Show the origin servers of a running edge.
    Origins(Running),
    /// Show the certificates of a running edge.
    Certs(Running),
    /// Print the metrics of a running edge in Prometheus' format.
    Metrics(Running),
    /// Have a running edge finish its exchanges and stop.
    Drain(Running),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The config [default: ./seawall.toml, else /etc/seawall/seawall.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Serve {
    /// The host name of the site.
    name: String,
    /// Its origin servers, such as 10.0.0.1:8080,10.0.0.2:8080.
    #[arg(long, value_name = "ORIGIN", required = true, value_delimiter = ',')]
    to: Vec<String>,
    /// Print the config this stands for, and end.
    #[arg(long)]
    print_config: bool,
}

/// Where the demonstration listens.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Port for https.
    #[arg(long, default_value_t = 8443)]
    pub https_port: u16,
    /// Port for http.
    #[arg(long, default_value_t = 8080)]
    pub http_port: u16,
    /// Where its CA and certificates are kept [default: a folder of the user's].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Running {
    /// The config the edge runs with: tells where its admin socket is.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin socket itself.
    #[arg(long, value_name = "SOCKET", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs what the process was started with.
pub fn run() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Run(file) => load(&file).and_then(run_config),
        Command::Serve(serve) => serve_site(&serve),
        Command::Check(file) => check(&file),
        Command::Demo(ports) => demo::run(&ports),
        Command::Status(running) => ask(&running, Method::GET, "/v1/status", Some(show::status)),
        Command::Origins(running) => ask(&running, Method::GET, "/v1/origins", Some(show::origins)),
        Command::Certs(running) => ask(&running, Method::GET, "/v1/certificates", Some(show::certificates)),
        Command::Metrics(running) => ask(&running, Method::GET, "/v1/metrics", None),
        Command::Drain(running) => ask(&running, Method::POST, "/v1/drain", None),
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

fn report(error: &dyn std::error::Error) {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    let _ = match message.starts_with("error") {
        true => writeln!(io::stderr(), "{message}"),
        false => writeln!(io::stderr(), "error: {message}"),
    };
}

fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        io::stdout().write_all(b"\n")?;
    }
    Ok(())
}

fn load(file: &ConfigFile) -> Result<config::Loaded, CommandError> {
    let loaded = config::load(&config_path(file.config.as_deref())?)?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "{warning}")?;
    }
    Ok(loaded)
}

fn config_path(written: Option<&Path>) -> Result<PathBuf, CommandError> {
    const PLACES: [&str; 2] = ["seawall.toml", "/etc/seawall/seawall.toml"];
    match written {
        Some(path) => Ok(path.to_owned()),
        None => PLACES.map(PathBuf::from).into_iter().find(|path| path.exists()).ok_or_else(|| {
            format!("no config: {} are not there; name one with -c FILE", PLACES.join(" and ")).into()
        }),
    }
}

fn run_config(loaded: config::Loaded) -> Result<(), CommandError> {
    process::run(loaded, |_| Ok(()))
}

fn serve_site(serve: &Serve) -> Result<(), CommandError> {
    let text = config::serve_text(&serve.name, &serve.to);
    if serve.print_config {
        return print(&text);
    }
    let loaded = config::parse("the command line", &text, Path::new("."))?;
    run_config(loaded)
}

fn check(file: &ConfigFile) -> Result<(), CommandError> {
    let config = load(file)?.config;
    let sites = config.sites.len();
    let servers: usize = config.pools.values().map(|pool| pool.servers.len()).sum();
    print(&format!("ok: {sites} site(s), {servers} origin server(s)"))
}

fn ask(
    running: &Running,
    method: Method,
    path: &str,
    render: Option<fn(&serde_json::Value) -> String>,
) -> Result<(), CommandError> {
    let socket = match &running.socket {
        Some(socket) => socket.clone(),
        None => config::load(&config_path(running.config.as_deref())?)?.config.admin.socket,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(client::request(&socket, method, path))?;
    let body = String::from_utf8_lossy(&body);
    if !status.is_success() {
        return Err(format!("{status}: {}", body.trim()).into());
    }
    match render.filter(|_| !running.json) {
        Some(render) => print(&render(&serde_json::from_str(&body)?)),
        None => print(&body),
    }
}
