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
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// The address of `admin.metrics`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers on the socket.
    #[error("cannot connect: is seawall running? socket {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket belongs to another user.
    #[error("not allowed to use the admin socket {}: be the user that seawall runs as", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer in time: is seawall running? socket {}", path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed, or what came was no usable answer.
    #[error("no usable answer: is seawall running? socket {}", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// What the HTTP library said.
        source: Box<dyn Error + Send + Sync>,
    },
}
