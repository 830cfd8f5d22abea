//! ClientHellos in odd pieces, without an end, and what is none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// Takes and gives one byte at a time.
struct SingleBytes(TcpStream);

impl AsyncRead for SingleBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut one = [0];
        let mut byte = ReadBuf::new(&mut one);
        std::task::ready!(Pin::new(&mut self.0).poll_read(context, &mut byte))?;
        buffer.put_slice(byte.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SingleBytes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, &bytes[..bytes.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_handshake_in_single_bytes_is_done() {
    let edge = edge(&["a.test"]).await;
    for version in [&TLS12, &TLS13] {
        let client = async {
            let connector = TlsConnector::from(Arc::new(client_of("a.test", &[version]).config));
            let stream = edge.tcp().await;
            stream.set_nodelay(true).unwrap();
            connector.connect(ServerName::try_from("a.test").unwrap(), SingleBytes(stream)).await.unwrap()
        };
        let (_client, accepted) = tokio::join!(client, edge.accept());
        let Accepted::Http { session, .. } = accepted.unwrap() else { panic!("no HTTP") };
        assert_eq!(session.sni.as_deref(), Some("a.test"));
    }
}

/// A record (RFC 8446 s5.1) of a type with some content.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1], &length[..], content].concat()
}

/// Writes `pieces` for as long as the edge takes them, 64 MiB at the most; says what
/// it answered.
async fn flood(edge: &Edge, first: &[u8], again: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = edge.tcp().await.into_split();
    let write = async {
        let batch = again.repeat(1 + (64 << 10) / again.len());
        let mut taken = writer.write_all(first).await;
        let mut left: usize = 64 << 20;
        while taken.is_ok() && left > 0 {
            taken = writer.write_all(&batch).await;
            left = left.saturating_sub(batch.len());
        }
    };
    let mut answer = Vec::new();
    let read = async {
        // What came before a reset is an answer, too.
        while matches!(reader.read_buf(&mut answer).await, Ok(1..)) {}
    };
    tokio::join!(write, read);
    answer
}

#[tokio::test]
async fn a_flood_of_records_ends_in_an_alert() {
    let edge = edge(&["a.test"]).await;
    // A hello of 16 MiB, the most that its length can say.
    let endless = record(22, &[1, 0xff, 0xff, 0xff]);
    let more = record(22, &[0; 16 << 10]);
    let begun = hello();
    for (what, first, again) in [
        ("an endless hello", &endless[..], &more[..]),
        ("an endless hello in crumbs", &endless[..4 + 5], &record(22, &[0])),
        ("empty records", &[], &record(22, &[])),
        ("application data", &[], &record(23, &[0; 1000])),
        ("changes of ciphers", &[], &record(20, &[1])),
        ("warnings", &[], &record(21, &[1, 90])),
        ("one hello after another", &begun, &begun),
    ] {
        let serve = async {
            // The rest of the flood shall meet a closed connection.
            edge.accept().await.map(drop)
        };
        let (answer, accepted) = tokio::join!(flood(&edge, first, again), serve);
        let error = accepted.unwrap_err();
        assert!(matches!(error, HandshakeError::Failed(_)), "{what}: {error}");
        // A reset may take the alert with it; after a ServerHello it is encrypted.
        assert!(matches!(answer.first(), None | Some(21 | 22)), "{what}: {:?}", answer.first());
    }
}
