use std::sync::{Arc, Mutex};

use http::Method;
use tokio::io::AsyncReadExt;

use super::*;
use crate::config::model::PoolConfig;
use crate::exchange::{Request, Scheme};
use crate::upstream::OriginServer;
use crate::upstream::test_origin::{TestOrigin, content, echo, health_check, pool, request, send, server};

fn client(peer: &str, local: &str) -> Option<ClientEnds> {
    let [peer, local] = [peer, local].map(|end| end.parse().unwrap());
    Some(ClientEnds::of(&ConnectionInfo { peer, local, scheme: Scheme::Http, tls: None }))
}

#[test]
fn lines_are_as_the_specification_has_them() {
    for (client, expected) in [
        (client("192.168.0.1:56324", "192.168.0.11:443"), "TCP4 192.168.0.1 192.168.0.11 56324 443"),
        (client("[::ffff:1.2.3.4]:1", "[::ffff:5.6.7.8]:2"), "TCP4 1.2.3.4 5.6.7.8 1 2"),
        (client("[2001:db8::1]:1", "[::1]:2"), "TCP6 2001:db8::1 ::1 1 2"),
        (client("1.2.3.4:1", "[::1]:2"), "TCP6 ::ffff:1.2.3.4 ::1 1 2"),
        (None, "UNKNOWN"),
    ] {
        let line = header(ProxyProtocol::V1, client);
        assert_eq!(String::from_utf8(line).unwrap(), format!("PROXY {expected}\r\n"));
    }
}

#[test]
fn blocks_are_as_the_specification_has_them() {
    let begun = b"\r\n\r\n\0\r\nQUIT\n";
    let v4 = [0x21, 0x11, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 0xDC, 4, 1, 0xBB];
    let told = header(ProxyProtocol::V2, client("1.2.3.4:56324", "5.6.7.8:443"));
    assert_eq!(told, [&begun[..], &v4].concat());
    assert_eq!(header(ProxyProtocol::V2, None), [&begun[..], &[0x20, 0, 0, 0]].concat());
    let told = header(ProxyProtocol::V2, client("[2001:db8::1]:1", "[::1]:2"));
    assert_eq!((told.len(), &told[12..20]), (52, &[0x21, 0x21, 0, 36, 0x20, 1, 0xD, 0xB8][..]));
    assert_eq!(told[47..], [1, 0, 1, 0, 2]);
}

type Told = Arc<Mutex<Vec<String>>>;

/// An origin server that is told in lines, and notes them.
async fn origin() -> (TestOrigin, Arc<OriginServer>, Told) {
    let told = Told::default();
    let note = Arc::clone(&told);
    let origin = TestOrigin::start(move |_, mut stream| {
        let note = Arc::clone(&note);
        async move {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(char::from(stream.read_u8().await.unwrap()));
            }
            note.lock().unwrap().push(line);
            echo(&mut stream).await;
        }
    })
    .await;
    let config = PoolConfig { proxy_protocol: Some(ProxyProtocol::V1), ..pool(&[origin.address]) };
    let server = server(&config);
    (origin, server, told)
}

fn of(peer: &str, local: &str) -> Box<Request> {
    let mut req = request(Method::GET, "/");
    let [peer, local] = [peer, local].map(|end| end.parse().unwrap());
    req.connection = Arc::new(ConnectionInfo { peer, local, ..(*req.connection).clone() });
    req
}

#[tokio::test]
async fn a_connection_is_one_client_s() {
    let (origin, server, told) = origin().await;
    let edge = "192.0.2.1:80";
    let clients = [
        ("192.0.2.7:1", edge),
        ("192.0.2.7:2", edge),
        ("192.0.2.8:1", edge),
        ("192.0.2.7:1", "192.0.2.2:80"),
    ];
    for _ in 0..3 {
        for (peer, local) in clients {
            content(send(&server, of(peer, local)).await.unwrap()).await.unwrap();
        }
    }
    assert_eq!(origin.accepted(), clients.len());
    let expected = [
        "192.0.2.7 192.0.2.1 1 80",
        "192.0.2.7 192.0.2.1 2 80",
        "192.0.2.8 192.0.2.1 1 80",
        "192.0.2.7 192.0.2.2 1 80",
    ];
    assert_eq!(*told.lock().unwrap(), expected.map(|ends| format!("PROXY TCP4 {ends}\r\n")));
}

#[tokio::test]
async fn checks_are_nobody_s() {
    let (_origin, server, told) = origin().await;
    server.probe(&health_check(Some("/healthz"))).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["PROXY UNKNOWN\r\n"]);
}
