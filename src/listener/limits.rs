//! How many connections there may be, in all and from one client address, and
//! which of them are told by others whose they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::config::model::Config;
use crate::telemetry::metrics::Limit;

/// Maps of counts, so that workers seldom wait for each other.
const SHARDS: usize = 64;

/// Counts the open connections of all workers.
#[derive(Debug)]
pub struct ConnectionLimits {
    rules: ArcSwap<Rules>,
    open: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// What a configuration says of connections.
#[derive(Debug)]
struct Rules {
    most: usize,
    most_per_client: Option<usize>,
    /// From the limit per client.
    exempt: Vec<IpNet>,
    /// Networks whose connections begin with a PROXY header.
    proxies: Vec<IpNet>,
}

impl Rules {
    fn of(config: &Config) -> Self {
        Self {
            most: config.limits.connections,
            most_per_client: config.limits.connections_per_ip,
            exempt: config.listen.trusted_proxies.clone(),
            proxies: config.listen.proxy_protocol_from.clone(),
        }
    }
}

impl ConnectionLimits {
    /// The limits of a configuration; trusted proxies are exempt from the one
    /// per client.
    pub fn new(config: &Config) -> Self {
        Self {
            rules: ArcSwap::from_pointee(Rules::of(config)),
            open: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Holds what comes from now on to the limits of another configuration.
    pub fn become_those_of(&self, config: &Config) {
        self.rules.store(Arc::new(Rules::of(config)));
    }

    /// True for the peer of a connection that begins with a PROXY header.
    pub fn is_proxied(&self, peer: IpAddr) -> bool {
        self.rules.load().proxies.iter().any(|network| network.contains(&peer))
    }

    /// Counts a connection of `peer` until the permit is dropped, or names the
    /// limit that stands against it.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, Limit> {
        let mut permit = self.admit_unnamed()?;
        permit.name(peer)?;
        Ok(permit)
    }

    /// The same for a connection whose client is still to be told.
    pub fn admit_unnamed(self: &Arc<Self>) -> Result<ConnectionPermit, Limit> {
        if self.open.fetch_add(1, Relaxed) >= self.rules.load().most {
            self.open.fetch_sub(1, Relaxed);
            return Err(Limit::Connections);
        }
        Ok(ConnectionPermit { limits: Arc::clone(self), client: None })
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let bits = match client {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64,
        };
        &self.clients[(bits % SHARDS as u128) as usize]
    }

    fn release(&self, client: IpAddr) {
        let mut counts = self.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

/// A client has a whole IPv6 /64 to itself.
fn client_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// The place of one open connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    client: Option<IpAddr>,
}

impl ConnectionPermit {
    /// Counts the connection as one of `client`, once that is known, unless a
    /// limit stands against it.
    pub fn name(&mut self, client: IpAddr) -> Result<(), Limit> {
        let address = client.to_canonical();
        let rules = self.limits.rules.load();
        let is_exempt = rules.exempt.iter().any(|network| network.contains(&address));
        let Some(most) = rules.most_per_client.filter(|_| !is_exempt) else { return Ok(()) };
        let client = client_of(address);
        let mut counts = self.limits.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= most {
            return Err(Limit::ConnectionsPerIp);
        }
        *count += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Relaxed);
        if let Some(client) = self.client {
            self.limits.release(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: usize, per_client: usize) -> Arc<ConnectionLimits> {
        let rules = Rules {
            most,
            most_per_client: Some(per_client),
            exempt: vec!["10.0.0.0/8".parse().unwrap()],
            proxies: Vec::new(),
        };
        Arc::new(ConnectionLimits {
            rules: ArcSwap::from_pointee(rules),
            open: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
        })
    }

    #[test]
    fn a_client_has_its_limit_and_gets_its_places_back() {
        let limits = limits(100, 2);
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let held = [limits.admit(client).unwrap(), limits.admit(neighbour).unwrap()];
        assert_eq!(limits.admit(client).unwrap_err(), Limit::ConnectionsPerIp);
        assert_eq!(limits.open(), 2);
        drop(held);
        assert!(limits.admit(client).is_ok());
    }

    #[test]
    fn all_together_have_theirs() {
        let limits = limits(1, 10);
        let _held = limits.admit("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(limits.admit("127.0.0.2".parse().unwrap()).unwrap_err(), Limit::Connections);
    }

    #[test]
    fn who_is_named_later_counts_from_then_on() {
        let limits = limits(2, 1);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut named = limits.admit_unnamed().unwrap();
        let mut other = limits.admit_unnamed().unwrap();
        assert_eq!(limits.admit_unnamed().unwrap_err(), Limit::Connections);
        named.name(client).unwrap();
        assert_eq!(other.name(client), Err(Limit::ConnectionsPerIp));
        drop(named);
        assert_eq!(other.name(client), Ok(()));
        drop(other);
        assert!(limits.open() == 0 && limits.admit(client).is_ok());
    }

    #[test]
    fn trusted_proxies_are_exempt_from_the_limit_per_client() {
        let limits = limits(100, 1);
        let held: Vec<_> = (0..5).map(|_| limits.admit("::ffff:10.0.0.1".parse().unwrap())).collect();
        assert!(held.iter().all(Result::is_ok));
    }
}
