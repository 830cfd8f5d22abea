//! Origin servers that speak HTTP/2, and are asked for tunnels by CONNECT themselves.

use std::net::SocketAddr;

use hyper::server;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::ClientRequestBuilder;

use super::*;

/// An origin server that speaks HTTP/2 alone and echoes what comes through tunnels, or
/// never reads it at `/deaf`, or has its say and leaves at `/leaves`, if it takes any; and
/// the requests that came.
async fn origin_of_http2(takes_connect: bool) -> (SocketAddr, mpsc::UnboundedReceiver<Request<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let answer = move |mut req: Request<Incoming>| {
        let tunnel = (req.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut req));
        let is_deaf = req.uri().path() == "/deaf";
        let leaves = req.uri().path() == "/leaves";
        let is_welcome = is_deaf || leaves || req.uri().path() == "/ws";
        arrived.send(req.map(|_| ())).unwrap();
        if let Some(tunnel) = tunnel.filter(|_| is_welcome) {
            tokio::spawn(async move {
                let tunnel = tunnel.await.unwrap();
                if is_deaf {
                    std::future::pending::<()>().await;
                }
                let (mut read, mut write) = tokio::io::split(TokioIo::new(tunnel));
                if leaves {
                    write.write_all(&[7; LAST_WORDS]).await.unwrap();
                    return write.shutdown().await.unwrap();
                }
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
        let status = if is_welcome { 200 } else { 403 };
        let res = Response::builder().status(status).header("sec-websocket-protocol", "chat");
        std::future::ready(res.body(Empty::<Bytes>::new()))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut http = server::conn::http2::Builder::new(TokioExecutor::new());
            if takes_connect {
                http.enable_connect_protocol();
            }
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer.clone())));
        }
    });
    (address, arrivals)
}

/// What a server says before it leaves, in bytes.
const LAST_WORDS: usize = 100_000;

async fn edge_before_http2(origin: SocketAddr) -> Seawall {
    Seawall::start(&format!(
        "[limits]\nwrite_timeout = \"1s\"\ntunnel_idle = \"5s\"\n[site.\"site.test\"]\norigins = [\"h2c://{origin}\"]\nhealth = false\ntls = \"internal\"\n\
         redirect_http = false\n"
    ))
    .await
}

#[tokio::test]
async fn an_origin_server_of_http2_is_asked_by_connect_as_well() {
    let (origin, mut arrivals) = origin_of_http2(true).await;
    let seawall = edge_before_http2(origin).await;
    let mut sender = connection(&seawall).await;
    for _ in 0..2 {
        let mut res = ask(&mut sender, connect("websocket")).await;
        assert_eq!(
            (res.status().as_u16(), &res.headers()["sec-websocket-protocol"]),
            (200, &"chat".parse().unwrap())
        );
        let mut tunnel = TokioIo::new(within("the tunnel", hyper::upgrade::on(&mut res)).await.unwrap());
        let req = arrivals.recv().await.unwrap();
        assert_eq!(req.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(
            (req.method(), req.uri().path_and_query().unwrap().as_str()),
            (&Method::CONNECT, "/ws?a=b")
        );
        assert!(!req.headers().contains_key("sec-websocket-key"));
        let said = vec![7; 300_000];
        let (mut read, mut write) = tokio::io::split(&mut tunnel);
        let mut heard = Vec::new();
        let say = async {
            write.write_all(&said).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, end) = within("the echo", async { tokio::join!(say, read.read_to_end(&mut heard)) }).await;
        end.unwrap();
        assert!(heard == said);
    }
    let mut refused = connect("websocket");
    *refused.uri_mut() = "https://site.test/other".parse().unwrap();
    assert_eq!(ask(&mut sender, refused).await.status(), 403);
    assert_eq!(seawall.metric("seawall_origin_connections_total").await, Some(1), "they share one");
}

#[tokio::test]
async fn a_client_of_http1_gets_the_proof_that_it_wants() {
    let (origin, _arrivals) = origin_of_http2(true).await;
    let seawall = edge_before_http2(origin).await;
    let stream = TcpStream::connect(seawall.http).await.unwrap();
    // It checks the head.
    let asks = ClientRequestBuilder::new("ws://site.test/ws".parse().unwrap()).with_sub_protocol("chat");
    let handshake = tokio_tungstenite::client_async(asks, stream);
    let (mut client, _) = within("a handshake", handshake).await.unwrap();
    client.close(None).await.unwrap();
    assert!(within("the echo", client.next()).await.is_some());
}

/// It says all that it has to say and leaves, which is an end and then a reset.
#[tokio::test]
async fn what_a_server_said_last_is_passed_on() {
    let (origin, _arrivals) = origin_of_http2(true).await;
    let seawall = edge_before_http2(origin).await;
    let mut sender = connection(&seawall).await;
    for _ in 0..20 {
        let mut asks = connect("websocket");
        *asks.uri_mut() = "https://site.test/leaves".parse().unwrap();
        let mut res = ask(&mut sender, asks).await;
        let mut tunnel = TokioIo::new(within("the tunnel", hyper::upgrade::on(&mut res)).await.unwrap());
        let mut heard = Vec::new();
        within("the end", tunnel.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard.len(), LAST_WORDS);
    }
}

/// What was given to it would wait there for as long as the connection lives.
#[tokio::test]
async fn a_tunnel_that_its_server_does_not_read_is_reset() {
    let (origin, _arrivals) = origin_of_http2(true).await;
    let seawall = edge_before_http2(origin).await;
    let mut sender = connection(&seawall).await;
    let mut deaf = connect("websocket");
    *deaf.uri_mut() = "https://site.test/deaf".parse().unwrap();
    let mut res = ask(&mut sender, deaf).await;
    let mut tunnel = TokioIo::new(within("the tunnel", hyper::upgrade::on(&mut res)).await.unwrap());
    within("the end", async { while tunnel.write_all(&[7; 16 << 10]).await.is_ok() {} }).await;
    assert_eq!(seawall.access_records(1).await[0]["end"], "cut");
    assert_eq!(ask(&mut sender, connect("websocket")).await.status(), 200);
    assert_eq!(seawall.metric("seawall_origin_connections_total").await, Some(1));
}

/// However often it is asked.
#[tokio::test]
async fn a_server_that_takes_no_connect_is_not_broken() {
    let (origin, _arrivals) = origin_of_http2(false).await;
    let seawall = edge_before_http2(origin).await;
    let mut sender = connection(&seawall).await;
    for _ in 0..20 {
        let res = ask(&mut sender, connect("websocket")).await;
        assert_eq!(res.status(), 502);
        assert!(proxy_status(&res).contains("error=http_upgrade_failed"));
    }
    let get = Request::get("https://site.test/ws").body(Empty::new()).unwrap();
    assert_eq!(ask(&mut sender, get).await.status(), 200);
}
