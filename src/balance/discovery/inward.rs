//! Which answers of DNS are refused: whoever has a public name could make it lead
//! into the network of the edge (DNS rebinding). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Domains that nobody can buy a name in: reserved by RFC 2606, 6761, 6762, 8375 and
/// ICANN, or never delegated because networks use them within.
const WITHIN: [&str; 13] = [
    "localhost",
    "local",
    "internal",
    "test",
    "home.arpa",
    "lan",
    "localdomain",
    "intranet",
    "private",
    "corp",
    "home",
    "svc",
    "consul",
];

/// True for a name that somebody outside may have.
pub(super) fn is_public(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |domain: &str| name.strip_suffix(domain).is_some_and(|above| above.ends_with('.'));
    name.contains('.') && !WITHIN.into_iter().any(is_below)
}

/// True for an address that means something else in every network, or this machine.
pub(super) fn is_inward(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_inward_v4(address),
        IpAddr::V6(address) => is_inward_v6(address),
    }
}

fn is_inward_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_this_network = first == 0;
    // RFC 6598: between a provider and its customers.
    let is_shared = first == 100 && second & 0b1100_0000 == 64;
    is_this_network
        || is_shared
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

fn is_inward_v6(address: Ipv6Addr) -> bool {
    // RFC 6052: a translator of the network leads on to an address of IPv4.
    let translated = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    };
    translated.is_some_and(is_inward_v4)
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_bought_are_public() {
        for name in
            ["app.example.com", "example.com.", "a.internal.example.com", "notlocal.org", "xlocal.xyz"]
        {
            assert!(is_public(name), "{name}");
        }
        for name in [
            "app",
            "localhost",
            "app.localhost",
            "printer.local",
            "APP.Internal.",
            "a.test",
            "nas.lan",
            "box.home.arpa",
            "app.default.svc",
            "app.default.svc.cluster.local",
            "db.service.consul",
        ] {
            assert!(!is_public(name), "{name}");
        }
    }

    #[test]
    fn addresses_of_networks_within_are_inward() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(is_inward(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "fec0::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(!is_inward(address.parse().unwrap()), "{address}");
        }
    }
}
