//! Streams of HTTP/2 on both sides, as gRPC has them: who does not read holds up who
//! sends to him, and nobody else, and small messages are as good as large ones.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::client::{Alpn, secure};
use crate::support::process::Seawall;
use crate::support::within;

/// What a stream of the tests has, in bytes, if it is not held up.
const LENGTH: usize = 8 << 20;
/// Small messages, fewer than a window of the origin server's response takes.
const MANY: usize = 10_000;
const SMALL: &[u8] = b"\0\0\0\0\x0beleven.byte";

/// The windows of h2 unless it is told otherwise.
const DEFAULT_WINDOW: usize = 65_535;
/// With it, streams that are not read hold up no other ones.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// What the edge reads of a response ahead of its reader, and of a request.
const OF_RESPONSE: usize = 256 << 10;
const OF_REQUEST: usize = 64 << 10;
/// What the streams to the two are given beside, before their windows open.
const GIVEN_TO_CLIENT: usize = 32 << 10;
const GIVEN_TO_ORIGIN: usize = 64 << 10;

type Arrived = (Request<RecvStream>, SendResponse<Bytes>);

/// An origin server of HTTP/2 that gives each request away.
async fn origin() -> (SocketAddr, mpsc::UnboundedReceiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.initial_connection_window_size(CONNECTION_WINDOW);
                let mut connection = builder.handshake(stream).await.unwrap();
                while let Some(Ok(req)) = connection.accept().await {
                    let _ = arrived.send(req);
                }
            });
        }
    });
    (address, arrivals)
}

async fn edge_before(origin: SocketAddr) -> Seawall {
    Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"h2c://{origin}\"]\nhealth = false\ntls = \"internal\"\n"
    ))
    .await
}

async fn client(seawall: &Seawall) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(seawall.https).await.unwrap();
    let tls = secure(stream, &seawall.ca(), "site.test", Alpn::H2).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(CONNECTION_WINDOW);
    let (sender, connection) = builder.handshake(tls).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A call with its content still to be sent, at both ends.
struct Call {
    say: SendStream<Bytes>,
    heard: RecvStream,
    answer: SendStream<Bytes>,
    asked: RecvStream,
}

async fn call(client: &mut SendRequest<Bytes>, arrivals: &mut mpsc::UnboundedReceiver<Arrived>) -> Call {
    let post = Request::post("https://site.test/Echo/Both").header("content-type", "application/grpc");
    let post = post.header("te", "trailers").body(()).unwrap();
    let (res, say) = client.send_request(post, false).unwrap();
    let (asked, mut respond) = within("a request", arrivals.recv()).await.unwrap();
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let answer = respond.send_response(head, false).unwrap();
    let res = within("a response", res).await.unwrap();
    Call { say, heard: res.into_body(), answer, asked: asked.into_body() }
}

/// Sends `messages` as far as there is room for them, and tells how many bytes it gave.
fn send(
    mut to: SendStream<Bytes>,
    messages: impl Iterator<Item = &'static [u8]> + Send + 'static,
) -> mpsc::UnboundedReceiver<usize> {
    let (given, gives) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for message in messages {
            to.reserve_capacity(message.len());
            while to.capacity() < message.len() {
                poll_fn(|context| to.poll_capacity(context)).await.unwrap().unwrap();
            }
            to.send_data(Bytes::from_static(message), false).unwrap();
            let _ = given.send(message.len());
        }
        to.send_data(Bytes::new(), true).unwrap();
    });
    gives
}

fn large() -> impl Iterator<Item = &'static [u8]> + Send {
    static PIECE: [u8; 16 << 10] = [7; 16 << 10];
    std::iter::repeat_n(&PIECE[..], LENGTH / PIECE.len())
}

fn small() -> impl Iterator<Item = &'static [u8]> + Send {
    std::iter::repeat_n(SMALL, MANY)
}

/// Waits until `least` bytes were given, and makes further calls meanwhile: what could
/// still pass has passed then. How many it were.
async fn given_without_a_reader(
    gives: &mut mpsc::UnboundedReceiver<usize>,
    least: usize,
    client: &mut SendRequest<Bytes>,
    arrivals: &mut mpsc::UnboundedReceiver<Arrived>,
) -> usize {
    let mut given = 0;
    while given < least {
        given += within("what there is room for", gives.recv()).await.unwrap();
    }
    for _ in 0..20 {
        let mut other = call(client, arrivals).await;
        other.say.send_data(Bytes::from_static(SMALL), true).unwrap();
        assert_eq!(length(&mut other.asked).await, SMALL.len());
        other.answer.send_data(Bytes::from_static(SMALL), true).unwrap();
        assert_eq!(length(&mut other.heard).await, SMALL.len());
    }
    while let Ok(more) = gives.try_recv() {
        given += more;
    }
    given
}

/// Reads to the end.
async fn length(from: &mut RecvStream) -> usize {
    let mut length = 0;
    while let Some(data) = within("more of it", from.data()).await {
        let data = data.unwrap();
        length += data.len();
        from.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_its_origin_server() {
    let (address, mut arrivals) = origin().await;
    let seawall = edge_before(address).await;
    let mut client = client(&seawall).await;
    let mut call = call(&mut client, &mut arrivals).await;
    let mut gives = send(call.answer, large());
    let given = given_without_a_reader(&mut gives, OF_RESPONSE, &mut client, &mut arrivals).await;
    assert!(given <= DEFAULT_WINDOW + OF_RESPONSE + GIVEN_TO_CLIENT, "{given}");
    assert_eq!(length(&mut call.heard).await, LENGTH);
}

#[tokio::test]
async fn an_origin_server_that_does_not_read_holds_up_its_client() {
    let (address, mut arrivals) = origin().await;
    let seawall = edge_before(address).await;
    let mut client = client(&seawall).await;
    let mut call = call(&mut client, &mut arrivals).await;
    let mut gives = send(call.say, large());
    let given = given_without_a_reader(&mut gives, OF_REQUEST, &mut client, &mut arrivals).await;
    assert!(given <= DEFAULT_WINDOW + OF_REQUEST + GIVEN_TO_ORIGIN, "{given}");
    assert_eq!(length(&mut call.asked).await, LENGTH);
}

#[tokio::test]
async fn many_small_messages_wait_for_a_client() {
    let (address, mut arrivals) = origin().await;
    let seawall = edge_before(address).await;
    let mut client = client(&seawall).await;
    let mut heard = Vec::new();
    for _ in 0..20 {
        let call = call(&mut client, &mut arrivals).await;
        let mut gives = send(call.answer, small());
        let all = MANY * SMALL.len();
        assert_eq!(given_without_a_reader(&mut gives, all, &mut client, &mut arrivals).await, all);
        heard.push((call.heard, call.say));
    }
    for (mut heard, _say) in heard {
        assert_eq!(length(&mut heard).await, MANY * SMALL.len());
    }
}

#[tokio::test]
async fn many_small_messages_wait_for_an_origin_server() {
    let (address, mut arrivals) = origin().await;
    let seawall = edge_before(address).await;
    let mut client = client(&seawall).await;
    let mut call = call(&mut client, &mut arrivals).await;
    let mut gives = send(call.say, small());
    given_without_a_reader(&mut gives, OF_REQUEST, &mut client, &mut arrivals).await;
    assert_eq!(length(&mut call.asked).await, MANY * SMALL.len());
}
