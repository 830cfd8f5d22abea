//! Reads the PROXY header of a connection, and nothing behind it: that belongs
//! to TLS or HTTP.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::proxy_protocol::{Ends, Malformed, Parsed, parse};

/// How much is looked at at a time: more than headers have as a rule.
const LOOK_AHEAD: usize = 512;

/// Why a connection has no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// It did not come whole in time.
    #[error("the PROXY header did not come in time")]
    TimedOut,
    /// The connection ended without a byte, as one does that only looks whether
    /// somebody listens.
    #[error("the connection ended before it began")]
    Unused,
    /// It ended within the header.
    #[error("the connection ended in the PROXY header")]
    Closed,
    /// It began with something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It broke.
    #[error("the connection failed in the PROXY header")]
    Io(#[from] io::Error),
}

/// Takes the header off `stream` until `deadline`; `None` if it tells of no
/// addresses.
pub(super) async fn read(stream: &mut TcpStream, deadline: Instant) -> Result<Option<Ends>, HeaderError> {
    timeout_at(deadline, read_untimed(stream)).await.unwrap_or(Err(HeaderError::TimedOut))
}

async fn read_untimed(stream: &mut TcpStream) -> Result<Option<Ends>, HeaderError> {
    let mut header = Vec::with_capacity(LOOK_AHEAD);
    loop {
        let taken = header.len();
        header.resize(taken + LOOK_AHEAD, 0);
        let seen = stream.peek(&mut header[taken..]).await?;
        if seen == 0 {
            return Err(if taken == 0 { HeaderError::Unused } else { HeaderError::Closed });
        }
        header.truncate(taken + seen);
        // What is incomplete is all header, and is taken, so that the next look
        // waits for more.
        let (length, ends) = match parse(&header)? {
            Parsed::Incomplete => (header.len(), None),
            Parsed::Header { length, ends } => (length, Some(ends)),
        };
        stream.read_exact(&mut header[taken..length]).await?;
        if let Some(ends) = ends {
            return Ok(ends);
        }
    }
}
