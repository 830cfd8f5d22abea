//! A real HAProxy as load balancer: it passes connections on as they are, and
//! tells whose they are.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::process::Running;
use super::{eventually, ports};

/// A running HAProxy before one server.
pub(crate) struct Haproxy {
    _process: Running,
    _directory: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Haproxy {
    /// Passes connections on to `server`, with these `options` of its `server`
    /// line, and waits until it listens.
    pub(crate) async fn start(server: SocketAddr, options: &str) -> Self {
        Self::listening("", server, options).await
    }

    /// The same with these `bind` options of its `bind` line.
    pub(crate) async fn listening(bind: &str, server: SocketAddr, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = ports::free_address();
        let config = directory.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 20s\n timeout server 20s\n\
             listen edge\n bind {address} {bind}\n server edge {server} {options}\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Running::spawn(&mut command);
        eventually("HAProxy listens", || {
            if let Some(status) = process.0.try_wait().unwrap() {
                panic!("HAProxy ended with {status}");
            }
            TcpStream::connect(address).ok()
        })
        .await;
        Self { _process: process, _directory: directory, address }
    }
}
