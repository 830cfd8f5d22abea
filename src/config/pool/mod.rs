//! `pool.NAME`: origin servers and how they are used. A site's plain list
//! becomes a pool of the same kind.

mod balance;
mod health;
mod resilience;
mod server;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use health::health;
pub(super) use server::servers;

use super::model::{
    Balance, ConnectionLife, HealthCheck, OriginProtocol, OriginTimeouts, PoolConfig, ProxyProtocol, Queue,
    ServerConfig,
};
use super::read::{Diagnostic, Entry, Fault, Reading, Span, Table, Value, did_you_mean};
use super::{Around, limits, resolver};

/// The keys of a pool that a site has not.
pub(super) const POOL_ONLY: [&str; 14] = [
    "resolver",
    "allow_private",
    "balance",
    "eject",
    "panic",
    "slow_start",
    "retry",
    "max_connections",
    "max_requests",
    "connection_age",
    "connection_requests",
    "queue",
    "timeouts",
    "proxy_protocol",
];

/// A server that takes longer to its full share is not meant.
const MOST_SLOW: Duration = Duration::from_secs(3600);

/// The pools of a file, and which of them a site has taken.
#[derive(Debug, Default)]
pub(super) struct Pools {
    by_name: BTreeMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    config: Arc<PoolConfig>,
    name_span: Span,
    is_used: bool,
}

impl Pools {
    /// The pool a site names.
    pub(super) fn take(&mut self, value: &Value<'_>) -> Option<Arc<PoolConfig>> {
        let name = value.text()?;
        if let Some(known) = self.by_name.get_mut(name) {
            known.is_used = true;
            return Some(Arc::clone(&known.config));
        }
        let names = || self.by_name.keys().map(|name| &**name).filter(|name| !name.starts_with("site:"));
        let help = match did_you_mean(name, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names().next().is_none() => "the file has no [pool.NAME]".to_owned(),
            None => format!("the pools are {}", names().collect::<Vec<_>>().join(", ")),
        };
        value.reading.report_missing(
            Diagnostic::error(format!("there is no pool `{}`", name.escape_debug()))
                .at(value.span.clone(), "not a pool of this file")
                .help(help),
        );
        None
    }

    /// Keeps the pool of a site's plain list.
    pub(super) fn add(&mut self, config: PoolConfig, span: Span) -> Arc<PoolConfig> {
        let config = Arc::new(config);
        let known = Known { config: Arc::clone(&config), name_span: span, is_used: true };
        self.by_name.insert(Arc::clone(&config.name), known);
        config
    }

    /// Warns of pools that no site names, and gives the pools by name.
    pub(super) fn finish(self, reading: &Reading<'_>) -> BTreeMap<Arc<str>, Arc<PoolConfig>> {
        for (name, known) in self.by_name.iter().filter(|(_, known)| !known.is_used) {
            reading.report_missing(
                Diagnostic::warning(format!("no site uses the pool `{name}`"))
                    .at(known.name_span.clone(), "its servers get no requests")
                    .help(format!("give a site `pool = \"{name}\"`")),
            );
        }
        self.by_name.into_iter().map(|(name, known)| (name, known.config)).collect()
    }
}

/// Reads all pools of the file.
pub(super) fn read(table: &mut Table<'_>, around: &Around<'_>) -> Pools {
    let mut pools = Pools::default();
    for entry in table.entries() {
        check_name(&entry, table.reading);
        let name: Arc<str> = entry.name.into();
        let config =
            Arc::new(entry.value.table_or_empty(|table| pool(table, Arc::clone(&name), &entry, around)));
        pools.by_name.insert(name, Known { config, name_span: entry.name_span, is_used: false });
    }
    pools
}

fn check_name(entry: &Entry<'_>, reading: &Reading<'_>) {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if entry.name.is_empty() || !entry.name.chars().all(known) {
        reading.report(
            Diagnostic::error("not a name for a pool")
                .at(entry.name_span.clone(), "letters, digits, `-`, `_` and `.` only")
                .help("the name labels metrics and logs"),
        );
    }
}

fn pool(table: &mut Table<'_>, name: Arc<str>, entry: &Entry<'_>, around: &Around<'_>) -> PoolConfig {
    let Some(value) = table.value("origins") else {
        table.report_absent(
            &["origins"],
            Diagnostic::error(format!("the pool `{name}` has no origin servers"))
                .at(entry.name_span.clone(), "nothing to send requests to")
                .help("add origins = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]"),
        );
        let health = health(table.value("health"), &[]);
        return options(table, name, Vec::new(), health, around);
    };
    let servers = servers(&value, around.listen);
    let health = health(table.value("health"), &servers);
    options(table, name, servers, health, around)
}

/// Everything of a pool but its servers and their check.
pub(super) fn options(
    table: &mut Table<'_>,
    name: Arc<str>,
    servers: Vec<ServerConfig>,
    health: Option<HealthCheck>,
    around: &Around<'_>,
) -> PoolConfig {
    let any_tls = servers.iter().any(|server| server.tls);
    let any_name = servers.iter().any(|server| server.location.is_named());
    let resolver = table.value("resolver");
    let allow_private = table.value("allow_private");
    let is_allowed = allow_private.as_ref().and_then(Value::flag).unwrap_or(false);
    if !any_name {
        resolver.iter().chain(allow_private.iter().filter(|_| is_allowed)).for_each(warn_of_no_name);
    }
    let proxy_protocol = table
        .value("proxy_protocol")
        .filter(|value| carries_one_client(value, &servers))
        .and_then(|value| value.choice(&[("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)]));
    let max_connections = table.number("max_connections", 512, 1..=65_536);
    let max_requests = max_requests(table, max_connections, &servers, proxy_protocol.is_some());
    PoolConfig {
        name,
        servers,
        resolver: resolver.and_then(|value| resolver::resolver(&value)),
        allow_private: is_allowed,
        balance: table
            .value("balance")
            .and_then(|value| balance::balance(&value))
            .unwrap_or(Balance::PowerOfTwo),
        health,
        eject: resilience::eject(table.value("eject")),
        panic: table.flag("panic", true),
        slow_start: table.duration("slow_start", Duration::from_secs(30), Duration::ZERO..=MOST_SLOW),
        retry: resilience::retry(table.value("retry")),
        max_connections,
        max_requests,
        connection_life: connection_life(table),
        queue: table.section("queue", queue),
        timeouts: table.section("timeouts", timeouts),
        stream_idle: around.limits.stream_idle,
        tls: tls::tls(table, any_tls),
        proxy_protocol,
        header_bytes: around.limits.origin_header_bytes,
        headers: around.limits.origin_headers,
    }
}

fn warn_of_no_name(value: &Value<'_>) {
    value.warn(
        format!("`{}` has no effect", value.key),
        "no origin server of this pool is given by name",
        "it is for servers such as \"app.internal:8080\" or \"srv://_http._tcp.app.internal\"",
    );
}

/// A connection that is told to be one client's cannot carry others' requests
/// beside.
fn carries_one_client(value: &Value<'_>, servers: &[ServerConfig]) -> bool {
    let shared = servers.iter().find(|server| server.protocol == OriginProtocol::Http2);
    if let Some(server) = shared {
        let reason = format!("`{}` takes the requests of many clients on one connection", server.label);
        value.fault(Fault::new(reason).help("write the server as \"http://HOST:PORT\""));
    }
    shared.is_none()
}

/// As many as connections, where nothing else is written: that is what HTTP/1.1
/// comes to.
fn max_requests(
    table: &mut Table<'_>,
    max_connections: usize,
    servers: &[ServerConfig],
    is_proxy_protocol: bool,
) -> usize {
    let Some(value) = table.value("max_requests") else { return max_connections };
    let requests = value.number(1..=1_000_000).and_then(|requests| usize::try_from(requests).ok());
    let requests = requests.unwrap_or(max_connections);
    let is_shared = |server: &ServerConfig| server.protocol != OriginProtocol::Http1;
    if requests > max_connections && (is_proxy_protocol || !servers.iter().any(is_shared)) {
        value.warn(
            "`max_requests` has no effect",
            &format!("each request takes one of {max_connections} connections"),
            "raise `max_connections`, or speak HTTP/2 with the servers",
        );
    }
    requests
}

/// Without a bound for requests: one that suits a server that is asked seldom
/// would have another open connections all the time.
fn connection_life(table: &mut Table<'_>) -> ConnectionLife {
    let requests = table.value("connection_requests").and_then(|value| value.number(1..=1_000_000_000));
    ConnectionLife {
        age: table.duration("connection_age", Duration::from_secs(3600), limits::long_timeout()),
        requests: requests.and_then(|requests| u32::try_from(requests).ok()),
    }
}

fn queue(table: &mut Table<'_>) -> Queue {
    Queue {
        max: table.number("max", 1024, 0..=1_000_000),
        timeout: table.duration("timeout", Duration::from_secs(5), limits::timeout()),
    }
}

fn timeouts(table: &mut Table<'_>) -> OriginTimeouts {
    let seconds = Duration::from_secs;
    OriginTimeouts {
        connect: table.duration("connect", seconds(2), limits::timeout()),
        first_byte: table.duration("first_byte", seconds(30), limits::long_timeout()),
        between_bytes: table.duration("between_bytes", seconds(30), limits::long_timeout()),
        keep_alive: table.duration("keep_alive", seconds(60), limits::timeout()),
        ping: table
            .value("ping")
            .filter(|value| !value.is_false())
            .and_then(|value| value.duration(limits::timeout())),
    }
}
