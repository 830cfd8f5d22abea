//! Where the servers under a name are, and how long that holds: asked for as
//! programs of this machine do, in the hosts file, then in DNS, with the domains
//! that are searched; or of one DNS server alone. It never decides who is used.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use hickory_resolver::Hosts;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{Found, NameServers, ResolveError, address, settings, written};

/// Where a DNS server of this machine listens.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// So many hosts of a service are looked up at a time, ...
const HOSTS_AT_A_TIME: usize = 16;
/// ... and so many at most.
const MOST_HOSTS: usize = 512;

/// Finds hosts and services.
#[derive(Debug)]
pub struct Directory {
    servers: NameServers,
    hosts: Hosts,
    search: Vec<Name>,
    /// A name with fewer dots is searched for before it is taken as it is.
    dots: usize,
}

/// What was found, and for how long that is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One host, or those of a service.
    pub hosts: Vec<FoundHost>,
    /// The shortest of all lifetimes.
    pub ttl: Duration,
}

/// A host under the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHost {
    /// What it is called, in lower case.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Nobody told its IPv4 addresses, which is not the same as that it has none.
    pub lacks_v4: bool,
    /// The same for IPv6.
    pub lacks_v6: bool,
    /// The hosts file or the search domains of this machine led there.
    pub is_local: bool,
    /// How it serves, where a service was asked for.
    pub service: Option<ServiceRecord>,
}

/// What a SRV record says of its host (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceRecord {
    /// Hosts of a higher number only where those of lower ones cannot be reached.
    pub priority: u16,
    /// The share among hosts of the same priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// DNS knows no such name.
    #[error("DNS has no such name")]
    NoName,
    /// It does, but has nothing of the kind under it.
    #[error("DNS has no address or service under the name")]
    NoRecords,
    /// Nobody knows.
    #[error(transparent)]
    Unanswered(#[from] ResolveError),
}

impl Directory {
    /// What the system says now in its hosts file and in `/etc/resolv.conf`; or DNS as
    /// the server at `address` has it, for complete names only. A question is given
    /// up after twice `patience`. Blocks on two small files.
    pub fn open(address: Option<SocketAddr>, patience: Duration) -> Result<Self, ResolveError> {
        // Where no server is named, that of this machine is meant (resolv.conf(5)).
        let (config, options) = settings(address).or_else(|_| settings(Some(HERE)))?;
        let (hosts, mut search) = match address {
            Some(_) => (Hosts::default(), Vec::new()),
            // Without the file nobody is in it.
            None => (Hosts::from_system().unwrap_or_default(), config.search.clone()),
        };
        if search.is_empty() {
            search.extend(config.domain.clone());
        }
        let dots = options.ndots;
        Ok(Self { servers: NameServers::with(config, options, patience)?, hosts, search, dots })
    }

    /// The host of this name. Cancel safe.
    pub async fn host(&self, name: &str) -> Result<Answer, NotFound> {
        let mut nothing = NotFound::NoName;
        for candidate in candidates(name, self.dots, &self.search)? {
            let is_local = candidate.is_searched;
            match self.host_at(candidate.name).await {
                Ok((host, ttl)) => {
                    let name = name.trim_end_matches('.').to_ascii_lowercase();
                    let is_local = is_local || host.is_local;
                    return Ok(Answer { hosts: vec![FoundHost { name, is_local, ..host }], ttl });
                }
                // What is searched for further on is another host: silence is not a no.
                Err(NotFound::Unanswered(error)) => return Err(error.into()),
                Err(NotFound::NoRecords) => nothing = NotFound::NoRecords,
                Err(NotFound::NoName) => {}
            }
        }
        Err(nothing)
    }

    /// The hosts of the service of this name (RFC 2782). Cancel safe.
    pub async fn service(&self, name: &str) -> Result<Answer, NotFound> {
        let mut nothing = NotFound::NoName;
        for candidate in candidates(name, self.dots, &self.search)? {
            match self.servers.records(candidate.name, RecordType::SRV).await? {
                Found::NoName => {}
                Found::Records(records) => match self.hosts_of(&records, candidate.is_searched).await? {
                    Some(answer) => return Ok(answer),
                    None => nothing = NotFound::NoRecords,
                },
            }
        }
        Err(nothing)
    }

    /// The hosts that SRV records name; `None` if they name none. Fails if nobody tells
    /// where any of them is.
    async fn hosts_of(&self, records: &[Record], is_local: bool) -> Result<Option<Answer>, ResolveError> {
        let mut named: Vec<SRV> = records.iter().filter_map(service).cloned().collect();
        named.sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        named.truncate(MOST_HOSTS);
        let looked_up = futures_util::stream::iter(named).map(|srv| async move {
            let (host, told) = match self.host_at(srv.target.clone()).await {
                Ok((host, ttl)) => (host, Ok(ttl)),
                Err(NotFound::Unanswered(error)) => (FoundHost::silent(), Err(error)),
                Err(NotFound::NoName | NotFound::NoRecords) => return None,
            };
            let SRV { priority, weight, port, .. } = srv;
            let service = Some(ServiceRecord { priority, weight, port });
            let name = written(&srv.target);
            Some((FoundHost { name, service, is_local: is_local || host.is_local, ..host }, told))
        });
        let found = looked_up.buffered(HOSTS_AT_A_TIME).filter_map(std::future::ready);
        let (hosts, told): (Vec<_>, Vec<_>) = found.unzip().await;
        let (mut lifetimes, mut failure) = (Vec::new(), None);
        for told in told {
            match told {
                Ok(ttl) => lifetimes.push(ttl),
                Err(error) => failure = Some(error),
            }
        }
        let shortest = lifetimes.iter().copied().chain(shortest(records)).min();
        match failure {
            Some(error) if lifetimes.is_empty() => Err(error),
            _ => Ok(shortest.filter(|_| !hosts.is_empty()).map(|ttl| Answer { hosts, ttl })),
        }
    }

    /// The addresses of a complete name.
    async fn host_at(&self, name: Name) -> Result<(FoundHost, Duration), NotFound> {
        let in_file = self.in_hosts_file(&name);
        if !in_file.is_empty() {
            return Ok((FoundHost { is_local: true, ..FoundHost::of(&in_file) }, Duration::MAX));
        }
        let (v4, v6) = tokio::join!(
            self.servers.records(name.clone(), RecordType::A),
            self.servers.records(name, RecordType::AAAA)
        );
        let (lacks_v4, lacks_v6) = (v4.is_err(), v6.is_err());
        let is_no_name = matches!((&v4, &v6), (Ok(Found::NoName), _) | (_, Ok(Found::NoName)));
        let (mut records, mut failure) = (Vec::new(), None);
        for found in [v4, v6] {
            match found {
                Ok(found) => records.extend(found.records()),
                Err(error) => failure = Some(error),
            }
        }
        let host = FoundHost { lacks_v4, lacks_v6, ..FoundHost::of(&records) };
        match (shortest(&records), failure) {
            (Some(ttl), _) if !host.addresses.is_empty() => Ok((host, ttl)),
            (_, Some(error)) => Err(error.into()),
            (_, None) if is_no_name => Err(NotFound::NoName),
            (_, None) => Err(NotFound::NoRecords),
        }
    }

    fn in_hosts_file(&self, name: &Name) -> Vec<Record> {
        let kinds = [RecordType::A, RecordType::AAAA];
        let found = kinds
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        found.flat_map(|lookup| lookup.answers().to_vec()).collect()
    }
}

impl FoundHost {
    /// The host that has these records.
    fn of(records: &[Record]) -> Self {
        let addresses = records.iter().filter_map(|record| address(&record.data)).collect();
        Self { addresses, lacks_v4: false, lacks_v6: false, ..Self::silent() }
    }

    /// A host of which nothing was told.
    fn silent() -> Self {
        let (name, addresses) = (String::new(), Vec::new());
        Self { name, addresses, lacks_v4: true, lacks_v6: true, is_local: false, service: None }
    }
}

/// A complete name that is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    name: Name,
    /// A domain of the system made it complete.
    is_searched: bool,
}

/// What `name` may stand for, in the order in which that is asked for
/// (resolv.conf(5)).
fn candidates(name: &str, dots: usize, search: &[Name]) -> Result<Vec<Candidate>, ResolveError> {
    let mut complete = Name::from_ascii(name).map_err(ResolveError::Name)?;
    let is_complete = complete.is_fqdn();
    let relative = complete.clone();
    complete.set_fqdn(true);
    let as_it_is = || Candidate { name: complete.clone(), is_searched: false };
    // RFC 6761 s6.3: no domain has a localhost of its own.
    if is_complete || complete.is_localhost() {
        return Ok(vec![as_it_is()]);
    }
    let is_first = name.bytes().filter(|byte| *byte == b'.').count() >= dots;
    // A name that becomes too long is nobody's.
    let searched = search.iter().filter_map(|domain| relative.clone().append_domain(domain).ok());
    let searched = searched.map(|name| Candidate { name, is_searched: true });
    let (before, after) = if is_first { (Some(as_it_is()), None) } else { (None, Some(as_it_is())) };
    Ok(before.into_iter().chain(searched).chain(after).collect())
}

/// A host that serves; the root stands for none (RFC 2782), and nobody listens at 0.
fn service(record: &Record) -> Option<&SRV> {
    match &record.data {
        RData::SRV(srv) if !srv.target.is_root() && srv.port != 0 => Some(srv),
        _ => None,
    }
}

fn shortest(records: &[Record]) -> Option<Duration> {
    records.iter().map(|record| Duration::from_secs(record.ttl.into())).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, dots: usize) -> Vec<String> {
        let search = ["shop.svc.cluster.local.", "cluster.local."].map(|name| name.parse().unwrap());
        let candidates = candidates(name, dots, &search).unwrap();
        candidates.iter().map(|candidate| candidate.name.to_ascii()).collect()
    }

    #[test]
    fn short_names_are_searched_for_first_and_long_ones_last() {
        let [short, long] = ["app", "app.other"].map(|name| {
            [format!("{name}."), format!("{name}.shop.svc.cluster.local."), format!("{name}.cluster.local.")]
        });
        let [as_it_is, first, second] = &short;
        assert_eq!(names("app", 1), [first, second, as_it_is].map(String::clone));
        assert_eq!(names("app.other", 1), long);
        let [as_it_is, first, second] = &long;
        assert_eq!(names("app.other", 5), [first, second, as_it_is].map(String::clone));
        assert_eq!(names("app.", 5), ["app."]);
        assert_eq!(names("localhost", 1), ["localhost."]);
        assert!(candidates(&"a".repeat(64), 1, &[]).is_err());
    }

    #[test]
    fn what_a_domain_made_complete_is_told_apart() {
        let search = ["cluster.local.".parse().unwrap()];
        let searched: Vec<_> = candidates("app", 1, &search).unwrap();
        assert_eq!(searched.iter().map(|each| each.is_searched).collect::<Vec<_>>(), [true, false]);
    }
}
