//! A real nginx as origin server: one process, a static site, and an access
//! log that says what reached it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::process::Running;
use super::{eventually, ports};

const CONFIG: &str = "nginx.conf";

/// A running nginx.
pub(crate) struct Nginx {
    process: Running,
    directory: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// Serves `root` and waits until it listens.
    pub(crate) async fn start(root: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = ports::free_address();
        fs::write(directory.path().join(CONFIG), configuration(directory.path(), root, address)).unwrap();
        let mut nginx = Self { process: spawn(directory.path()), directory, address };
        nginx.listens().await;
        nginx
    }

    /// Runs it again in the same place after it was killed, and waits until it listens.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.directory.path());
        self.listens().await;
    }

    async fn listens(&mut self) {
        eventually("nginx listens", || {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                panic!("nginx ended with {status}: {}", self.read("error.log"));
            }
            TcpStream::connect(self.address).ok()
        })
        .await;
    }

    /// The targets of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.read("access.log").lines().map(str::to_owned).collect()
    }

    /// Kills it as the kernel would: no answer is finished.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

fn spawn(directory: &Path) -> Running {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-c").arg(directory.join(CONFIG));
    command.arg("-e").arg(directory.join("error.log"));
    Running::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// `sendfile` is off so that a small answer leaves in one write: what a kill
/// cuts is then always an answer that has not begun.
fn configuration(directory: &Path, root: &Path, address: SocketAddr) -> String {
    let (directory, root) = (directory.display(), root.display());
    format!(
        r#"daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format target '$request_uri';
    access_log {directory}/access.log target;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile off;
    keepalive_requests 100000;
    server {{
        listen {address};
        root {root};
        add_header Cache-Control "public, max-age=600";
    }}
}}
"#
    )
}
