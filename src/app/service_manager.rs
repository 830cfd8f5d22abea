//! What a service manager such as systemd is told (sd_notify(3)): that the edge
//! serves, and which process it is. Without one, nothing.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where it wants to be told.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells it `state`, such as `READY=1`. Never waits; that it does not hear is told.
pub(super) fn tell(state: &str) {
    let Some(name) = std::env::var_os(SOCKET) else { return };
    let told = || -> io::Result<usize> {
        let name = name.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = told() {
        tracing::warn!(error = &error as &dyn std::error::Error, state, "the service manager is not told");
    }
}
