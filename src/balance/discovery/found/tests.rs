//! Answers of DNS and what follows from them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::resolve::ServiceRecord;
use crate::upstream::test_origin;

fn entry(location: Location) -> ServerConfig {
    let config = test_origin::pool(&["10.0.0.1:80".parse().unwrap()]).servers.remove(0);
    ServerConfig { label: "app".into(), location, weight: 3, ..config }
}

fn host_entry(name: &str) -> ServerConfig {
    entry(Location::Host(name.to_owned(), 8080))
}

fn host(name: &str, addresses: &[&str]) -> FoundHost {
    FoundHost {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        lacks_v4: false,
        lacks_v6: false,
        is_local: false,
        service: None,
    }
}

fn serving(priority: u16, weight: u16, port: u16, host: FoundHost) -> FoundHost {
    FoundHost { service: Some(ServiceRecord { priority, weight, port }), ..host }
}

fn answer(hosts: Vec<FoundHost>) -> Answer {
    Answer { hosts, ttl: Duration::from_secs(60) }
}

fn labels(findings: &Findings) -> Vec<&str> {
    findings.servers.iter().map(|server| &*server.label).collect()
}

#[test]
fn every_address_is_a_server() {
    let addresses = ["10.0.0.2", "10.0.0.1", "2001:db8::1", "10.0.0.1"];
    let findings =
        servers(4, &host_entry("app.internal"), &answer(vec![host("app.internal", &addresses)]), false);
    assert_eq!(labels(&findings), ["app (10.0.0.1)", "app (10.0.0.2)", "app (2001:db8::1)"]);
    assert!(
        findings.servers.iter().all(|server| (server.entry, server.weight, server.backup) == (4, 3, false))
    );
}

#[test]
fn one_address_of_each_family_is_one_server() {
    let both = answer(vec![host("app.internal", &["10.0.0.1", "2001:db8::1"])]);
    let findings = servers(0, &host_entry("app.internal"), &both, false);
    let [server] = &findings.servers[..] else { panic!("{findings:?}") };
    let addresses: Vec<_> = server.endpoint.addresses().map(|address| address.to_string()).collect();
    assert_eq!(addresses, ["[2001:db8::1]:8080", "10.0.0.1:8080"], "IPv6 first");
    assert_eq!((server.endpoint.name(), &*server.label), ("app.internal", "app (2001:db8::1, 10.0.0.1)"));
}

#[test]
fn a_service_says_who_is_asked_first_how_often_and_where() {
    let config = entry(Location::Service("_http._tcp.app.internal".to_owned()));
    let findings = servers(
        0,
        &config,
        &answer(vec![
            serving(20, 65_535, 83, host("c.internal", &["10.0.0.3"])),
            serving(10, 0, 81, host("a.internal", &["10.0.0.1"])),
            serving(10, 32_768, 82, host("b.internal", &["10.0.0.2", "2001:db8::2"])),
        ]),
        false,
    );
    assert_eq!(
        labels(&findings),
        ["app (10.0.0.1:81)", "app ([2001:db8::2]:82, 10.0.0.2:82)", "app (10.0.0.3:83)"]
    );
    let shares: Vec<_> = findings.servers.iter().map(|server| (server.weight, server.backup)).collect();
    assert_eq!(shares, [(1, false), (500, false), (1_000, true)]);
    assert_eq!(findings.servers[1].endpoint.name(), "b.internal");
}

#[test]
fn a_later_host_comes_first_where_the_first_have_no_address() {
    let config = entry(Location::Service("_http._tcp.example.com".to_owned()));
    let findings = servers(
        0,
        &config,
        &answer(vec![
            serving(10, 1, 80, host("a.example.com", &["10.0.0.1"])),
            serving(20, 1, 80, host("b.example.com", &["192.0.2.1"])),
        ]),
        false,
    );
    assert_eq!(labels(&findings), ["app (192.0.2.1:80)"]);
    assert!(!findings.servers[0].backup);
}

#[test]
fn a_public_name_leads_to_no_private_network_unless_allowed() {
    let mixed = answer(vec![host("app.example.com", &["10.0.0.1", "192.0.2.1", "::1"])]);
    let public = host_entry("app.example.com");
    let findings = servers(0, &public, &mixed, false);
    assert_eq!(labels(&findings), ["app (192.0.2.1)"]);
    assert_eq!(findings.refused, ["10.0.0.1", "::1"].map(|address| address.parse::<IpAddr>().unwrap()));
    assert_eq!(servers(0, &public, &mixed, true).servers.len(), 3);
    assert_eq!(servers(0, &host_entry("app.internal"), &mixed, false).servers.len(), 3);
    let own_word = answer(vec![FoundHost { is_local: true, ..mixed.hosts[0].clone() }]);
    assert_eq!(servers(0, &public, &own_word, false).servers.len(), 3);
}

#[test]
fn what_nobody_tells_is_as_it_was() {
    let last = answer(vec![host("app.internal", &["10.0.0.1", "2001:db8::1"])]);
    let now = |lacks_v4, lacks_v6, addresses: &[&str]| {
        let mut now = answer(vec![FoundHost { lacks_v4, lacks_v6, ..host("app.internal", addresses) }]);
        keep_what_is_unanswered(&mut now, &last);
        now.hosts.remove(0).addresses
    };
    let of = |addresses: &[&str]| host("", addresses).addresses;
    assert_eq!(now(false, true, &["10.0.0.2"]), of(&["10.0.0.2", "2001:db8::1"]));
    assert_eq!(now(true, true, &[]), of(&["10.0.0.1", "2001:db8::1"]));
    assert_eq!(now(false, false, &["10.0.0.2"]), of(&["10.0.0.2"]), "none is an answer, too");
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        (1..4u8).prop_map(|last| IpAddr::from([127, 0, 0, last])),
    ];
    prop::collection::vec(address, 0..6)
}

fn hosts() -> impl Strategy<Value = Vec<FoundHost>> {
    let service = (0..3u16, any::<u16>(), 1..u16::MAX);
    let host = ("[a-c]", addresses(), service).prop_map(|(name, addresses, (priority, weight, port))| {
        serving(priority, weight, port, FoundHost { addresses, ..host(&name, &[]) })
    });
    prop::collection::vec(host, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn servers_are_bounded_distinct_and_the_same_in_any_order(
        (hosts, shuffled) in hosts().prop_flat_map(|hosts| (Just(hosts.clone()), Just(hosts).prop_shuffle())),
    ) {
        let config = entry(Location::Service("_http._tcp.example.com".to_owned()));
        let findings = servers(0, &config, &answer(hosts), false);
        prop_assert_eq!(&findings, &servers(0, &config, &answer(shuffled), false));
        prop_assert!(findings.servers.len() <= MOST_SERVERS);
        prop_assert!(findings.left_out == 0 || findings.servers.len() == MOST_SERVERS);
        for (index, server) in findings.servers.iter().enumerate() {
            prop_assert!((1..=MOST_WEIGHT).contains(&server.weight));
            prop_assert!(server.endpoint.addresses().all(|address| !is_inward(address.ip())));
            prop_assert!(findings.servers[..index].iter().all(|other| other.endpoint != server.endpoint));
        }
        prop_assert!(findings.servers.is_empty() || !findings.servers[0].backup);
    }
}
