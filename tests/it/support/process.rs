//! The real program as a process of its own, with its configuration and state
//! in a temporary directory.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, ports};

/// A command line of the program, its surroundings cleared of what could
/// change what it does.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(arguments);
    for name in ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What the program says to `arguments` and how it ends, which must be soon.
pub(crate) async fn output(arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running::spawn(&mut command);
    let status = eventually("the program ends", || child.0.try_wait().unwrap()).await;
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    child.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    child.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// A process that ends with the test at the latest.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())))
    }

    /// Ends it without a word, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `seawall run`, running.
pub(crate) struct Seawall {
    process: Running,
    directory: TempDir,
    /// Where it takes cleartext.
    pub(crate) http: SocketAddr,
    /// Where it takes TLS.
    pub(crate) https: SocketAddr,
}

impl Seawall {
    /// Runs it with `tables` (sites, pools, limits) after the keys that every
    /// test needs, and waits until it listens.
    pub(crate) async fn start(tables: &str) -> Self {
        let (http, https) = (ports::free_address(), ports::free_address());
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("seawall.toml");
        fs::write(&config, configuration(directory.path(), http, https, tables)).unwrap();
        let mut command = command(&["run", "-c", config.to_str().unwrap()]);
        command.stdout(File::create(directory.path().join("stdout")).unwrap());
        command.stderr(File::create(directory.path().join("stderr")).unwrap());
        let mut seawall = Self { process: Running::spawn(&mut command), directory, http, https };
        for address in [http, https] {
            seawall.listens(address).await;
        }
        seawall
    }

    async fn listens(&mut self, address: SocketAddr) {
        eventually("the program listens", || {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                panic!("the program ended with {status}");
            }
            TcpStream::connect(address).ok()
        })
        .await;
    }

    /// The certificate of its local CA.
    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join("state/ca/ca.pem")
    }

    /// Asks it to drain and end.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_child(&self.process.0);
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits until it takes no new connections.
    pub(crate) async fn refuses_connections(&self) {
        eventually("the program stops listening", || TcpStream::connect(self.http).err()).await;
    }

    /// How it ended, once it has.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        eventually("the program ends", || self.process.0.try_wait().unwrap()).await
    }

    /// The first `count` records of the access log, once they are written.
    pub(crate) async fn access_records(&self, count: usize) -> Vec<Value> {
        eventually("the access log is written", || {
            let records = self.access_log();
            (records.len() >= count).then_some(records)
        })
        .await
    }

    fn access_log(&self) -> Vec<Value> {
        let text = self.read("access.log");
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Seawall {
    fn drop(&mut self) {
        self.process.kill();
        let diagnostics = self.read("stderr");
        if std::thread::panicking() {
            eprintln!("--- the program said ---\n{}{diagnostics}", self.read("stdout"));
        } else {
            assert!(!diagnostics.contains("panicked"), "{diagnostics}");
        }
    }
}

/// The keys that every test needs, then `tables`.
pub(crate) fn configuration(directory: &Path, http: SocketAddr, https: SocketAddr, tables: &str) -> String {
    let directory = directory.display();
    format!(
        r#"state_dir = "{directory}/state"
workers = 2
listen = {{ http = ["{http}"], https = ["{https}"] }}
log = {{ access = "{directory}/access.log", format = "json" }}
admin = {{ socket = "{directory}/admin.sock" }}
{tables}"#
    )
}
