//! What can go wrong between the command line and a running process, and when
//! the sockets for it are made.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The admin socket or the metrics endpoint cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process answers on the socket.
    #[error("another seawall runs already: it answers on the admin socket {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("{} is there and is no socket: move it away or set another admin.socket", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The socket, or the directory for it, cannot be made.
    #[error("cannot make the admin socket {}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address for Prometheus cannot be listened on.
    #[error("cannot listen on {address} for admin.metrics{}", remark(source))]
    Metrics {
        /// The address of `admin.metrics`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers on the socket.
    #[error(
        "no seawall answers on the admin socket {}: it does not run, or with another config; where admin.socket, \
         state_dir or user was changed since its start, name its own with --socket", path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket belongs to another user.
    #[error("only root and the user that seawall runs as may use the admin socket {}", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer in time on the admin socket {}", path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed, or what came was no usable answer.
    #[error("no usable answer on the admin socket {}", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// What the HTTP library said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What to make of an error where it is not plain from the system's words.
fn remark(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": the port is taken by another process",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    }
}
