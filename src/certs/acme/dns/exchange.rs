//! One message of the DNS to a server and one back, over TCP (RFC 7766 s8), which
//! bounds them at 64 KiB. What they say is nothing to it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certs::dns_error::DnsError;

/// Sends a message, and returns the answer of a server that has so long for it.
pub(super) async fn exchange(server: &str, message: &[u8], patience: Duration) -> Result<Vec<u8>, DnsError> {
    let exchanged = tokio::time::timeout(patience, send(server, message)).await;
    exchanged.map_err(|_| DnsError::Deadline)?.map_err(DnsError::Io)
}

async fn send(server: &str, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
