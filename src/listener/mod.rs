//! From sockets to connections: binds, accepts within the limits, lets load
//! balancers that are listed tell whose connection it is, ends TLS by `tls` and
//! hands each connection to `front`. It never reads a request.

mod accept;
mod bind;
mod connection;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod proxied;
mod proxy_protocol;

pub use accept::{Listener, Transport};
pub use bind::{BindError, Bound, bind, bind_over, overlap};
pub use limits::ConnectionLimits;
