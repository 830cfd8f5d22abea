//! Asks DNS servers: those of `/etc/resolv.conf`, or one that the config names.
//! Every question goes out anew, and no cache answers; the hosts file only where
//! servers are looked for as programs of this machine do (`directory`). It never
//! decides what an answer means.

mod directory;
mod here;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;

pub use directory::{Answer, Directory, FoundHost, NotFound, ServiceRecord};
pub use here::is_here;

/// The DNS servers that are asked.
#[derive(Debug)]
pub struct NameServers(TokioResolver);

/// What DNS has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// These; none where there is something else under the name.
    Records(Vec<T>),
    /// There is no such name.
    NoName,
}

/// A CAA record (RFC 8659 s4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// Who does not know the property must not issue.
    pub is_critical: bool,
    /// The name of the property, as it is written.
    pub tag: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The DNS servers of the system are not known.
    #[error("cannot tell from /etc/resolv.conf which DNS servers to ask")]
    System(#[source] NetError),
    /// Not a name of DNS.
    #[error("not a name of DNS")]
    Name(#[source] ProtoError),
    /// The servers do not answer, or refuse to.
    #[error("the DNS server says `{0}`")]
    Refused(String),
    /// Nothing came back that could be used.
    #[error("no answer of a DNS server")]
    NoAnswer(#[source] NetError),
}

impl NameServers {
    /// The server at `address`, or those of the system, which are read anew each
    /// time. A question is given up after twice `patience`.
    pub fn new(address: Option<SocketAddr>, patience: Duration) -> Result<Self, ResolveError> {
        let (config, options) = settings(address)?;
        Self::with(config, options, patience)
    }

    fn with(
        config: ResolverConfig,
        mut options: ResolverOpts,
        patience: Duration,
    ) -> Result<Self, ResolveError> {
        (options.timeout, options.attempts) = (patience, 1);
        (options.cache_size, options.use_hosts_file) = (0, ResolveHosts::Never);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.with_options(options).build().map(Self).map_err(ResolveError::System)
    }

    /// The addresses of a name, IPv4 first. What one kind lacks the other makes
    /// up for. Cancel safe.
    pub async fn addresses(&self, name: &str) -> Result<Found<IpAddr>, ResolveError> {
        let (v4, v6) = tokio::join!(self.look_up(name, RecordType::A), self.look_up(name, RecordType::AAAA));
        match (v4.map(|found| found.of(address)), v6.map(|found| found.of(address))) {
            (Ok(Found::Records(mut v4)), Ok(Found::Records(v6))) => {
                v4.extend(v6);
                Ok(Found::Records(v4))
            }
            (Ok(Found::Records(some)), _) | (_, Ok(Found::Records(some))) if !some.is_empty() => {
                Ok(Found::Records(some))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(Found::NoName), _) | (_, Ok(Found::NoName)) => Ok(Found::NoName),
        }
    }

    /// The CAA records at a name itself, or where it is an alias of another. Cancel
    /// safe.
    pub async fn caa(&self, name: &str) -> Result<Found<Caa>, ResolveError> {
        let found = self.look_up(name, RecordType::CAA).await?;
        Ok(found.of(|data| match data {
            RData::CAA(caa) => {
                Some(Caa { is_critical: caa.issuer_critical, tag: caa.tag.clone(), value: caa.value.clone() })
            }
            _ => None,
        }))
    }

    /// What a name is an alias of, in lower case; `None` for what is none. Cancel
    /// safe.
    pub async fn alias(&self, name: &str) -> Result<Option<String>, ResolveError> {
        let found = self.look_up(name, RecordType::CNAME).await?;
        let target = |data: &RData| match data {
            RData::CNAME(target) => Some(written(target)),
            _ => None,
        };
        Ok(found.of(target).records().pop())
    }

    /// The zone that a name is in, in lower case; `None` if no DNS server says so.
    /// The root is none. Cancel safe.
    pub async fn zone(&self, name: &str) -> Result<Option<String>, ResolveError> {
        let mut name = complete(name)?;
        while !name.is_root() {
            let zone = match self.0.lookup(name.clone(), RecordType::SOA).await {
                Ok(found) => {
                    found.answers().iter().find(|record| begins_zone(record, &name)).map(|_| name.clone())
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => zone_above(&nothing, &name),
                Err(error) => return Err(error.into()),
            };
            if let Some(zone) = zone {
                return Ok(Some(written(&zone)));
            }
            name = name.base_name();
        }
        Ok(None)
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Result<Found<RData>, ResolveError> {
        let found = self.records(complete(name)?, kind).await?;
        Ok(found.of(|record| Some(record.data.clone())))
    }

    /// The records of a complete name, with the aliases that led to them.
    async fn records(&self, name: Name, kind: RecordType) -> Result<Found<Record>, ResolveError> {
        let none = |code| match code {
            ResponseCode::NXDomain => Found::NoName,
            _ => Found::Records(Vec::new()),
        };
        match self.0.lookup(name, kind).await {
            Ok(lookup) => Ok(Found::Records(lookup.answers().to_vec())),
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => Ok(none(nothing.response_code)),
            Err(error) => Err(error.into()),
        }
    }
}

impl ResolveError {
    /// True if nobody answered in time.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer(NetError::Timeout))
    }
}

impl From<NetError> for ResolveError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Refused(code.to_string()),
            error => Self::NoAnswer(error),
        }
    }
}

impl<T> Found<T> {
    /// The records; none without the name, too.
    pub fn records(self) -> Vec<T> {
        match self {
            Self::Records(records) => records,
            Self::NoName => Vec::new(),
        }
    }

    fn of<U>(self, which: impl FnMut(&T) -> Option<U>) -> Found<U> {
        match self {
            Self::Records(all) => Found::Records(all.iter().filter_map(which).collect()),
            Self::NoName => Found::NoName,
        }
    }
}

/// The name, which is not looked for in the domains that `resolv.conf` names.
fn complete(name: &str) -> Result<Name, ResolveError> {
    let mut name = Name::from_ascii(name).map_err(ResolveError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

fn begins_zone(record: &Record, name: &Name) -> bool {
    record.record_type() == RecordType::SOA && record.name == *name
}

/// The zone that does not have `name`, or not what was asked for (RFC 2308 s3).
fn zone_above(nothing: &NoRecords, name: &Name) -> Option<Name> {
    // Of where an alias leads it says nothing that counts.
    let soa = nothing.soa.as_ref().filter(|_| nothing.query.name() == name)?;
    (!soa.name.is_root() && soa.name.zone_of(name)).then(|| soa.name.clone())
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// In lower case, without a dot at its end.
fn written(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// How the server at `address` is asked, or else those of the system, as it says now.
fn settings(address: Option<SocketAddr>) -> Result<(ResolverConfig, ResolverOpts), ResolveError> {
    match address {
        Some(address) => Ok((only(address), ResolverOpts::default())),
        None => read_system_conf().map_err(ResolveError::System),
    }
}

fn only(address: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
    ResolverConfig::from_name_servers(vec![server])
}
