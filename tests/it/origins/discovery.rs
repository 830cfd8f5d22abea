//! Origin servers that are found by DNS: who is asked, what a change does to
//! requests, and what happens while DNS is dead, empty or lies. The addresses of the
//! loopback network stand for different machines.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::dns::{DnsServer, Reply};
use crate::support::origin::{FixedOrigin, Origin, ok};
use crate::support::ports::free_address;
use crate::support::process::{Seawall, words};
use crate::support::raw::{Message, RawClient};
use crate::support::within;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// The site `site.test` before a pool of these servers and options.
fn tables(dns: &DnsServer, origins: &str, options: &str) -> String {
    let resolver = dns.address;
    format!(
        "[pool.app]\norigins = [{origins}]\nresolver = \"{resolver}\"\n{options}\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\ncache = false\n"
    )
}

async fn edge_before(dns: &DnsServer, origins: &str, options: &str) -> Seawall {
    Seawall::start(&tables(dns, origins, options)).await
}

/// The same address of another machine.
fn on(machine: u8, port: u16) -> SocketAddr {
    ([127, 0, 0, machine], port).into()
}

/// Machines of these numbers that say them, all at one port.
async fn machines(numbers: &[u8]) -> (u16, Vec<FixedOrigin>) {
    let port = free_address().port();
    let mut origins = Vec::new();
    for number in numbers {
        origins.push(Origin::start_at(on(*number, port)).await.always(ok("", &number.to_string())));
    }
    (port, origins)
}

async fn get(seawall: &Seawall) -> Message {
    RawClient::ask(seawall.http, GET).await
}

/// Who answered; the answer must be a good one.
async fn asked(seawall: &Seawall) -> String {
    let res = get(seawall).await;
    assert_eq!(res.status(), 200, "{res:?}");
    String::from_utf8(res.content).unwrap()
}

/// How often each answered, of so many requests.
async fn shares(seawall: &Seawall, requests: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..requests {
        *shares.entry(asked(seawall).await).or_default() += 1;
    }
    shares
}

fn expected(shares: &[(&str, usize)]) -> HashMap<String, usize> {
    shares.iter().map(|(who, share)| ((*who).to_owned(), *share)).collect()
}

/// What is told of the servers of the pool.
async fn servers(seawall: &Seawall) -> Vec<Value> {
    let said = seawall.ask("origins", &["--json"]).await;
    let pools: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", words(&said)));
    pools[0]["servers"].as_array().unwrap().clone()
}

/// Waits until the servers are as they should be.
async fn until(seawall: &Seawall, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    within("the servers change", async {
        loop {
            let servers = servers(seawall).await;
            if is_so(&servers) {
                return servers;
            }
        }
    })
    .await
}

fn labels(servers: &[Value]) -> Vec<&str> {
    servers.iter().filter_map(|server| server["label"].as_str()).collect()
}

fn last_error(server: &Value) -> &str {
    server["last_error"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn all_servers_of_a_name_share_the_load() {
    let dns = DnsServer::start().await;
    let (port, _machines) = machines(&[2, 3, 4]).await;
    dns.set_addresses("app.internal", &["127.0.0.4", "127.0.0.2", "127.0.0.3"]);
    let name = format!("app.internal:{port}");
    let options = "balance = \"round-robin\"\nhealth = false";
    let seawall = edge_before(&dns, &format!("\"{name}\""), options).await;
    assert_eq!(shares(&seawall, 12).await, expected(&[("2", 4), ("3", 4), ("4", 4)]));
    let found = servers(&seawall).await;
    let label = |machine: u8| format!("{name} (127.0.0.{machine})");
    assert_eq!(labels(&found), [label(2), label(3), label(4)]);

    // One of them is meant, then all.
    let url = format!("http://127.0.0.3:{port}");
    let said = words(&seawall.ask("origins", &["disable", &url]).await);
    assert_eq!(said, format!("{} of app is disabled\n", label(3)));
    assert_eq!(shares(&seawall, 4).await, expected(&[("2", 2), ("4", 2)]));
    seawall.ask("origins", &["disable", &name]).await;
    assert_eq!(get(&seawall).await.status(), 503);
    seawall.ask("origins", &["enable", &name]).await;
    assert_eq!(shares(&seawall, 3).await, expected(&[("2", 1), ("3", 1), ("4", 1)]));
}

/// The old server ends what it has, the new one gets the rest, and no request fails.
#[tokio::test]
async fn a_change_moves_requests_and_breaks_none() {
    let dns = DnsServer::start().await;
    let port = free_address().port();
    let mut old = Origin::start_at(on(2, port)).await;
    let _new = Origin::start_at(on(3, port)).await.always(ok("", "3"));
    dns.set_ttl(1);
    dns.set_addresses("app.internal", &["127.0.0.2"]);
    let seawall = edge_before(&dns, &format!("\"app.internal:{port}\""), "health = false").await;
    let mut held = RawClient::connect(seawall.http).await;
    held.send("GET /held HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let in_flight = old.next().await;
    assert!(in_flight.request.start.starts_with("GET /held "));
    let _old = old.always(ok("", "2"));
    let load = async || {
        let mut client = RawClient::connect(seawall.http).await;
        let (mut by_old, mut by_new) = (0, 0);
        while by_new < 50 {
            client.send(GET).await;
            let res = client.response().await;
            assert_eq!(res.status(), 200);
            match res.content.as_slice() {
                b"2" => by_old += 1,
                who => assert_eq!(who, b"3"),
            }
            by_new += usize::from(res.content == b"3");
            assert!(res.content == b"3" || by_new == 0, "the old one gets nothing more");
        }
        assert!(by_old > 0);
    };
    let change = async {
        assert_eq!(asked(&seawall).await, "2");
        dns.set_addresses("app.internal", &["127.0.0.3"]);
    };
    within("the change", async { tokio::join!(load(), load(), load(), load(), change) }).await;
    assert_eq!(shares(&seawall, 10).await, expected(&[("3", 10)]));
    in_flight.answer(ok("", "whole")).await;
    assert_eq!(held.response().await.content, b"whole");
}

#[tokio::test]
async fn while_dns_is_dead_the_last_answer_counts() {
    let dns = DnsServer::start().await;
    let (port, _machines) = machines(&[2, 3]).await;
    dns.set_ttl(1);
    dns.set_addresses("app.internal", &["127.0.0.2"]);
    let seawall = edge_before(&dns, &format!("\"app.internal:{port}\""), "").await;
    assert_eq!(asked(&seawall).await, "2");
    for reply in [Reply::Code(ResponseCode::ServFail), Reply::Code(ResponseCode::NXDomain), Reply::Silence] {
        dns.set_both("app.internal", &reply);
        let error = match reply {
            Reply::Code(ResponseCode::NXDomain) => "no such name",
            Reply::Code(_) => "Server Failure",
            _ => "no answer",
        };
        let told = until(&seawall, |servers| last_error(&servers[0]).contains(error)).await;
        assert!(last_error(&told[0]).starts_with("last look-up: "), "{told:?}");
        assert_eq!((told.len(), asked(&seawall).await.as_str()), (1, "2"));
    }
    assert!(seawall.metric("seawall_origin_lookup_failures_total").await.unwrap() >= 3);
    dns.set_addresses("app.internal", &["127.0.0.3"]);
    until(&seawall, |servers| labels(servers)[0].ends_with("(127.0.0.3)")).await;
    assert_eq!(asked(&seawall).await, "3");
}

/// DNS that is dead when another config comes into force costs nothing either.
#[tokio::test]
async fn a_reload_keeps_the_last_answer() {
    let dns = DnsServer::start().await;
    let (port, _machines) = machines(&[2]).await;
    dns.set_addresses("app.internal", &["127.0.0.2"]);
    let origins = format!("\"app.internal:{port}\"");
    let seawall = edge_before(&dns, &origins, "").await;
    assert_eq!(asked(&seawall).await, "2");
    dns.set_both("app.internal", &Reply::Code(ResponseCode::ServFail));
    seawall.place.configure(&tables(&dns, &origins, "slow_start = \"1s\""));
    let said = words(&seawall.ask("reload", &[]).await);
    assert!(said.contains("pool app: slow_start"), "{said}");
    assert_eq!(asked(&seawall).await, "2");
    let told = until(&seawall, |servers| last_error(&servers[0]).contains("Server Failure")).await;
    assert_eq!(labels(&told), [format!("app.internal:{port} (127.0.0.2)")]);
    assert_eq!(asked(&seawall).await, "2");
    // Another DNS server would have to be asked first.
    let other = DnsServer::start().await;
    seawall.place.configure(&tables(&other, &origins, ""));
    seawall.ask("reload", &[]).await;
    assert_eq!(get(&seawall).await.status(), 502);
}

#[tokio::test]
async fn a_name_that_is_nowhere_is_a_dns_error_until_it_is_somewhere() {
    let dns = DnsServer::start().await;
    let (port, _machines) = machines(&[2]).await;
    let seawall = edge_before(&dns, &format!("\"app.internal:{port}\""), "").await;
    let res = get(&seawall).await;
    assert_eq!(res.status(), 502);
    assert!(res.field("proxy-status").unwrap().contains("error=dns_error"), "{res:?}");
    let told = servers(&seawall).await;
    assert_eq!(
        (&told[0]["label"], &told[0]["state"]),
        (&format!("app.internal:{port}").into(), &"unresolved".into())
    );
    assert_eq!(last_error(&told[0]), "DNS has no such name");
    dns.set_addresses("app.internal", &["127.0.0.2"]);
    until(&seawall, |servers| servers[0]["state"] == "up").await;
    assert_eq!(asked(&seawall).await, "2");
}

#[tokio::test]
async fn without_an_answer_a_request_waits_no_longer_than_for_a_connection() {
    let dns = DnsServer::start().await;
    dns.set_both("app.internal", &Reply::Silence);
    let seawall = edge_before(&dns, "\"app.internal:80\"", "timeouts = { connect = \"100ms\" }").await;
    let begun = Instant::now();
    let res = get(&seawall).await;
    assert_eq!(res.status(), 504);
    assert!(res.field("proxy-status").unwrap().contains("error=dns_timeout"), "{res:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// DNS rebinding.
#[tokio::test]
async fn a_public_name_leads_to_no_private_address_unless_allowed() {
    let dns = DnsServer::start().await;
    let (port, machines) = machines(&[2]).await;
    dns.set_addresses("app.example.com", &["127.0.0.2"]);
    let origins = format!("\"app.example.com:{port}\"");
    let seawall = edge_before(&dns, &origins, "").await;
    let res = get(&seawall).await;
    assert_eq!(res.status(), 502);
    assert!(res.field("proxy-status").unwrap().contains("error=destination_ip_prohibited"), "{res:?}");
    assert_eq!(machines[0].requests(), 0);
    assert!(seawall.diagnostics().contains("`allow_private = true` of the pool takes them"));
    assert!(seawall.metric("seawall_origin_addresses_refused_total").await.unwrap() > 0);

    let seawall = edge_before(&dns, &origins, "allow_private = true").await;
    assert_eq!(asked(&seawall).await, "2");
}

#[tokio::test]
async fn a_service_has_ports_weights_and_those_who_stand_in() {
    let dns = DnsServer::start().await;
    let mut origins = Vec::new();
    for name in ["light", "heavy", "spare"] {
        origins.push(Origin::answering(ok("", name)).await);
    }
    let [light, heavy, spare] = [0, 1, 2].map(|index: usize| origins[index].address.port());
    let service = "_http._tcp.app.internal";
    dns.set_ttl(1);
    dns.set_addresses("host.internal", &["127.0.0.1"]);
    dns.set_service(
        service,
        &[(10, 1, light, "host.internal"), (10, 3, heavy, "host.internal"), (20, 9, spare, "host.internal")],
    );
    let options = "balance = \"round-robin\"\nhealth = false";
    let seawall = edge_before(&dns, &format!("\"srv://{service}\""), options).await;
    assert_eq!(shares(&seawall, 16).await, expected(&[("light", 4), ("heavy", 12)]));
    let told = servers(&seawall).await;
    assert!(labels(&told).contains(&&*format!("srv://{service} (127.0.0.1:{spare})")), "{told:?}");
    for port in [light, heavy] {
        seawall.ask("origins", &["disable", &format!("http://127.0.0.1:{port}")]).await;
    }
    assert_eq!(asked(&seawall).await, "spare");
    dns.set_service(service, &[(10, 2, spare, "host.internal")]);
    until(&seawall, |servers| servers.len() == 1 && servers[0]["backup"] == false).await;
    assert_eq!(asked(&seawall).await, "spare");
}

/// A listener with no room answers nobody who connects.
async fn silent(address: SocketAddr) -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v6().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting)
}

/// RFC 8305: what is wrong with IPv6 costs next to nothing.
#[tokio::test]
async fn a_host_whose_ipv6_is_broken_is_reached_by_ipv4() {
    let dns = DnsServer::start().await;
    dns.set_addresses("app.internal", &["::1", "127.0.0.2"]);
    for is_silent in [false, true] {
        let (port, _machines) = machines(&[2]).await;
        let v6 = SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), port);
        let _silent = if is_silent { Some(silent(v6).await) } else { None };
        let options = "health = false\ntimeouts = { connect = \"10s\" }";
        let seawall = edge_before(&dns, &format!("\"app.internal:{port}\""), options).await;
        let begun = Instant::now();
        assert_eq!(asked(&seawall).await, "2");
        assert!(begun.elapsed() < Duration::from_secs(3), "{is_silent}: {:?}", begun.elapsed());
        assert_eq!(
            labels(&servers(&seawall).await),
            [format!("app.internal:{port} (::1, 127.0.0.2)")],
            "one server, not two"
        );
    }
}

/// What the hosts file says needs no DNS server.
#[tokio::test]
async fn a_name_of_this_machine_is_found() {
    let origin = Origin::answering(ok("", "here")).await;
    let port = origin.address.port();
    let seawall =
        Seawall::start(&format!("[site.\"site.test\"]\norigins = [\"localhost:{port}\"]\ntls = \"off\"\n"))
            .await;
    assert_eq!(asked(&seawall).await, "here");
}

#[tokio::test]
async fn a_found_server_that_fails_its_checks_is_down() {
    let dns = DnsServer::start().await;
    let (port, _machines) = machines(&[2]).await;
    let nobody = TcpListener::bind(on(3, port)).unwrap();
    drop(nobody);
    dns.set_addresses("app.internal", &["127.0.0.2", "127.0.0.3"]);
    let options = "health = { every = \"200ms\" }\nbalance = \"round-robin\"";
    let seawall = edge_before(&dns, &format!("\"app.internal:{port}\""), options).await;
    let told = until(&seawall, |servers| servers.len() == 2 && servers[1]["state"] == "down").await;
    assert_eq!(told[0]["state"], "up");
    assert_eq!(shares(&seawall, 6).await, expected(&[("2", 6)]));
    assert_eq!(servers(&seawall).await[1]["requests"], 0);
}
