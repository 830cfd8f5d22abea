//! `admin`: how the process is looked into.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::listen::collide;
use super::machine::Machine;
use super::model::{Admin, Listen};
use super::read::{Diagnostic, Fault, Table, Value};

/// The longest path of the admin socket: a Unix socket's has 107 bytes at most (`sun_path`,
/// NUL excluded), and that of a process that takes over ends with `.next` at first.
const SOCKET_PATH: usize = 102;

/// Reads the table; the socket's default is beside the state.
pub(super) fn read(table: &mut Table<'_>, state_dir: &Path, listen: &Listen) -> Admin {
    table.not_yet(&["listen", "token"]);
    Admin { socket: socket(table, state_dir), metrics: metrics(table, listen) }
}

/// Where the socket is if the config does not say.
pub(super) fn default_socket(machine: &Machine, state_dir: &Path) -> PathBuf {
    machine.runtime_dir.as_deref().unwrap_or(state_dir).join("admin.sock")
}

fn socket(table: &mut Table<'_>, state_dir: &Path) -> PathBuf {
    let written = table.value("socket");
    let socket = written
        .as_ref()
        .and_then(Value::path)
        .unwrap_or_else(|| default_socket(table.reading.machine, state_dir));
    let length = socket.as_os_str().as_bytes().len();
    if length > SOCKET_PATH {
        let reason = format!("the path has {length} bytes, an admin socket's at most {SOCKET_PATH}");
        match written {
            Some(value) => value.fault(Fault::new(reason)),
            None => table.reading.report(
                Diagnostic::error(format!("no admin socket at {}", socket.display()))
                    .at(table.span.clone(), reason)
                    .help("set `socket` in [admin] to a shorter path"),
            ),
        }
    }
    socket
}

fn metrics(table: &mut Table<'_>, listen: &Listen) -> Option<std::net::SocketAddr> {
    let value = table.value("metrics")?;
    let address = value.address()?;
    if listen.http.iter().chain(&listen.https).any(|taken| collide(*taken, address)) {
        value.fault(Fault::new("clients are listened for here already").help("give it a port of its own"));
    }
    Some(address)
}
