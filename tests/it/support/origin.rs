//! A scripted origin server: every request waits until the test says what
//! becomes of it. The test answers, holds it, or cuts the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::raw::{Message, read_message};
use super::within;

/// An origin server that does what the test tells it to.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    requests: Arc<AtomicUsize>,
}

/// A request that waits for its answer. Dropping it cuts the connection.
pub(crate) struct Arrival {
    /// The request.
    pub(crate) request: Message,
    stream: TcpStream,
    release: oneshot::Sender<TcpStream>,
}

impl Origin {
    /// Starts one, on a port that the system picks.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts one at an address.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, arrivals) = mpsc::channel(64);
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, arrived.clone(), Arc::clone(&counter)));
            }
        });
        Self { address, arrivals, requests }
    }

    /// Starts one that gives every request the same answer.
    pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> FixedOrigin {
        Self::start().await.always(response)
    }

    /// From now on gives every request the same answer.
    pub(crate) fn always(self, response: impl Into<Vec<u8>>) -> FixedOrigin {
        let Self { address, mut arrivals, requests } = self;
        let response = response.into();
        tokio::spawn(async move {
            while let Some(arrival) = arrivals.recv().await {
                arrival.answer(&response).await;
            }
        });
        FixedOrigin { address, requests }
    }

    /// The next request, once it is whole.
    pub(crate) async fn next(&mut self) -> Arrival {
        within("a request at the origin server", self.arrivals.recv()).await.unwrap()
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

/// An origin server that always answers the same.
pub(crate) struct FixedOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl FixedOrigin {
    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Arrival {
    /// Writes a whole response and takes the next request of the connection.
    pub(crate) async fn answer(mut self, response: impl AsRef<[u8]>) {
        self.send(response).await;
        let _ = self.release.send(self.stream);
    }

    /// Writes a part of a response; the rest is up to the test.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // An edge that has given the request up is no failure of the script.
        let _ = within("writing an answer", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Ends the connection here.
    pub(crate) fn cut(self) {
        drop(self.stream);
    }

    /// The connection, for what follows a 101.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

async fn serve(mut stream: TcpStream, arrived: mpsc::Sender<Arrival>, requests: Arc<AtomicUsize>) {
    let mut received = Vec::new();
    while let Some(request) = read_message(&mut stream, &mut received).await {
        requests.fetch_add(1, SeqCst);
        let (release, released) = oneshot::channel();
        if arrived.send(Arrival { request, stream, release }).await.is_err() {
            return;
        }
        match released.await {
            Ok(back) => stream = back,
            Err(_) => return,
        }
    }
}

/// A 200 with `content` and further `fields`, each ended by CRLF.
pub(crate) fn ok(fields: &str, content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n{content}", content.len())
}
