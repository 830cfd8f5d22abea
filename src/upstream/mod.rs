//! One request to one origin server: connections that are opened, kept idle
//! and bounded, the request as it leaves, the response as it comes in, and the
//! deadlines between them. It never decides which server is asked, nor whether
//! a failed request is sent to another one.

mod both_ways;
mod connect;
mod connection;
mod content;
mod endpoint;
mod error;
mod exchange;
mod failure;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod http2;
mod idle;
#[cfg(test)]
pub(crate) mod in_memory;
mod inbound;
mod introduction;
mod lifetime;
mod open;
mod opening;
mod outbound;
mod probe;
mod read_ahead;
mod server;
mod silence;
mod slots;
mod stream;
#[cfg(test)]
pub(crate) mod test_origin;
mod tls;
mod upgrade;
mod upload;
mod via;

pub use connect::ConnectError;
pub use endpoint::Endpoint;
pub use error::UpstreamError;
pub use outbound::OutboundRequest;
pub use probe::ProbeError;
pub use server::OriginServer;
pub use slots::Room;
pub use tls::client_config;
pub use via::Pseudonym;
