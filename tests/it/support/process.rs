//! The real program as a process of its own, with its configuration and state
//! in a temporary directory.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, ports, within};

/// A command line of the program, its surroundings cleared of what could
/// change what it does.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = with_clear_surroundings(Command::new(env!("CARGO_BIN_EXE_seawall")));
    command.args(arguments);
    command
}

fn with_clear_surroundings(mut command: Command) -> Command {
    for name in ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What the program says to `arguments` and how it ends, which must be soon.
pub(crate) async fn output(arguments: &[&str]) -> Output {
    finished(&mut command(arguments)).await
}

/// What a program says and how it ends, which must be soon.
pub(crate) async fn finished(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running::spawn(command);
    let status = eventually("the program ends", || child.0.try_wait().unwrap()).await;
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    child.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    child.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// All that a program said.
pub(crate) fn words(output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    said(&output.stdout) + &said(&output.stderr)
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
    /// The processes that took over since, one from the other.
    successors: Vec<Pid>,
    /// What it would begin anew with.
    pub(crate) place: Place,
    /// Where it takes cleartext.
    pub(crate) http: SocketAddr,
    /// Where it takes TLS.
    pub(crate) https: SocketAddr,
}

/// Where a `seawall run` is to be: its ports, its state and its config.
pub(crate) struct Place {
    directory: TempDir,
    /// A command that is to run it, and its arguments.
    under: Vec<String>,
    /// Further arguments of `seawall run`.
    pub(crate) arguments: &'static [&'static str],
    /// Further keys of `listen`.
    pub(crate) listen: String,
    /// Where it will take cleartext.
    pub(crate) http: SocketAddr,
    /// Where it will take TLS.
    pub(crate) https: SocketAddr,
}

impl Place {
    /// A place of its own.
    pub(crate) fn new() -> Self {
        let (http, https) = (ports::free_address(), ports::free_address());
        let (under, listen) = (Vec::new(), String::new());
        Self { directory: tempfile::tempdir().unwrap(), under, arguments: &[], listen, http, https }
    }

    /// Writes a config with `tables` (sites, pools, limits) after the keys that
    /// every test needs.
    pub(crate) fn configure(&self, tables: &str) {
        let (http, https, further) = (self.http, self.https, &self.listen);
        let listen = format!(r#"{{ http = ["{http}"], https = ["{https}"], {further} }}"#);
        let text = configuration(self.path(), &listen, tables);
        fs::write(self.config(), text).unwrap();
    }

    /// Has another command run the program, which becomes the program.
    pub(crate) fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Runs the program with what is there and waits until it listens.
    pub(crate) async fn run(self) -> Seawall {
        let mut seawall = self.begin();
        seawall.listens().await;
        seawall
    }

    /// Runs the program with what is there, and waits for nothing.
    pub(crate) fn begin(self) -> Seawall {
        let (http, https) = (self.http, self.https);
        let (process, successors) = (self.spawn(), Vec::new());
        Seawall { process, successors, place: self, http, https }
    }

    /// Its config file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("seawall.toml")
    }

    /// Where all its files are.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn spawn(&self) -> Running {
        let config = self.config();
        let arguments = [&["run", "-c", config.to_str().unwrap()], self.arguments].concat();
        let mut command = match &self.under[..] {
            [] => command(&arguments),
            [program, words @ ..] => {
                let mut command = with_clear_surroundings(Command::new(program));
                command.args(words).arg(env!("CARGO_BIN_EXE_seawall")).args(arguments);
                command
            }
        };
        command.stdout(File::create(self.path().join("stdout")).unwrap());
        command.stderr(File::create(self.path().join("stderr")).unwrap());
        Running::spawn(&mut command)
    }
}

impl Seawall {
    /// Runs it with `tables` (sites, pools, limits) after the keys that every
    /// test needs, and waits until it listens.
    pub(crate) async fn start(tables: &str) -> Self {
        let place = Place::new();
        place.configure(tables);
        place.run().await
    }

    async fn listens(&mut self) {
        for address in [self.http, self.https] {
            eventually("the program listens", || {
                if let Some(status) = self.process.0.try_wait().unwrap() {
                    panic!("the program ended with {status}");
                }
                TcpStream::connect(address).ok()
            })
            .await;
        }
    }

    /// Kills it as the kernel would, and runs it again in the same place.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.process.kill();
        self.process = self.place.spawn();
        self.listens().await;
    }

    /// What a `command` that asks a running edge says to its config.
    pub(crate) async fn ask(&self, command: &str, arguments: &[&str]) -> Output {
        let config = self.place.config();
        let all = [&[command, "-c", config.to_str().unwrap()], arguments].concat();
        output(&all).await
    }

    /// Its configuration file, its logs and its state are here.
    pub(crate) fn directory(&self) -> &Path {
        self.place.path()
    }

    /// The certificate of its local CA.
    pub(crate) fn ca(&self) -> PathBuf {
        self.directory().join("state/ca/ca.pem")
    }

    /// Asks it to drain and end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// From now on it may open no more than `files` files.
    pub(crate) fn limit_open_files(&self, files: u64) {
        let limit = Rlimit { current: Some(files), maximum: Some(files) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// Its process id: that of the last one that took over.
    pub(crate) fn pid(&self) -> Pid {
        self.successors.last().copied().unwrap_or_else(|| Pid::from_child(&self.process.0))
    }

    /// Has a new process take over; what was said to that.
    pub(crate) async fn upgrade(&mut self) -> Output {
        let output = self.ask("upgrade", &["--json"]).await;
        if output.status.success() {
            let upgraded: Value = serde_json::from_slice(&output.stdout).unwrap();
            let pid = upgraded["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
            self.successors.push(pid.unwrap());
        }
        output
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// What it has said of itself so far.
    pub(crate) fn diagnostics(&self) -> String {
        self.read("stdout") + &self.read("stderr")
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

    /// The first record of the access log that is the one, if there is one yet.
    pub(crate) fn logged(&self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        self.access_log().into_iter().find(is_it)
    }

    /// A metric by its name and labels, as the running program tells it.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let socket = self.directory().join("admin.sock");
        let said = output(&["metrics", "--socket", socket.to_str().unwrap()]).await;
        let page = String::from_utf8(said.stdout).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_is(&self, name: &str, value: u64) {
        within("a metric changes", async {
            while self.metric(name).await != Some(value) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn access_log(&self) -> Vec<Value> {
        let text = self.read("access.log");
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// What one of its files holds: `stdout`, `stderr`, `access.log` and others.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory().join(name)).unwrap_or_default()
    }
}

impl Drop for Seawall {
    fn drop(&mut self) {
        self.process.kill();
        for pid in &self.successors {
            // Most are gone.
            let _ = kill_process(*pid, Signal::KILL);
        }
        let diagnostics = self.read("stderr");
        if std::thread::panicking() {
            eprintln!("--- the program said ---\n{}{diagnostics}", self.read("stdout"));
        } else {
            assert!(!diagnostics.contains("panicked"), "{diagnostics}");
        }
    }
}

/// The keys that every test needs, then `tables`, which may begin with more keys.
fn configuration(directory: &Path, listen: &str, tables: &str) -> String {
    let directory = directory.display();
    format!(
        r#"state_dir = "{directory}/state"
workers = 2
listen = {listen}
log = {{ access = "{directory}/access.log", format = "json" }}
admin.socket = "{directory}/admin.sock"
{tables}"#
    )
}
