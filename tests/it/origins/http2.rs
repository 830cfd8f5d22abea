//! Origin servers that speak HTTP/2, and such at Unix sockets: gRPC with its own
//! library at both ends, nghttpd, events as they come.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::support::client::{Alpn, Client};
use crate::support::eventually;
use crate::support::ports::free_address;
use crate::support::process::{Running, Seawall, finished, words};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/origins/grpc_peer.py");

async fn listens(address: SocketAddr) {
    eventually("it listens", || TcpStream::connect(address).ok()).await;
}

#[tokio::test]
async fn grpc_passes_in_every_way() {
    let address = free_address();
    // The system's Python, which has the library.
    let mut server = Command::new("/usr/bin/python3");
    let _server = Running::spawn(server.args([PEER, "server", &address.to_string()]));
    listens(address).await;
    let seawall =
        Seawall::start(&format!("[site.\"grpc.test\"]\norigins = [\"h2c://{address}\"]\nhealth = false\n"))
            .await;
    let mut client = Command::new("/usr/bin/python3");
    client.args([PEER, "client", &seawall.https.to_string()]).arg(seawall.ca());
    let said = words(&finished(&mut client).await);
    for expected in [
        "unary b'echo hi' OK [_Metadatum(key='x-sum', value='1')]",
        "failed FAILED_PRECONDITION not now: % [_Metadatum(key='x-sum', value='2')]",
        "down 1000",
        "up b'5000000'",
        "both OK",
        "many 300",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// nghttpd speaks nothing but HTTP/2, by TLS and by prior knowledge.
#[tokio::test]
async fn a_server_that_speaks_http2_alone_is_asked_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("page"), "hello").unwrap();
    let made = rcgen::generate_simple_self_signed(["h2.test".to_owned()]).unwrap();
    let [key, cert] = ["key.pem", "cert.pem"].map(|name| directory.path().join(name));
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    let (clear, tls) = (free_address(), free_address());
    let mut servers = Vec::new();
    for (address, further) in [(clear, vec!["--no-tls"]), (tls, vec![])] {
        let mut server = Command::new("nghttpd");
        server.args(["-a", &address.ip().to_string(), "-d"]).arg(directory.path()).args(further);
        server.arg(address.port().to_string());
        if address == tls {
            server.args([&key, &cert]);
        }
        servers.push(Running::spawn(server.stdout(Stdio::null()).stderr(Stdio::null())));
        listens(address).await;
    }
    let ca = cert.display();
    let seawall = Seawall::start(&format!(
        r#"
[site."clear.test"]
origins = ["h2c://{clear}"]
health = "/page"
[pool.secure]
origins = [{{ url = "https://{tls}", http2 = true }}]
health = {{ path = "/page", host = "h2.test" }}
tls = {{ ca = "{ca}", server_name = "h2.test" }}
[site."secure.test"]
pool = "secure"
"#
    ))
    .await;
    for host in ["clear.test", "secure.test"] {
        for alpn in [Alpn::H1, Alpn::H2] {
            let mut client = Client::connect(seawall.https, &seawall.ca(), host, alpn).await;
            let res = client.get("/page?no-cache").await;
            assert_eq!((res.status().as_u16(), &res.body()[..]), (200, &b"hello"[..]), "{host}");
            assert!(res.headers()["via"].to_str().unwrap().starts_with("2 "), "{host}");
        }
    }
    let shown = words(&seawall.ask("origins", &[]).await);
    assert_eq!(shown.matches(" up ").count(), 2, "{shown}");
}

/// A server at a socket, and events that leave as they come.
#[tokio::test]
async fn events_leave_one_by_one_from_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let seawall = Seawall::start(&format!(
        "[site.\"sse.test\"]\norigins = [\"unix:{}\"]\nhealth = false\ntls = \"off\"\n",
        path.display()
    ))
    .await;
    let mut client = tokio::net::TcpStream::connect(seawall.http).await.unwrap();
    client.write_all(b"GET /events HTTP/1.1\r\nHost: sse.test\r\n\r\n").await.unwrap();
    let (mut origin, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        origin.read_buf(&mut asked).await.unwrap();
    }
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    origin.write_all(head).await.unwrap();
    let mut heard = Vec::new();
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        origin.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.unwrap();
        crate::support::within("an event", async {
            while !String::from_utf8_lossy(&heard).contains(&event) {
                client.read_buf(&mut heard).await.unwrap();
            }
        })
        .await;
    }
}
