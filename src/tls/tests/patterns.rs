//! What goes through the plaintext side of a connection in any pattern of writes and reads,
//! both ways at once, against what goes through the stream that it stands before.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use proptest::prelude::*;
use proptest::sample::Index;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, split};
use tokio_rustls::LazyConfigAcceptor;

use super::*;
use crate::base::SENT_AT_ONCE;

/// Where a connection holds less than a record of ChangeCipherSpec, two ends of rustls wait
/// for each other for ever: neither reads in a handshake before it has written.
const LEAST_CAPACITY: usize = 6;

/// So many times the connection and the reader's buffer are filled at most.
const FILLED: usize = 200;

/// What is read at an end that was said, and at one that was not.
const CLOSED: [Result<usize, io::ErrorKind>; 2] = [Ok(0); 2];
const CUT: [Result<usize, io::ErrorKind>; 2] = [Err(io::ErrorKind::UnexpectedEof); 2];

/// What is in the buffer already where somebody reads.
const READ_BEFORE: &[u8] = b"before";

#[derive(Clone, Copy, Debug)]
struct Write {
    length: usize,
    is_vectored: bool,
    is_flushed: bool,
}

/// What one end does.
#[derive(Clone, Debug)]
struct End {
    writes: Vec<Write>,
    /// How much is read at a time, over and over, and whether others have a turn before.
    reads: Vec<(usize, bool)>,
}

#[derive(Clone, Debug)]
struct Pattern {
    client: End,
    server: End,
    /// What the connection holds each way.
    capacity: usize,
    version: &'static SupportedProtocolVersion,
    /// Where what the client sends after its handshake is cut.
    cut: Option<Index>,
    /// True if the server says that it has sent all.
    is_end_said: bool,
}

fn end() -> impl Strategy<Value = End> {
    let write = (1usize..40_000, any::<bool>(), any::<bool>());
    let write = write.prop_map(|(length, is_vectored, is_flushed)| Write { length, is_vectored, is_flushed });
    let read = (prop_oneof![1usize..100, 100usize..50_000], any::<bool>());
    (prop::collection::vec(write, 0..8), prop::collection::vec(read, 1..5))
        .prop_map(|(writes, reads)| End { writes, reads })
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let capacity = prop_oneof![LEAST_CAPACITY..100, 100usize..50_000];
    let version = prop_oneof![Just(&TLS13), Just(&TLS12)];
    let cut = prop::option::of(any::<Index>());
    (end(), end(), capacity, version, cut, any::<bool>()).prop_map(
        |(mut client, mut server, capacity, version, cut, is_end_said)| {
            let most = |reader: &End| FILLED * capacity.min(reader.read_at_once());
            let (to_client, to_server) = (most(&client), most(&server));
            client.fit(to_server);
            server.fit(to_client);
            Pattern { client, server, capacity, version, cut, is_end_said }
        },
    )
}

impl End {
    /// How much it reads at a time, in the mean.
    fn read_at_once(&self) -> usize {
        let sizes: usize = self.reads.iter().map(|(size, _)| size).sum();
        sizes.div_ceil(self.reads.len())
    }

    /// Leaves out what is beyond so many bytes.
    fn fit(&mut self, most: usize) {
        let mut left = most;
        self.writes.retain_mut(|write| {
            write.length = write.length.min(left);
            left -= write.length;
            write.length > 0
        });
    }

    /// All that it sends.
    fn sent(&self) -> Vec<u8> {
        let length = self.writes.iter().map(|write| write.length).sum();
        (0..length).map(|index: usize| (index % 251) as u8).collect()
    }

    /// Sends all.
    async fn write(&self, writer: &mut (impl AsyncWrite + Unpin)) {
        let sent = self.sent();
        let mut rest = &sent[..];
        for write in &self.writes {
            let (now, later) = rest.split_at(write.length);
            if write.is_vectored {
                let (first, second) = now.split_at(now.len() / 2);
                writer.write_all_buf(&mut Buf::chain(first, second)).await.unwrap();
            } else {
                writer.write_all(now).await.unwrap();
            }
            if write.is_flushed {
                writer.flush().await.unwrap();
            }
            rest = later;
        }
        writer.flush().await.unwrap();
    }

    /// Reads to the end, and beyond it.
    async fn read(&self, reader: &mut (impl AsyncRead + Unpin)) -> Received {
        let (mut bytes, mut sizes) = (Vec::new(), self.reads.iter().cycle());
        let mut next = async || {
            let (size, has_turn) = *sizes.next().unwrap();
            if has_turn {
                tokio::task::yield_now().await;
            }
            read(reader, size).await
        };
        loop {
            let read = next().await;
            match read {
                Ok(read) if !read.is_empty() => bytes.extend(read),
                end => {
                    let ends = [end, next().await].map(|end| end.map(|read| read.len()));
                    return Received { bytes, ends: ends.map(|end| end.map_err(|error| error.kind())) };
                }
            }
        }
    }
}

/// At most `size` bytes, behind others.
async fn read(reader: &mut (impl AsyncRead + Unpin), size: usize) -> io::Result<Vec<u8>> {
    let mut space = vec![0; READ_BEFORE.len() + size];
    let mut into = ReadBuf::new(&mut space);
    into.put_slice(READ_BEFORE);
    poll_fn(|context| Pin::new(&mut *reader).poll_read(context, &mut into)).await?;
    Ok(into.filled().strip_prefix(READ_BEFORE).unwrap().to_vec())
}

/// What came, and what reads gave after that.
#[derive(PartialEq)]
struct Received {
    bytes: Vec<u8>,
    ends: [Result<usize, io::ErrorKind>; 2],
}

impl Received {
    fn told(&self) -> String {
        format!("{} bytes and {:?}", self.bytes.len(), self.ends)
    }
}

/// The client's end of a connection, which loses what it sends from some byte on.
struct Wire {
    io: DuplexStream,
    /// What it does not lose.
    left: usize,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Pin::new(&mut self.io).poll_shutdown(context).map_ok(|()| bytes.len());
        }
        let most = self.left.min(bytes.len());
        let taken = ready!(Pin::new(&mut self.io).poll_write(context, &bytes[..most]))?;
        self.left -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl Pattern {
    /// What the server and the client receive, where `accept` makes the former's stream.
    async fn play<S, A>(&self, accept: impl FnOnce(DuplexStream) -> A) -> [Received; 2]
    where
        S: AsyncRead + AsyncWrite,
        A: Future<Output = S>,
    {
        let (near, io) = tokio::io::duplex(self.capacity);
        let server = async {
            let (mut reader, mut writer) = split(accept(near).await);
            let write = async {
                self.server.write(&mut writer).await;
                if self.is_end_said {
                    writer.shutdown().await.unwrap();
                }
            };
            tokio::join!(self.server.read(&mut reader), write).0
        };
        let client = async {
            let mut stream = self.connect(Wire { io, left: usize::MAX }).await;
            let (wire, connection) = stream.get_mut();
            // Its records are those of its writes then, however slowly they are taken.
            connection.set_buffer_limit(None);
            // Each write, and what it is wrapped in.
            let length = self.client.sent().len() * 102 / 100 + 100;
            wire.left = self.cut.map_or(usize::MAX, |cut| cut.index(length));
            let (mut reader, mut writer) = split(stream);
            let write = async {
                self.client.write(&mut writer).await;
                writer.shutdown().await.unwrap();
            };
            tokio::join!(self.client.read(&mut reader), write).0
        };
        let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(server, client) });
        both.await.unwrap().into()
    }

    async fn connect(&self, wire: Wire) -> TlsStream<Wire> {
        let mut config = client_of("a.test", &[self.version]).config;
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("a.test").unwrap(), wire).await.unwrap()
    }

    /// Plays it with both streams: the same has to come of it, and what was sent.
    async fn check(&self, edge: &Edge) {
        let plaintext = self.play(|io| async {
            let deadline = SystemClock.now() + Duration::from_secs(20);
            match accept(io, &edge.tls, deadline, &edge.metrics).await.unwrap() {
                Accepted::Http { stream, .. } => stream,
                Accepted::AcmeChallengeDone => panic!("no HTTP"),
            }
        });
        let stock = self.play(|io| async {
            let begun = LazyConfigAcceptor::new(Acceptor::default(), io).await.unwrap();
            let limit = |connection: &mut rustls::ServerConnection| {
                connection.set_buffer_limit(Some(SENT_AT_ONCE));
            };
            begun.into_stream_with(Arc::clone(edge.tls.open()), limit).await.unwrap()
        });
        let (plaintext, stock) = (plaintext.await, stock.await);
        for (which, sent) in [&self.client, &self.server].into_iter().map(End::sent).enumerate() {
            let (one, other) = (&plaintext[which], &stock[which]);
            assert!(one == other, "{} are not {}", one.told(), other.told());
            assert!(sent.starts_with(&one.bytes), "{} that were not sent", one.told());
        }
        let [server, client] = plaintext;
        assert_eq!(client.bytes.len(), self.server.sent().len());
        assert_eq!(client.ends, if self.is_end_said { CLOSED } else { CUT });
        if server.ends == CUT {
            assert!(self.cut.is_some());
        } else {
            assert_eq!((server.bytes.len(), server.ends), (self.client.sent().len(), CLOSED));
        }
    }
}

#[test]
fn what_is_read_and_written_is_what_the_stock_stream_would_read_and_write() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let edge = runtime.block_on(edge(&["a.test"]));
    proptest!(ProptestConfig::with_cases(64), |(pattern in pattern())| {
        runtime.block_on(pattern.check(&edge));
    });
}
