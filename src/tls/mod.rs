//! Takes a connection through its TLS handshake, within one deadline. Which
//! certificate it gets is decided in `certs`; what is said after the handshake
//! is no concern of this floor.

mod accept;
mod config;
mod plaintext;
mod subject;
#[cfg(test)]
mod tests;
mod tickets;

pub use accept::{Accepted, Alpn, HandshakeError, accept};
pub use config::{ClientAuthError, Tls};
pub use plaintext::Plaintext;
pub use tickets::Tickets;
