//! From sockets to connections: binds, accepts within the limits, ends TLS by
//! `tls` and hands each connection to `front`. It never reads a request.

mod accept;
mod bind;
mod limits;

pub use accept::{Listener, Transport};
pub use bind::{BindError, Bound, bind};
pub use limits::ConnectionLimits;
