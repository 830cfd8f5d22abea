//! curl, the program: what a client that is not ours sees.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use super::process::finished;

/// `curl https://NAME/` to `address`, with the fields of the response before
/// its content. `trust` is the one root it believes; without, it believes all.
pub(crate) async fn get(name: &str, address: SocketAddr, trust: Option<&Path>) -> Output {
    let port = address.port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "10", "--noproxy", "*"]);
    match trust {
        Some(root) => command.arg("--cacert").arg(root),
        None => command.arg("--insecure"),
    };
    command.arg("--resolve").arg(format!("{name}:{port}:{}", address.ip()));
    finished(command.arg(format!("https://{name}:{port}/"))).await
}
