//! Pools of origin servers, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::PemPair;

/// A pool of origin servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The servers, at least one.
    pub servers: Vec<ServerConfig>,
    /// The DNS server that is asked for their names; `None`: as the system does.
    pub resolver: Option<SocketAddr>,
    /// True if a public name may have addresses of private networks.
    pub allow_private: bool,
    /// How one is picked.
    pub balance: Balance,
    /// How servers are checked; `None`: not at all.
    pub health: Option<HealthCheck>,
    /// When a server is ejected for failing exchanges; `None`: never.
    pub eject: Option<Ejection>,
    /// With every server down: let one live request a second and server through.
    pub panic: bool,
    /// How long a server that has come back takes to its full share.
    pub slow_start: Duration,
    /// When a request is tried again.
    pub retry: Retry,
    /// Connections to one server at a time.
    pub max_connections: usize,
    /// Requests to one server at a time; where each needs a connection, as many as
    /// those at most.
    pub max_requests: usize,
    /// How long a connection is used.
    pub connection_life: ConnectionLife,
    /// How many requests may wait for their turn, and how long.
    pub queue: Queue,
    /// The deadlines of a request.
    pub timeouts: OriginTimeouts,
    /// Without a byte of a response that is a stream (gRPC, events), in place of
    /// `timeouts.between_bytes` where that is shorter.
    pub stream_idle: Duration,
    /// TLS to the origin servers with `https://`.
    pub tls: OriginTls,
    /// How each connection tells whose it is; `None`: not at all.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Bytes of the fields of a response.
    pub header_bytes: usize,
    /// Number of fields of a response.
    pub headers: usize,
}

impl PoolConfig {
    /// True if `other` has each server spoken to in the same way and within the same
    /// bounds, whoever is picked and when it is left out.
    pub fn is_spoken_alike(&self, other: &Self) -> bool {
        // All of them are named, so that none is forgotten.
        let Self {
            name: _,
            servers: _,
            resolver: _,
            allow_private: _,
            balance: _,
            health: _,
            eject: _,
            panic: _,
            slow_start: _,
            retry: _,
            max_connections,
            max_requests,
            connection_life,
            queue,
            timeouts,
            stream_idle,
            tls,
            proxy_protocol,
            header_bytes,
            headers,
        } = self;
        (max_connections, max_requests, connection_life)
            == (&other.max_connections, &other.max_requests, &other.connection_life)
            && (queue, timeouts, stream_idle) == (&other.queue, &other.timeouts, &other.stream_idle)
            && (tls, proxy_protocol) == (&other.tls, &other.proxy_protocol)
            && (header_bytes, headers) == (&other.header_bytes, &other.headers)
    }
}

/// One origin server, or all that are found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// As the config writes it: names it in logs.
    pub label: Arc<str>,
    /// Where it is.
    pub location: Location,
    /// True for `https://`.
    pub tls: bool,
    /// Which HTTP is spoken.
    pub protocol: OriginProtocol,
    /// Its share against the others, at least 1; those of a service have their own.
    pub weight: u32,
    /// Only picked when every other server is down.
    pub backup: bool,
}

/// Where an origin server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// At an address.
    Address(SocketAddr),
    /// At this port of every address that DNS has under a name.
    Host(String, u16),
    /// Where the SRV records of a name say (RFC 2782).
    Service(String),
    /// At a socket of this machine.
    Socket(PathBuf),
}

impl Location {
    /// True if DNS is asked where the servers are.
    pub fn is_named(&self) -> bool {
        matches!(self, Self::Host(..) | Self::Service(_))
    }
}

/// Which HTTP is spoken with an origin server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which the server is known to speak (RFC 9113 s3.3).
    Http2,
    /// HTTP/2 if the server agrees in the TLS handshake (RFC 9113 s3.2), else
    /// HTTP/1.1.
    Negotiated,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ServerConfig {
    /// What it is, however the config writes it, such as `http://10.0.0.1:8080`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.location {
            Location::Address(address) => format!("{scheme}://{address}"),
            Location::Host(name, port) => format!("{scheme}://{name}:{port}"),
            Location::Service(name) => format!("srv+{scheme}://{name}"),
            Location::Socket(path) => format!("unix:{}", path.display()),
        }
    }
}

/// How a server is picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The better of two picked by chance: fewer requests, faster answers.
    PowerOfTwo,
    /// One after the other, by weight, smoothly.
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastConnections,
    /// The one that the request's key belongs to, unless that is too busy; for
    /// requests without key as the first.
    Hash(HashKey),
    /// The one that the cookie of this name ties the client to; for clients
    /// without it, or whose server is lost, as the first.
    Sticky(Box<str>),
}

/// What the key of a request is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The address of the client.
    Client,
    /// Host, path and query, in the form in which they are looked up.
    Uri,
    /// The value of this field.
    Field(HeaderName),
    /// The value of this cookie.
    Cookie(Box<str>),
}

/// How servers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// GET this path; `None`: a TCP (and TLS) connection is enough.
    pub path: Option<String>,
    /// The Host of the check; `None`: the server's own.
    pub host: Option<String>,
    /// The port to connect to; `None`: the server's own.
    pub port: Option<u16>,
    /// From one check to the next.
    pub every: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Passes in a row that bring a server up that was down.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
    /// The statuses that pass, ends included.
    pub expect: (u16, u16),
    /// What the content has to hold somewhere; `None`: anything passes.
    pub expect_text: Option<String>,
}

/// When a server is ejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// This many failures in a row...
    pub errors: u32,
    /// ... within this time...
    pub within: Duration,
    /// ... eject it for this long; each time longer, if it is soon ejected
    /// again.
    pub duration: Duration,
    /// As does this share of its requests within that time; `None`: no share
    /// does...
    pub rate_percent: Option<u32>,
    /// ... if there are so many.
    pub requests: u32,
    /// A server that asks for a pause (503 with Retry-After) is left out for it, and
    /// for so long at most.
    pub retry_after: Duration,
}

/// When a request is tried again on another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// At most this many further tries.
    pub times: u32,
    /// None begins later than this after the first.
    pub within: Duration,
    /// The reasons that count.
    pub on: Vec<RetryOn>,
    /// Retries a hundred live requests pay for; ten a second are always allowed.
    pub budget_percent: u32,
}

/// A reason to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection came about.
    Connect,
    /// The connection ended before the first byte of the response.
    Reset,
    /// No response in time.
    Timeout,
    /// This status.
    Status(StatusCode),
}

/// How long a connection to an origin server is used for further requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLife {
    /// Since it was opened; up to a quarter less, by chance.
    pub age: Duration,
    /// So many requests; `None`: any number.
    pub requests: Option<u32>,
}

/// How requests wait for their turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many.
    pub max: usize,
    /// How long.
    pub timeout: Duration,
}

/// The deadlines of a request to an origin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTimeouts {
    /// For the TCP connection and the TLS handshake together.
    pub connect: Duration,
    /// From the request to the head of the response.
    pub first_byte: Duration,
    /// Between two parts of the body.
    pub between_bytes: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// How long a server that speaks HTTP/2 may say nothing at all while it is waited
    /// for before it is asked whether it is there; `None`: it is not asked.
    pub ping: Option<Duration>,
}

/// TLS to origin servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTls {
    /// False: any certificate is taken.
    pub verify: bool,
    /// PEM file with the roots to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// The server name; `None`: the Host of the request.
    pub server_name: Option<String>,
    /// The certificate that is shown to servers that ask for one.
    pub identity: Option<PemPair>,
}
