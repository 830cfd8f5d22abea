//! Which servers follow from an answer of DNS. Pure: the same answer, in whatever
//! order, makes the same servers in the same order.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::inward::{is_inward, is_public};
use crate::config::model::{Location, OriginProtocol, ServerConfig};
use crate::resolve::{Answer, FoundHost};
use crate::upstream::Endpoint;

/// So many servers of one name are used.
pub(super) const MOST_SERVERS: usize = 256;

/// The weights of a service are brought down to this where they are above.
const MOST_WEIGHT: u32 = 1_000;

/// A server of a pool, as the config gives it or as it was found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::balance) struct FoundServer {
    /// The place of what it stands for in the config.
    pub(in crate::balance) entry: usize,
    /// Names it in logs.
    pub(in crate::balance) label: Arc<str>,
    pub(in crate::balance) endpoint: Endpoint,
    pub(in crate::balance) tls: bool,
    pub(in crate::balance) protocol: OriginProtocol,
    /// Its share against the others, at least 1.
    pub(in crate::balance) weight: u32,
    /// Only picked when there is nobody else.
    pub(in crate::balance) backup: bool,
}

/// What an answer comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) servers: Vec<FoundServer>,
    /// Addresses that a public name must not have.
    pub(super) refused: Vec<IpAddr>,
    /// Servers that are too many.
    pub(super) left_out: usize,
}

impl FoundServer {
    /// One that the config gives; `None` where it gives a name.
    pub(in crate::balance) fn fixed(entry: usize, config: &ServerConfig) -> Option<Self> {
        let (label, endpoint) = (Arc::clone(&config.label), Endpoint::fixed(config)?);
        let ServerConfig { tls, protocol, weight, backup, .. } = *config;
        Some(Self { entry, label, endpoint, tls, protocol, weight, backup })
    }
}

/// Where `last` told addresses of a kind that nobody tells now, they are still true.
pub(super) fn keep_what_is_unanswered(answer: &mut Answer, last: &Answer) {
    for host in &mut answer.hosts {
        let port = |host: &FoundHost| host.service.map(|service| service.port);
        let is_it = |before: &&FoundHost| before.name == host.name && port(before) == port(host);
        let Some(before) = last.hosts.iter().find(is_it) else { continue };
        let (lacks_v4, lacks_v6) = (host.lacks_v4, host.lacks_v6);
        let is_untold = |address: &&IpAddr| if address.is_ipv4() { lacks_v4 } else { lacks_v6 };
        host.addresses.extend(before.addresses.iter().filter(is_untold));
        // Its addresses are those of a time when it was.
        host.is_local |= before.is_local && host.lacks_v4 && host.lacks_v6;
    }
}

/// The servers of the entry `config`, which is at the place `entry`.
pub(super) fn servers(entry: usize, config: &ServerConfig, answer: &Answer, allow_private: bool) -> Findings {
    let (name, port) = match &config.location {
        Location::Host(name, port) => (name, Some(*port)),
        Location::Service(name) => (name, None),
        Location::Address(_) | Location::Socket(_) => return Findings::default(),
    };
    let is_guarded = !allow_private && is_public(name);
    let mut refused = Vec::new();
    let mut hosts: Vec<(&FoundHost, u16, Vec<IpAddr>)> = Vec::new();
    for host in &answer.hosts {
        let Some(port) = port.or(host.service.map(|service| service.port)) else { continue };
        let (inward, mut used): (Vec<_>, Vec<_>) =
            host.addresses.iter().partition(|address| is_guarded && !host.is_local && is_inward(**address));
        refused.extend(inward);
        used.sort_unstable();
        used.dedup();
        if !used.is_empty() {
            hosts.push((host, port, used));
        }
    }
    let shares = Shares::of(hosts.iter().map(|(host, ..)| *host));
    let mut servers: Vec<_> = hosts
        .iter()
        .flat_map(|(host, port, addresses)| {
            let (weight, is_later) = shares.of_host(host, config.weight);
            endpoints(&host.name, *port, addresses).into_iter().map(move |endpoint| FoundServer {
                entry,
                label: label(config, &endpoint),
                endpoint,
                tls: config.tls,
                protocol: config.protocol,
                weight,
                backup: config.backup || is_later,
            })
        })
        .collect();
    // Of what is there twice the first is more willing.
    servers.sort_by(|a, b| (a.backup, &a.endpoint, b.weight).cmp(&(b.backup, &b.endpoint, a.weight)));
    let mut seen = HashSet::new();
    servers.retain(|server| seen.insert(server.endpoint.clone()));
    let left_out = servers.len().saturating_sub(MOST_SERVERS);
    servers.truncate(MOST_SERVERS);
    refused.sort_unstable();
    refused.dedup();
    Findings { servers, refused, left_out }
}

/// The servers at the addresses of a host. One of each family is a server that has
/// two; of more than that each is a server.
fn endpoints(host: &str, port: u16, addresses: &[IpAddr]) -> Vec<Endpoint> {
    let at = |address: IpAddr, other: Option<IpAddr>| Endpoint::Tcp {
        host: host.to_owned(),
        address: SocketAddr::new(address, port),
        other: other.map(|other| SocketAddr::new(other, port)),
    };
    match addresses {
        // Sorted: IPv4 comes first.
        [v4, v6] if v4.is_ipv4() && v6.is_ipv6() => vec![at(*v6, Some(*v4))],
        all => all.iter().map(|address| at(*address, None)).collect(),
    }
}

/// What the entry is called, and which of its servers this is.
fn label(config: &ServerConfig, endpoint: &Endpoint) -> Arc<str> {
    let address = |address: SocketAddr| match config.location {
        Location::Service(_) => address.to_string(),
        _ => address.ip().to_string(),
    };
    let addresses: Vec<_> = endpoint.addresses().map(address).collect();
    format!("{} ({})", config.label, addresses.join(", ")).into()
}

/// How the hosts of a service share out the requests (RFC 2782).
struct Shares {
    /// The lowest number, which comes first.
    priority: u16,
    heaviest: u16,
}

impl Shares {
    fn of<'a>(hosts: impl Iterator<Item = &'a FoundHost> + Clone) -> Self {
        let services = hosts.filter_map(|host| host.service);
        Self {
            priority: services.clone().map(|service| service.priority).min().unwrap_or_default(),
            heaviest: services.map(|service| service.weight).max().unwrap_or_default(),
        }
    }

    /// The weight of a server of this host, and whether it has to wait for others.
    fn of_host(&self, host: &FoundHost, weight: u32) -> (u32, bool) {
        let Some(service) = host.service else { return (weight, false) };
        let (own, heaviest) = (u32::from(service.weight), u32::from(self.heaviest));
        let scaled = if heaviest > MOST_WEIGHT { own * MOST_WEIGHT / heaviest } else { own };
        (scaled.max(1), service.priority > self.priority)
    }
}

#[cfg(test)]
mod tests;
