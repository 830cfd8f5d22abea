//! What responses that share a connection get of it, as a client sees it that reads all the
//! time: in which order their frames come, and how much of each.

use std::collections::HashMap;

use http_body::Frame;
use tokio::io::DuplexStream;

use super::*;
use crate::exchange::BodyError;

const MIB: usize = 1 << 20;

/// What the connection itself holds.
const UNDER_WAY: usize = 64 << 10;

/// The most that comes of large responses between a request and the end of its response.
const BEFORE_SMALL: usize = MIB / 2;

const LARGE: u32 = 8;
const SMALL: &[u8] = b"well";

/// A response that goes on and on, in pieces that are there at once.
struct Endless(Bytes);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// A client that speaks in frames, and opens windows as it reads.
struct Client {
    stream: DuplexStream,
    streams: u32,
    /// What came of each stream.
    received: HashMap<u32, usize>,
}

impl Client {
    /// Begins with windows of so many bytes, of the connection and of each stream.
    async fn begin(front: &Arc<Front>, connection: u32, stream: u32) -> Self {
        let io = connect_through(front, ConnectionProtocol::Http2, UNDER_WAY);
        let mut client = Self { stream: io, streams: 0, received: HashMap::new() };
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 s6.5.2)
        client.send(&frame(4, 0, 0, &[&[0, 4], &stream.to_be_bytes()[..]].concat())).await;
        if let Some(more @ 1..) = connection.checked_sub(65_535) {
            client.send(&frame(8, 0, 0, &more.to_be_bytes())).await;
        }
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Asks for a path; the number of the stream.
    async fn ask(&mut self, path: &str) -> u32 {
        let stream = 2 * self.streams + 1;
        self.streams += 1;
        // GET http://a.test/PATH (RFC 7541 s6.1, s6.2.2).
        let length = u8::try_from(path.len()).unwrap();
        let block = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 6], b"a.test"].concat();
        self.send(&frame(1, 0b101, stream, &block)).await;
        stream
    }

    /// Takes the next frame: whose it is, and whether it is the last.
    async fn next(&mut self) -> (u32, bool) {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut content = vec![0; length as usize];
        self.stream.read_exact(&mut content).await.unwrap();
        if kind == 0 {
            *self.received.entry(stream).or_default() += content.len();
            if length > 0 {
                for of in [0, stream] {
                    self.send(&frame(8, 0, of, &length.to_be_bytes())).await;
                }
            }
        }
        (stream, matches!(kind, 0 | 1) && flags & 1 == 1)
    }

    /// What came of all streams.
    fn total(&self) -> usize {
        self.received.values().sum()
    }

    /// Takes so many bytes.
    async fn take(&mut self, bytes: usize) {
        let until = self.total() + bytes;
        while self.total() < until {
            self.next().await;
        }
    }

    /// Takes what comes until the last frame of a stream; how many bytes came of others.
    async fn take_whole(&mut self, stream: u32) -> usize {
        let before = self.total();
        while self.next().await != (stream, true) {}
        self.total() - before - self.received[&stream]
    }
}

/// A front that has small, endless, and large responses, the latter in one piece.
async fn edge() -> Arc<Front> {
    let stored = Bytes::from(vec![7; 64 * MIB]);
    front(move |req| match req.target.path() {
        "/small" => answer(Body::Full(Bytes::from_static(SMALL))),
        "/endless" => answer(Body::boxed(Endless(stored.slice(..MIB)))),
        _ => answer(Body::Full(stored.clone())),
    })
    .await
}

/// Windows of the connection and of each stream: what a client has that sets none, what a
/// browser has, and as if there were none.
const WINDOWS: [(u32, u32); 3] = [(65_535, 65_535), (15 << 20, 6 << 20), ((1 << 31) - 1, (1 << 31) - 1)];

/// A client with large responses under way, half of them endless.
async fn busy(front: &Arc<Front>, (connection, stream): (u32, u32)) -> (Client, Vec<u32>) {
    let mut client = Client::begin(front, connection, stream).await;
    let mut asked = Vec::new();
    for number in 0..LARGE {
        asked.push(client.ask(if number % 2 == 0 { "/stored" } else { "/endless" }).await);
    }
    client.take(MIB).await;
    (client, asked)
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}

#[tokio::test]
async fn a_small_response_waits_for_little_of_large_ones() {
    let front = edge().await;
    for windows in WINDOWS {
        let (mut client, _) = within(busy(&front, windows)).await;
        for _ in 0..20 {
            let small = client.ask("/small").await;
            let waited = within(client.take_whole(small)).await;
            assert_eq!(client.received[&small], SMALL.len());
            assert!(waited < BEFORE_SMALL, "{waited} with windows of {windows:?}");
            within(client.take(MIB / 8)).await;
        }
    }
}

#[tokio::test]
async fn large_responses_have_fair_parts_of_a_connection() {
    let front = edge().await;
    for windows in WINDOWS {
        let (mut client, large) = within(busy(&front, windows)).await;
        for _ in 0..3 {
            client.received.clear();
            within(client.take(8 * MIB)).await;
            let parts: Vec<_> = large.iter().map(|stream| client.received.get(stream)).collect();
            let least = 8 * MIB / large.len() / 2;
            let is_fair = parts.iter().all(|part| part.is_some_and(|part| *part >= least));
            assert!(is_fair, "{parts:?} with windows of {windows:?}");
        }
    }
}
