//! What a client writes, in whatever pieces, read in whatever pieces; and how often the
//! socket is looked at for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, Join, ReadBuf, join};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::*;

/// Counts the looks at a socket.
struct Counted {
    socket: OwnedReadHalf,
    looks: usize,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.looks += 1;
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

type Socket = Join<Counted, OwnedWriteHalf>;

async fn ends() -> (Edge, TlsStream<TcpStream>, Plaintext<Socket>) {
    let edge = edge(&["a.test"]).await;
    let client = client("a.test");
    let serve = async {
        let (stream, _) = edge.listener.accept().await.unwrap();
        let (socket, writer) = stream.into_split();
        let stream = join(Counted { socket, looks: 0 }, writer);
        let deadline = SystemClock.now() + Duration::from_secs(10);
        accept(stream, &edge.tls, deadline, &edge.metrics).await.unwrap()
    };
    let (stream, accepted) = tokio::join!(async { client.connect(&edge).await.unwrap() }, serve);
    let Accepted::Http { stream: plaintext, .. } = accepted else { panic!("no HTTP") };
    (edge, stream, plaintext)
}

#[tokio::test]
async fn what_is_sent_is_read_in_any_pieces() {
    let sent: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
    for (written, read) in [(1000, 1), (7, 4096), (16_384, 300), (50_000, 100_000)] {
        let (_edge, mut client, mut plaintext) = ends().await;
        let sent = if read == 1 { &sent[..5000] } else { &sent[..] };
        let write = async {
            for piece in sent.chunks(written) {
                client.write_all(piece).await.unwrap();
            }
            client.shutdown().await.unwrap();
        };
        let received = async {
            let (mut received, mut piece) = (Vec::new(), vec![0; read]);
            loop {
                match plaintext.read(&mut piece).await.unwrap() {
                    0 => return received,
                    length => received.extend_from_slice(&piece[..length]),
                }
            }
        };
        let ((), received) = tokio::join!(write, received);
        assert!(received == sent, "{written} and {read}");
    }
}

#[tokio::test]
async fn what_has_come_costs_one_look_at_the_socket() {
    let (_edge, mut client, mut plaintext) = ends().await;
    let mut piece = [0; 1000];
    for _ in 0..3 {
        // Several records that arrive at once are read at once.
        client.get_mut().1.set_buffer_limit(None);
        io::Write::write_all(&mut client.get_mut().1.writer(), b"hello").unwrap();
        io::Write::write_all(&mut client.get_mut().1.writer(), b", you").unwrap();
        client.flush().await.unwrap();
        plaintext.stream().get_ref().0.reader().socket.readable().await.unwrap();
        let before = plaintext.stream().get_ref().0.reader().looks;
        assert_eq!(plaintext.read(&mut piece).await.unwrap(), 10);
        assert_eq!(plaintext.stream().get_ref().0.reader().looks, before + 1);
    }
}

#[tokio::test]
async fn an_end_that_was_not_said_is_an_error_after_what_came() {
    let (_edge, mut client, mut plaintext) = ends().await;
    client.write_all(b"hel").await.unwrap();
    client.flush().await.unwrap();
    client.get_mut().0.shutdown().await.unwrap();
    let mut piece = [0; 1000];
    assert_eq!(plaintext.read(&mut piece).await.unwrap(), 3);
    for _ in 0..2 {
        let error = plaintext.read(&mut piece).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
