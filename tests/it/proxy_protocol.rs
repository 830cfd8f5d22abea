//! Load balancers that tell whose connections they pass on (PROXY protocol): who
//! is believed in it, and what becomes of everybody else.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::support::client::{Alpn, Client};
use super::support::haproxy::Haproxy;
use super::support::origin::{Origin, ok};
use super::support::process::{Place, Seawall, finished, words};
use super::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
const FAILURES: &str = "seawall_proxy_header_failures_total";
/// An address of this machine that is not listed.
const UNLISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// An edge that believes 127.0.0.1 alone, before `origin`.
async fn edge_before(origin: SocketAddr, listen: &str, tables: &str) -> Seawall {
    let mut place = Place::new();
    place.listen = format!("proxy_protocol_from = [\"127.0.0.1\"], {listen}");
    place.configure(&format!(
        "{tables}\n[site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\nredirect_http = false\n\
         tls = \"internal\"\n"
    ));
    place.run().await
}

/// The same before an origin server that answers every request with `hello`.
async fn edge(tables: &str) -> Seawall {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    edge_before(origin.address, "", tables).await
}

/// A header of version 2.
fn second(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

fn second_of(client: [u8; 4]) -> Vec<u8> {
    second(0x21, 0x11, &[&client[..], &[198, 51, 100, 1, 0x12, 0x67, 0, 80]].concat())
}

fn sixth() -> Vec<u8> {
    let ends: Vec<u8> = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0xFF; 16]].concat();
    second(0x21, 0x21, &[&ends[..], &[1, 2, 3, 4], &[4, 0, 1, 0]].concat())
}

/// Waits for a record of each request in the access log, which comes but once a
/// second: the clients must be these, in any order.
async fn assert_clients(seawall: &Seawall, mut expected: Vec<&str>) {
    let records = seawall.access_records(expected.len()).await;
    let mut found: Vec<&str> = records.iter().map(|record| record["client"].as_str().unwrap()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

async fn send_slowly(client: &mut RawClient, bytes: &[u8]) {
    for byte in bytes {
        client.try_send([*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn headers_tell_whose_connection_it_is() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "", "").await;
    let own = "127.0.0.1";
    let mut clients = Vec::new();
    for (header, client) in [
        (V1.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), own),
        (b"PROXY UNKNOWN 192.0.2.9 192.0.2.1 1 2\r\n".to_vec(), own),
        (second_of([192, 0, 2, 8]), "192.0.2.8"),
        (sixth(), "2001:db8::7"),
        (second(0x20, 0x00, b""), own),
        (second(0x20, 0x11, &[192, 0, 2, 9, 192, 0, 2, 1, 0, 1, 0, 2]), own),
        (second(0x21, 0x00, b""), own),
        (second(0x21, 0x31, &[b'/'; 216]), own),
    ] {
        let mut connection = RawClient::connect(seawall.http).await;
        // In one piece, so that what follows the header comes with it.
        let body = "x".repeat(100_000);
        let post =
            format!("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        connection.send([&header[..], post.as_bytes()].concat()).await;
        let arrival = origin.next().await;
        assert_eq!(arrival.request.field("x-forwarded-for"), Some(client), "{}", header.escape_ascii());
        assert_eq!(arrival.request.content, body.as_bytes());
        arrival.answer(ok("", "hello")).await;
        assert_eq!(connection.response().await.status(), 200);
        connection.send(GET).await;
        origin.next().await.answer(ok("", "hello")).await;
        assert_eq!(connection.response().await.status(), 200);
        clients.extend([client; 2]);
    }
    assert_clients(&seawall, clients).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(0));
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let seawall = edge("").await;
    for header in [V1.as_bytes().to_vec(), sixth()] {
        let mut client = RawClient::connect(seawall.http).await;
        send_slowly(&mut client, &[&header[..], GET.as_bytes()].concat()).await;
        assert_eq!(client.response().await.status(), 200);
    }
    assert_clients(&seawall, vec!["192.0.2.7", "2001:db8::7"]).await;
}

#[tokio::test]
async fn it_comes_before_tls() {
    let seawall = edge("").await;
    for header in [V1.as_bytes().to_vec(), sixth()] {
        for alpn in [Alpn::H1, Alpn::H2] {
            let mut connection = RawClient::connect(seawall.https).await;
            send_slowly(&mut connection, &header).await;
            let stream = connection.into_stream();
            let mut connection = Client::over(stream, &seawall.ca(), "site.test", alpn).await;
            assert_eq!(connection.get("/").await.body(), "hello");
        }
    }
    let clients = ["192.0.2.7", "2001:db8::7"];
    assert_clients(&seawall, [clients, clients].concat()).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(0));
}

#[tokio::test]
async fn what_is_no_header_gets_no_answer() {
    let seawall = edge("").await;
    let wrong: [Vec<u8>; 10] = [
        GET.into(),
        format!("\r\n{V1}{GET}").into(),
        "\x16\x03\x01\x00\x05hello".into(),
        format!("PROXY TCP4 192.0.2.7 198.51.100.1 04711 80\r\n{GET}").into(),
        format!("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n{GET}").into(),
        format!("PROXY UNKNOWN {}\r\n{GET}", "x".repeat(100)).into(),
        [&second(0x21, 0x11, &[0; 5000])[..], GET.as_bytes()].concat(),
        [&second(0x22, 0x11, &[0; 12])[..], GET.as_bytes()].concat(),
        // With a checksum of zeros.
        [&second(0x21, 0x11, &[[0; 12].as_slice(), &[3, 0, 4, 0, 0, 0, 0]].concat())[..], GET.as_bytes()]
            .concat(),
        "PROXY TCP4".into(),
    ];
    let count = wrong.len() as u64;
    for address in [seawall.http, seawall.https] {
        for bytes in &wrong {
            let mut client = RawClient::connect(address).await;
            client.send(bytes).await;
            if bytes.len() == 10 {
                drop(client);
            } else {
                client.closed().await;
            }
        }
    }
    seawall.metric_is(FAILURES, 2 * count).await;
    // Whoever only looks whether somebody listens does no wrong.
    drop(RawClient::connect(seawall.http).await);
    let mut client = RawClient::connect(seawall.http).await;
    client.send(format!("{V1}{GET}")).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(seawall.access_records(1).await.len(), 1);
    assert_eq!(seawall.metric(FAILURES).await, Some(2 * count));
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let seawall = edge("").await;
    for header in [V1.as_bytes().to_vec(), second_of([192, 0, 2, 8])] {
        let mut client = RawClient::connect_from(UNLISTED, seawall.http).await;
        client.send([&header[..], GET.as_bytes()].concat()).await;
        assert_eq!(client.response().await.status(), 400);
        let mut client = RawClient::connect_from(UNLISTED, seawall.https).await;
        client.send(&header).await;
        assert!(client.response_or_cut().await.is_none());
    }
    let mut client = RawClient::connect_from(UNLISTED, seawall.http).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200);
    assert_clients(&seawall, vec!["127.0.0.2"]).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(0));
    assert_eq!(seawall.metric("seawall_handshake_failures_total").await, Some(2));
}

#[tokio::test]
async fn a_header_has_until_the_deadline_of_handshakes() {
    let seawall = edge("[limits]\nhandshake_timeout = \"100ms\"").await;
    for (address, begun) in [(seawall.http, &V1[..20]), (seawall.https, "\r\n\r\n\0"), (seawall.http, "")] {
        let mut client = RawClient::connect(address).await;
        client.send(begun).await;
        client.closed().await;
    }
    assert_eq!(seawall.metric(FAILURES).await, Some(3));
    assert_eq!(seawall.metric("seawall_limit_total{limit=\"handshake_timeout\"}").await, Some(3));
}

#[tokio::test]
async fn clients_are_counted_by_the_address_that_is_told() {
    let seawall = edge("[limits]\nconnections_per_ip = 2").await;
    let connect = async |header: &[u8]| {
        let mut client = RawClient::connect(seawall.http).await;
        client.send([header, GET.as_bytes()].concat()).await;
        client
    };
    let mut held = Vec::new();
    for last in [1, 1, 2, 2, 3] {
        let mut client = connect(&second_of([192, 0, 2, last])).await;
        assert_eq!(client.response().await.status(), 200);
        held.push(client);
    }
    for _ in 0..3 {
        let mut client = connect(b"PROXY UNKNOWN\r\n").await;
        assert_eq!(client.response().await.status(), 200);
        held.push(client);
    }
    let refused = connect(&second_of([192, 0, 2, 1])).await;
    assert!(refused.response_or_cut().await.is_none());
    let limit = "seawall_limit_total{limit=\"connections_per_ip\"}";
    assert_eq!(seawall.metric(limit).await, Some(1));
    drop(held);
    seawall.metric_is("seawall_connections_open", 0).await;
    assert_eq!(connect(&second_of([192, 0, 2, 1])).await.response().await.status(), 200);
}

#[tokio::test]
async fn forwarding_fields_are_believed_of_whom_the_header_names() {
    let mut origin = Origin::start().await;
    let trusted = "trusted_proxies = [\"127.0.0.1\", \"192.0.2.7\"]";
    let seawall = edge_before(origin.address, trusted, "").await;
    let forged = "GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n";
    for (header, told) in [
        (V1.as_bytes().to_vec(), "203.0.113.5, 192.0.2.7"),
        // Not because the load balancer is trusted.
        (second_of([192, 0, 2, 8]), "192.0.2.8"),
        // But where it speaks for itself.
        (second(0x20, 0, b""), "203.0.113.5, 127.0.0.1"),
    ] {
        let mut client = RawClient::connect(seawall.http).await;
        client.send([&header[..], forged.as_bytes()].concat()).await;
        let arrival = origin.next().await;
        assert_eq!(arrival.request.field("x-forwarded-for"), Some(told));
        arrival.answer(ok("", "hello")).await;
        client.response().await;
    }
}

/// curl asks for the site at `to`.
async fn curl(seawall: &Seawall, url: &str, to: SocketAddr, further: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "10", "--noproxy", "*"]);
    command.arg("--cacert").arg(seawall.ca());
    command.arg("--connect-to").arg(format!("::{}:{}", to.ip(), to.port()));
    words(&finished(command.args(further).arg(url)).await)
}

#[tokio::test]
async fn curl_is_understood() {
    let seawall = edge("").await;
    let asked = [
        ("http://site.test/", seawall.http, "--http1.1"),
        ("https://site.test/", seawall.https, "--http1.1"),
        ("https://site.test/", seawall.https, "--http2"),
    ];
    for (url, to, version) in asked {
        let said = curl(&seawall, url, to, &["--haproxy-protocol", version]).await;
        assert!(said.contains(" 200") && said.ends_with("hello"), "{said}");
        let said = curl(&seawall, url, to, &[version]).await;
        assert!(said.contains("curl: ("), "{said}");
    }
    assert_clients(&seawall, vec!["127.0.0.1"; 3]).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(3));
}

#[tokio::test]
async fn haproxy_is_understood() {
    let seawall = edge("").await;
    for options in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id",
        // Checks are of its own.
        "send-proxy-v2 check inter 20ms",
    ] {
        for (url, to) in [("http://site.test/", seawall.http), ("https://site.test/", seawall.https)] {
            let haproxy = Haproxy::start(to, options).await;
            let said = curl(&seawall, url, haproxy.address, &["--interface", "127.0.0.9"]).await;
            assert!(said.contains(" 200") && said.ends_with("hello"), "{options}: {said}");
        }
    }
    assert_clients(&seawall, vec!["127.0.0.9"; 8]).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(0));
}

#[tokio::test]
async fn origin_servers_are_told_whose_connection_it_is() {
    let seawall = edge("").await;
    let haproxy = Haproxy::listening("accept-proxy", seawall.http, "send-proxy").await;
    for version in ["v1", "v2"] {
        for origin in [
            format!("http://{}", seawall.http),
            format!("https://{}", seawall.https),
            format!("http://{}", haproxy.address),
        ] {
            let outer = Seawall::start(&format!(
                "[pool.inner]\norigins = [\"{origin}\"]\nhealth = {{ every = \"100ms\" }}\n\
                 proxy_protocol = \"{version}\"\ntls = {{ ca = {:?}, server_name = \"site.test\" }}\n\
                 [site.\"site.test\"]\npool = \"inner\"\ntls = \"off\"\n",
                seawall.ca()
            ))
            .await;
            let mut client = RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 9), outer.http).await;
            for _ in 0..2 {
                client.send(GET).await;
                assert_eq!(client.response().await.status(), 200);
            }
            let mut other = RawClient::connect(outer.http).await;
            other.send(GET).await;
            assert_eq!(other.response().await.status(), 200);
        }
    }
    assert_clients(&seawall, ["127.0.0.9", "127.0.0.9", "127.0.0.1"].repeat(6)).await;
    assert_eq!(seawall.metric(FAILURES).await, Some(0));
}
