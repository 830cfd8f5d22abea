//! The checked configuration: every value is in range, every name resolves,
//! every default is filled in. How it is read from a file is in `read`, and the
//! modules beside it.

mod dns;
mod pool;
mod secret;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use crate::policy::{CacheRules, SURROGATE_KEY};

pub use dns::{DnsMeans, DnsProvider, DnsRecords, DnsServer, TsigAlgorithm, Zones};
pub use pool::{
    Balance, ConnectionLife, Ejection, HashKey, HealthCheck, Location, OriginProtocol, OriginTimeouts,
    OriginTls, PoolConfig, ProxyProtocol, Queue, Retry, RetryOn, ServerConfig,
};
pub use secret::Secret;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Contact for the certificate authority.
    pub email: Option<String>,
    /// Who the process becomes that is started as root.
    pub user: Option<String>,
    /// Where keys, certificates and accounts are kept (0700).
    pub state_dir: PathBuf,
    /// How many worker threads, each with its own runtime.
    pub workers: NonZeroUsize,
    /// The site whose certificate answers a ClientHello without usable SNI.
    pub tls_default: Option<Arc<str>>,
    /// Where connections come in.
    pub listen: Listen,
    /// The access log and diagnostics.
    pub log: Log,
    /// What clients may use up.
    pub limits: Limits,
    /// How certificates are obtained.
    pub acme: Acme,
    /// The cache as a whole; what a route says is in [`Route::cache`].
    pub cache: CacheConfig,
    /// Who knows it may purge by requests with the method PURGE; `None`: nobody.
    pub purge_token: Option<Secret>,
    /// Pools by name. A site's plain list of origins makes the pool `site:NAME`.
    pub pools: BTreeMap<Arc<str>, Arc<PoolConfig>>,
    /// Sites in the order of the file.
    pub sites: Vec<Arc<Site>>,
    /// How the process is looked into.
    pub admin: Admin,
}

/// Where connections come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Addresses for cleartext.
    pub http: Vec<SocketAddr>,
    /// Addresses for TLS.
    pub https: Vec<SocketAddr>,
    /// Networks whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks whose connections begin with a PROXY header, which is believed.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// The access log and diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where access records go.
    pub access: AccessLogTarget,
    /// How they look.
    pub format: AccessLogFormat,
    /// Query parameters whose values are not logged.
    pub redact_query: Vec<String>,
    /// Filter of the diagnostics, such as `info` or `seawall=debug,info`;
    /// `RUST_LOG` wins over it.
    pub level: String,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file, which is made with mode 0640.
    File(PathBuf),
}

/// How access records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of Apache httpd.
    Combined,
}

/// What clients may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory the process may use.
    pub memory: u64,
    /// Client connections at a time.
    pub connections: usize,
    /// Of one client address (IPv6: one /64); `None`: no limit.
    pub connections_per_ip: Option<usize>,
    /// Bytes of a request line, or of `:path`.
    pub request_line: usize,
    /// Bytes of the fields of a request.
    pub header_bytes: usize,
    /// Number of fields of a request.
    pub headers: usize,
    /// Bytes of a request's content; sites and routes may say otherwise.
    pub body: u64,
    /// From the beginning of a connection to the end of the TLS handshake, or of
    /// the PROXY header where there is no TLS.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its fields.
    pub header_timeout: Duration,
    /// Without any content from the client while the edge waits for it.
    pub body_timeout: Duration,
    /// Bytes a second that a client's content, and its reading of ours, must
    /// reach after the timeout; 0 for none.
    pub min_rate: u64,
    /// Without the client taking anything of a response.
    pub write_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// In place of `body_timeout` for gRPC.
    pub stream_idle: Duration,
    /// Without a byte either way through a tunnel.
    pub tunnel_idle: Duration,
    /// How long a drain waits for exchanges to end.
    pub drain_timeout: Duration,
    /// Concurrent streams of an HTTP/2 connection.
    pub h2_streams: u32,
    /// Exchanges that an HTTP/2 client may give up before their end.
    pub h2_resets: Frequency,
    /// Bytes of the fields of an origin server's response.
    pub origin_header_bytes: usize,
    /// Number of fields of an origin server's response.
    pub origin_headers: usize,
}

impl Limits {
    /// As many fields as hyper has room for by itself: told of another number, it makes
    /// tables of that length for each message.
    pub const HEADERS_OF_HYPER: usize = 100;
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// So many times
    pub times: u32,
    /// within so long.
    pub within: Duration,
}

/// How certificates are obtained (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Directory URLs; the first one is asked, and the next where that fails.
    pub directories: Vec<String>,
    /// True for a directory of one's own, which is a URL of no authority known
    /// here, or for roots of one's own: then names such as `localhost` are
    /// ordered too.
    pub own_directory: bool,
    /// The challenges that may be used, best first.
    pub challenges: Vec<AcmeChallenge>,
    /// PEM file with further trust roots for the directory.
    pub ca: Option<PathBuf>,
    /// What kind of certificates is ordered, where it is not the default one.
    pub profile: Option<String>,
    /// An account made by other means, to which one here is bound.
    pub external_account: Option<ExternalAccount>,
    /// Who sets the records that dns-01 looks for.
    pub dns: Option<DnsRecords>,
    /// Who is asked before a certificate is ordered for a host that a client
    /// names; `None`: none is.
    pub on_demand: Option<OnDemand>,
    /// Who is told of certificates that fail to be renewed.
    pub notify: Option<Webhook>,
    /// Whether DNS is asked before an order if it can succeed.
    pub preflight: bool,
    /// The DNS server that is asked then, and for aliases and zones, where it is not
    /// that of the system.
    pub resolver: Option<SocketAddr>,
}

impl Acme {
    /// True for a name that no certificate can be ordered for as it stands: `*`, and
    /// a wildcard unless DNS can prove it.
    pub fn is_open(&self, name: &str) -> bool {
        name == "*" || name.starts_with("*.") && !self.challenges.contains(&AcmeChallenge::Dns01)
    }
}

/// When certificates are ordered for hosts that clients name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemand {
    /// Asked with `?domain=HOST`; only what it answers with a success is ordered.
    pub ask: Webhook,
    /// So many hosts may get their first one.
    pub orders: Frequency,
}

/// A server of the user's that is told or asked something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its URL, without a slash at the end.
    pub url: String,
    /// What it is shown to know us.
    pub token: Option<Secret>,
}

/// An account at an authority that was made by other means (RFC 8555 s7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its name.
    pub kid: String,
    /// The key that proves that it is ours.
    pub hmac: Secret,
}

/// How a name is proven (RFC 8555 s8, RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// `tls-alpn-01`
    TlsAlpn01,
    /// `http-01`
    Http01,
    /// `dns-01`
    Dns01,
}

/// The cache as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of the memory tier.
    pub memory: u64,
    /// The largest object it takes, in bytes. What is larger is kept on the disk
    /// alone, in slices, as far as the rules of its route allow.
    pub max_object: u64,
    /// The disk tier, if there is one.
    pub disk: Option<DiskConfig>,
    /// The field that has a response's tags, parted by spaces.
    pub tags_field: HeaderName,
}

impl CacheConfig {
    /// A cache in memory of so many bytes; everything else is as the defaults
    /// say.
    pub fn in_memory(memory: u64, max_object: u64) -> Self {
        Self { memory, max_object, disk: None, tags_field: SURROGATE_KEY }
    }
}

/// The disk tier of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory it has to itself.
    pub path: PathBuf,
    /// Bytes its files may take.
    pub size: u64,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in the config: a host, `*.` and a host, or `*`; lower case.
    pub name: Arc<str>,
    /// Further hosts it answers for, of the same forms.
    pub aliases: Vec<Arc<str>>,
    /// Requests for an alias are redirected to the name.
    pub redirect_aliases: bool,
    /// The pool that serves it; `None` if every route is a redirect.
    pub pool: Option<Arc<PoolConfig>>,
    /// Where its certificate comes from.
    pub tls: SiteTls,
    /// How its clients prove who they are, if they have to.
    pub client_auth: Option<ClientAuth>,
    /// Cleartext requests are redirected to https.
    pub redirect_http: bool,
    /// `Strict-Transport-Security` on answers over TLS.
    pub hsts: bool,
    /// Trust fields that are passed on from anyone, in lower case.
    pub forward_fields: Vec<HeaderName>,
    /// The first that matches wins; the last one matches everything.
    pub routes: Vec<Arc<Route>>,
}

/// Where a site's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteTls {
    /// None: cleartext only.
    Off,
    /// Ordered from a certificate authority.
    Acme,
    /// Ordered from a certificate authority: for exact names as for other sites, for
    /// those that are open for each host by itself, once a client asks for it.
    OnDemand,
    /// Made by the local CA.
    Internal,
    /// Read from PEM files; clients get the first one that they understand.
    Files(Vec<PemPair>),
}

/// A certificate chain, leaf first, and its private key, each in a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Whom of its clients a site asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file with the authorities whose certificates are taken.
    pub ca: PathBuf,
    /// Nobody is served without one.
    pub required: bool,
}

/// A route of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// What the cache may do.
    pub cache: Arc<CacheRules>,
    /// Answers with a redirect instead of asking an origin server.
    pub redirect: Option<Redirect>,
    /// Edits on the way to the origin server.
    pub request_fields: FieldEdits,
    /// Edits on the way to the client.
    pub response_fields: FieldEdits,
    /// Bytes of a request's content.
    pub body: u64,
}

/// Which requests a route takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// `None`: any path.
    pub path: Option<PathPattern>,
    /// Empty: any method.
    pub methods: Vec<Method>,
}

/// A pattern for the decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// `/old/*`: what begins with `/old/`; the rest is `{rest}`.
    Prefix(String),
    /// `*.css`: what ends with `.css`.
    Suffix(String),
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A path or URL; `{rest}` stands for what the pattern's `*` took, `{host}`
    /// for the host, `{path}` for the path, `{query}` for the query with its
    /// question mark.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// Fields to set and to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Set in place of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

/// How the process is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket (0600).
    pub socket: PathBuf,
    /// Where Prometheus reads.
    pub metrics: Option<SocketAddr>,
}

impl FieldEdits {
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}
