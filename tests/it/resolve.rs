//! Questions to a DNS server that answers, refuses, cuts, and is silent.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use seawall::resolve::{Directory, Found, FoundHost, NameServers, NotFound, ResolveError, ServiceRecord};

use super::support::dns::{DnsServer, Reply, alias, soa};
use super::support::within;

async fn asking(dns: &DnsServer) -> NameServers {
    NameServers::new(Some(dns.address), Duration::from_millis(200)).unwrap()
}

fn found(written: &[&str]) -> Found<IpAddr> {
    Found::Records(written.iter().map(|address| address.parse().unwrap()).collect())
}

#[tokio::test]
async fn addresses_of_both_kinds_are_found() {
    let dns = DnsServer::start().await;
    dns.set_addresses("both.test", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    dns.set_addresses("four.test", &["192.0.2.1"]);
    dns.set_addresses("six.test", &["2001:db8::1"]);
    dns.set("chain.test", RecordType::CNAME, alias("link.test"));
    dns.set("link.test", RecordType::CNAME, alias("four.test"));
    dns.set("loose.test", RecordType::CNAME, alias("gone.test"));
    dns.set_issuers("other.test", &["ca.test"]);
    let servers = asking(&dns).await;
    for (name, expected) in [
        ("both.test", found(&["192.0.2.1", "192.0.2.2", "2001:db8::1"])),
        ("four.test", found(&["192.0.2.1"])),
        ("Six.Test", found(&["2001:db8::1"])),
        ("chain.test", found(&["192.0.2.1"])),
        ("loose.test", Found::NoName),
        ("gone.test", Found::NoName),
        ("other.test", found(&[])),
    ] {
        assert_eq!(servers.addresses(name).await.unwrap(), expected, "{name}");
    }
    let asked = dns.asked().len();
    servers.addresses("both.test").await.unwrap();
    assert_eq!(dns.asked().len(), asked + 2, "an answer is not remembered");
}

#[tokio::test]
async fn one_kind_of_address_makes_up_for_the_other() {
    let dns = DnsServer::start().await;
    dns.set_addresses("half.test", &["192.0.2.1"]);
    dns.set("half.test", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    dns.set_addresses("bare.test", &[]);
    dns.set("bare.test", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    let servers = asking(&dns).await;
    assert_eq!(servers.addresses("half.test").await.unwrap(), found(&["192.0.2.1"]));
    assert!(matches!(servers.addresses("bare.test").await, Err(ResolveError::Refused(_))));
}

#[tokio::test]
async fn caa_records_are_found_where_they_are_and_behind_an_alias() {
    let dns = DnsServer::start().await;
    dns.set_issuers("own.test", &["ca.test", "other.test; accounturi=https://other.test/1"]);
    dns.set("alias.test", RecordType::CNAME, alias("own.test"));
    let servers = asking(&dns).await;
    for name in ["own.test", "alias.test"] {
        let Found::Records(records) = servers.caa(name).await.unwrap() else { panic!("{name}") };
        let told: Vec<_> = records.iter().map(|caa| (&*caa.tag, caa.value.as_slice())).collect();
        let second = b"other.test; accounturi=https://other.test/1".as_slice();
        assert_eq!(told, [("issue", b"ca.test".as_slice()), ("issue", second)], "{name}");
    }
    assert_eq!(servers.caa("none.test").await.unwrap(), Found::NoName);
}

#[tokio::test]
async fn an_alias_is_told_from_what_is_none() {
    let dns = DnsServer::start().await;
    dns.set("first.test", RecordType::CNAME, alias("Second.Test"));
    dns.set("second.test", RecordType::CNAME, alias("third.test"));
    dns.set_addresses("third.test", &["192.0.2.1"]);
    dns.set("broken.test", RecordType::CNAME, Reply::Code(ResponseCode::ServFail));
    let servers = asking(&dns).await;
    for (name, expected) in [
        ("first.test", Some("second.test")),
        ("second.test", Some("third.test")),
        ("third.test", None),
        ("no.test", None),
    ] {
        assert_eq!(servers.alias(name).await.unwrap().as_deref(), expected, "{name}");
    }
    assert!(matches!(servers.alias("broken.test").await, Err(ResolveError::Refused(_))));
}

#[tokio::test]
async fn a_zone_is_where_dns_says() {
    let dns = DnsServer::start().await;
    dns.set("example.test", RecordType::SOA, soa());
    dns.set("sub.example.test", RecordType::SOA, soa());
    dns.set("www.sub.example.test", RecordType::CNAME, alias("example.test"));
    dns.set("out.sub.example.test", RecordType::CNAME, alias("gone.example.test"));
    dns.set("broken.test", RecordType::SOA, Reply::Code(ResponseCode::ServFail));
    let servers = asking(&dns).await;
    for (name, expected) in [
        ("Example.Test", Some("example.test")),
        ("a.b.example.test", Some("example.test")),
        ("_acme-challenge.sub.example.test", Some("sub.example.test")),
        ("www.sub.example.test", Some("sub.example.test")),
        ("out.sub.example.test", Some("sub.example.test")),
        ("other.test", None),
    ] {
        assert_eq!(servers.zone(name).await.unwrap().as_deref(), expected, "{name}");
    }
    assert!(matches!(servers.zone("a.broken.test").await, Err(ResolveError::Refused(_))));
    assert!(matches!(servers.zone(&"a".repeat(64)).await, Err(ResolveError::Name(_))));
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_comes_over_tcp() {
    let dns = DnsServer::start().await;
    let issuers: Vec<_> = (0..200).map(|n| format!("ca{n}.test")).collect();
    dns.set_issuers("long.test", &issuers.iter().map(String::as_str).collect::<Vec<_>>());
    let records = asking(&dns).await.caa("long.test").await.unwrap().records();
    assert_eq!(records.len(), 200);
    let over: Vec<_> = dns.asked().into_iter().map(|(_, _, over)| over).collect();
    assert_eq!(over, ["udp", "tcp"]);
}

#[tokio::test]
async fn refusal_and_silence_are_told_apart_and_end_in_time() {
    let dns = DnsServer::start().await;
    dns.set("broken.test", RecordType::CAA, Reply::Code(ResponseCode::ServFail));
    dns.set("refused.test", RecordType::CAA, Reply::Code(ResponseCode::Refused));
    dns.set("silent.test", RecordType::CAA, Reply::Silence);
    let servers = asking(&dns).await;
    let error = servers.caa("broken.test").await.unwrap_err().to_string();
    assert_eq!(error, "the DNS server says `Server Failure`");
    assert!(matches!(servers.caa("refused.test").await, Err(ResolveError::Refused(_))));
    let silent = within("the end of patience", servers.caa("silent.test")).await;
    assert!(matches!(silent, Err(ResolveError::NoAnswer(_))), "{silent:?}");
    let asked = dns.asked().into_iter().filter(|(name, ..)| name == "silent.test").count();
    assert!(asked >= 2, "asked again, in all {asked} times");
    let long = "a".repeat(64);
    assert!(matches!(servers.caa(&long).await, Err(ResolveError::Name(_))));
}

#[tokio::test]
async fn nobody_who_listens_is_no_answer() {
    let address = super::support::ports::free_address();
    let servers = NameServers::new(Some(address), Duration::from_millis(200)).unwrap();
    let answer = within("a refusal", servers.addresses("a.test")).await;
    assert!(matches!(answer, Err(ResolveError::NoAnswer(_))), "{answer:?}");
}

fn directory(dns: &DnsServer) -> Directory {
    Directory::open(Some(dns.address), Duration::from_millis(200)).unwrap()
}

#[tokio::test]
async fn a_host_is_found_with_how_long_that_holds() {
    let dns = DnsServer::start().await;
    dns.set_ttl(7);
    dns.set_addresses("both.test", &["192.0.2.1", "2001:db8::1"]);
    dns.set("chain.test", RecordType::CNAME, alias("both.test"));
    dns.set_issuers("other.test", &["ca.test"]);
    let directory = directory(&dns);
    for name in ["both.test", "Chain.Test"] {
        let answer = directory.host(name).await.unwrap();
        assert_eq!((answer.ttl, answer.hosts.len()), (Duration::from_secs(7), 1));
        let FoundHost { name: found_name, addresses, lacks_v4, lacks_v6, is_local, .. } = &answer.hosts[0];
        assert_eq!(*found_name, name.to_ascii_lowercase());
        assert_eq!(Found::Records(addresses.clone()), found(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!((lacks_v4, lacks_v6, is_local), (&false, &false, &false));
    }
    assert!(matches!(directory.host("none.test").await, Err(NotFound::NoName)));
    assert!(matches!(directory.host("other.test").await, Err(NotFound::NoRecords)));
}

#[tokio::test]
async fn of_a_host_it_is_said_what_nobody_tells() {
    let dns = DnsServer::start().await;
    dns.set_addresses("half.test", &["192.0.2.1"]);
    dns.set("half.test", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    dns.set_both("dead.test", &Reply::Silence);
    let directory = directory(&dns);
    let answer = directory.host("half.test").await.unwrap();
    assert_eq!((answer.hosts[0].lacks_v4, answer.hosts[0].lacks_v6), (false, true));
    let Err(NotFound::Unanswered(error)) = directory.host("dead.test").await else { panic!("an answer") };
    assert!(error.is_silence(), "{error:?}");
}

#[tokio::test]
async fn a_service_is_found_with_its_hosts() {
    let dns = DnsServer::start().await;
    let service = "_http._tcp.app.test";
    dns.set_service(
        service,
        &[(20, 0, 82, "c.test"), (10, 5, 81, "a.test"), (10, 1, 0, "a.test"), (9, 1, 80, "")],
    );
    dns.set_addresses("a.test", &["192.0.2.1"]);
    dns.set_both("c.test", &Reply::Code(ResponseCode::ServFail));
    let directory = directory(&dns);
    let answer = directory.service(service).await.unwrap();
    let told: Vec<_> =
        answer.hosts.iter().map(|host| (&*host.name, host.service, host.addresses.len())).collect();
    let record = |priority, weight, port| Some(ServiceRecord { priority, weight, port });
    assert_eq!(told, [("a.test", record(10, 5, 81), 1), ("c.test", record(20, 0, 82), 0)]);
    assert!(answer.hosts[1].lacks_v4 && answer.hosts[1].lacks_v6);
    dns.set_service("silent.test", &[(0, 0, 80, "c.test")]);
    let of_none = directory.service("silent.test").await;
    assert!(matches!(of_none, Err(NotFound::Unanswered(ResolveError::Refused(_)))), "{of_none:?}");
    dns.set_service("none.test", &[(0, 0, 0, "")]);
    assert!(matches!(directory.service("none.test").await, Err(NotFound::NoRecords)));
    assert!(matches!(directory.service("a.test").await, Err(NotFound::NoRecords)));
}

/// As programs of the machine would find it, without a server.
#[tokio::test]
async fn the_hosts_file_is_the_operator_s_own_word() {
    let directory = Directory::open(None, Duration::from_millis(200)).unwrap();
    let answer = directory.host("localhost").await.unwrap();
    let host = &answer.hosts[0];
    assert!(host.is_local && host.addresses.iter().all(IpAddr::is_loopback), "{host:?}");
}
