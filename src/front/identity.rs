//! Who asks: the client's address and scheme, from the connection or, where its
//! peer is a trusted proxy, from what that says. Pure.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::exchange::{ConnectionInfo, Scheme};

/// Stands for what is no text.
const NO_TEXT: &str = "?";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) client: IpAddr,
    pub(super) scheme: Scheme,
    /// The peer is one of the trusted proxies.
    pub(super) trusted: bool,
}

/// Reads `Forwarded` (RFC 7239) and `X-Forwarded-For`/`-Proto` of a trusted
/// peer, from the right: the first address that is not itself trusted is the
/// client's.
pub(super) fn identify(connection: &ConnectionInfo, fields: &HeaderMap, trusted: &[IpNet]) -> Identity {
    let peer = connection.peer.ip().to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !is_trusted(&peer) {
        return Identity { client: peer, scheme: connection.scheme, trusted: false };
    }
    let hops = hops(fields);
    let client = hops.iter().rev().copied().find(|hop| !is_trusted(hop)).or(hops.first().copied());
    let scheme = match forwarded_scheme(fields) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ => connection.scheme,
    };
    Identity { client: client.unwrap_or(peer), scheme, trusted: true }
}

/// The addresses the request passed, the nearest last; what is no address ends
/// the list towards the client.
fn hops(fields: &HeaderMap) -> Vec<IpAddr> {
    let mut hops = Vec::new();
    let values: Vec<&str> = members(fields, "x-forwarded-for")
        .or_else(|| {
            members(fields, "forwarded")
                .map(|all| all.into_iter().filter_map(|one| parameter(one, "for")).collect())
        })
        .unwrap_or_default();
    for value in values.into_iter().rev() {
        let Some(address) = address(value) else { break };
        hops.push(address);
    }
    hops.reverse();
    hops
}

/// The scheme the nearest proxy was asked with.
fn forwarded_scheme(fields: &HeaderMap) -> Option<&str> {
    match members(fields, "x-forwarded-proto") {
        Some(all) => all.last().copied(),
        None => members(fields, "forwarded").and_then(|all| parameter(all.last()?, "proto")),
    }
}

/// The members of a list, if there is that field. What is no text is one all the same:
/// a client that writes it does not choose what else is believed.
fn members<'a>(fields: &'a HeaderMap, name: &str) -> Option<Vec<&'a str>> {
    let lines = fields.get_all(name).iter();
    let written = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let texts = written.map(|member| str::from_utf8(member).map_or(NO_TEXT, str::trim));
    fields.contains_key(name).then(|| texts.filter(|member| !member.is_empty()).collect())
}

fn parameter<'a>(member: &'a str, name: &str) -> Option<&'a str> {
    member.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

fn address(written: &str) -> Option<IpAddr> {
    let bare = written.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(written);
    let address =
        bare.parse().ok().or_else(|| written.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn identified(peer: &str, fields: &[(&'static str, &'static str)]) -> (String, Scheme, bool) {
        let connection = ConnectionInfo {
            peer: peer.parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            scheme: Scheme::Http,
            tls: None,
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                *name,
                HeaderValue::from_bytes(&value.chars().map(|c| c as u8).collect::<Vec<_>>()).unwrap(),
            );
        }
        let identity = identify(&connection, &map, &["10.0.0.0/8".parse().unwrap()]);
        (identity.client.to_string(), identity.scheme, identity.trusted)
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        let fields = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "https")];
        assert_eq!(identified("1.2.3.4:5", &fields), ("1.2.3.4".into(), Scheme::Http, false));
        assert_eq!(identified("10.0.0.1:5", &fields), ("9.9.9.9".into(), Scheme::Https, true));
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        let fields = [("x-forwarded-for", "6.6.6.6, 9.9.9.9"), ("x-forwarded-for", "10.0.0.7")];
        assert_eq!(identified("10.0.0.1:5", &fields).0, "9.9.9.9");
    }

    #[test]
    fn what_stands_left_of_nonsense_is_not_believed() {
        assert_eq!(identified("10.0.0.1:5", &[("x-forwarded-for", "6.6.6.6, unknown")]).0, "10.0.0.1");
    }

    #[test]
    fn a_client_does_not_choose_which_field_is_believed() {
        let own = ("forwarded", "for=6.6.6.6;proto=https");
        for lines in [&["\u{e9}, 9.9.9.9"][..], &["\u{e9}", "9.9.9.9"], &["6.6.6.6, \u{e9}, 9.9.9.9"]] {
            let lines = lines.iter().map(|line| ("x-forwarded-for", *line));
            let fields: Vec<_> = lines.chain([("x-forwarded-proto", "\u{e9}, http"), own]).collect();
            assert_eq!(identified("10.0.0.1:5", &fields), ("9.9.9.9".into(), Scheme::Http, true));
        }
        let fields = [("x-forwarded-for", "9.9.9.9, \u{e9}"), ("x-forwarded-proto", ""), own];
        assert_eq!(identified("10.0.0.1:5", &fields), ("10.0.0.1".into(), Scheme::Http, true));
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_other() {
        let fields = [("forwarded", "for=\"[2001:db8::1]:99\";proto=https;by=10.0.0.1")];
        assert_eq!(identified("10.0.0.1:5", &fields), ("2001:db8::1".into(), Scheme::Https, true));
    }
}
