//! What the configuration of a route says to the cache.

use std::time::Duration;

use http::HeaderName;

use super::{CompressionRules, QueryRules};

/// The cache rules of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRules {
    /// False: nothing is looked up or stored.
    pub enabled: bool,
    /// Freshness lifetime for responses that state none; wins over
    /// `default_ttl` and the heuristic. Never over `no-store` or `private`.
    pub ttl: Option<Duration>,
    /// True: `ttl` also overrides what the response states.
    pub force: bool,
    /// Freshness lifetime where neither the response nor `ttl` gives one and
    /// the heuristic of RFC 9111 s4.2.2 does not apply; zero for none.
    pub default_ttl: Duration,
    /// For a 404 or 410 with neither explicit freshness nor Last-Modified.
    pub negative_ttl: Duration,
    /// How long past its lifetime a response may be served while it is
    /// validated in the background (RFC 5861 s3), where it does not say.
    pub stale_while_revalidate: Duration,
    /// How long past its lifetime a response may be served while no origin
    /// server can answer (RFC 5861 s4), where it does not say.
    pub stale_if_error: Duration,
    /// The normal form of queries, which is part of the key and forwarded.
    pub query: QueryRules,
    /// Fields of the request that are part of the key whether or not the
    /// response names them in Vary, for they are passed on from anyone.
    pub key_fields: Vec<HeaderName>,
    /// True: `Cookie` and `Set-Cookie` do not stop heuristic or given lifetimes.
    pub ignore_cookies: bool,
    /// The largest body that is stored, in bytes.
    pub max_object: u64,
    /// How content is compressed; `None`: it is sent as it came.
    pub compression: Option<CompressionRules>,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: None,
            force: false,
            default_ttl: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(24 * 3600),
            query: QueryRules::default(),
            key_fields: Vec::new(),
            ignore_cookies: false,
            max_object: 512 << 20,
            compression: Some(CompressionRules::default()),
        }
    }
}
