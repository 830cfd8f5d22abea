//! Counters that every floor adds to: plain atomics, no lock on the way of a
//! request. How they are printed is in `prometheus`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::exchange::{ExchangeEnd, ExchangeRecord, Facts, SiteNumber};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `by` more.
    pub fn add(&self, by: u64) {
        // All cores write it: nothing is no reason to.
        if by > 0 {
            self.0.fetch_add(by, Relaxed);
        }
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Changes it by `by`.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// Makes it `value`.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of a histogram's buckets, in seconds.
pub const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// How durations are spread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_nanos: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts by bucket, the last one without a bound, and the sum of all.
    pub fn snapshot(&self) -> ([u64; BUCKETS.len() + 1], Duration) {
        (
            std::array::from_fn(|index| self.buckets[index].load(Relaxed)),
            Duration::from_nanos(self.sum_nanos.value()),
        )
    }
}

/// The limits that can bite, as `seawall_limit_total{limit=...}` names them. That of
/// the number of fields counts with that of their bytes, that of streams whenever a
/// connection has as many; and what memory and disk may hold bites as evictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "named as in the config")]
pub enum Limit {
    Memory,
    Connections,
    ConnectionsPerIp,
    HandshakeTimeout,
    HeaderTimeout,
    BodyTimeout,
    MinRate,
    WriteTimeout,
    IdleTimeout,
    StreamIdle,
    H2Streams,
    H2Resets,
    TunnelIdle,
    RequestLine,
    HeaderBytes,
    Body,
    MaxObject,
    OriginConnect,
    OriginFirstByte,
    OriginBetweenBytes,
    OriginHeaderBytes,
    OriginConnections,
    OriginQueue,
    RetryBudget,
    FoundServers,
    DrainTimeout,
    AccessLog,
    OnDemand,
}

impl Limit {
    /// Every limit with its label.
    pub const ALL: [(Self, &'static str); 28] = [
        (Self::Memory, "memory"),
        (Self::Connections, "connections"),
        (Self::ConnectionsPerIp, "connections_per_ip"),
        (Self::HandshakeTimeout, "handshake_timeout"),
        (Self::HeaderTimeout, "header_timeout"),
        (Self::BodyTimeout, "body_timeout"),
        (Self::MinRate, "min_rate"),
        (Self::WriteTimeout, "write_timeout"),
        (Self::IdleTimeout, "idle_timeout"),
        (Self::StreamIdle, "stream_idle"),
        (Self::H2Streams, "h2_streams"),
        (Self::H2Resets, "h2_resets"),
        (Self::TunnelIdle, "tunnel_idle"),
        (Self::RequestLine, "request_line"),
        (Self::HeaderBytes, "header_bytes"),
        (Self::Body, "body"),
        (Self::MaxObject, "max_object"),
        (Self::OriginConnect, "origin_connect"),
        (Self::OriginFirstByte, "origin_first_byte"),
        (Self::OriginBetweenBytes, "origin_between_bytes"),
        (Self::OriginHeaderBytes, "origin_header_bytes"),
        (Self::OriginConnections, "origin_connections"),
        (Self::OriginQueue, "origin_queue"),
        (Self::RetryBudget, "retry_budget"),
        (Self::FoundServers, "found_servers"),
        (Self::DrainTimeout, "drain_timeout"),
        (Self::AccessLog, "access_log"),
        (Self::OnDemand, "certificates_on_demand"),
    ];
}

/// What a purge names, as `seawall_cache_purges_total{kind=...}` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "named as in the admin API")]
pub enum PurgeKind {
    Url,
    Prefix,
    Host,
    Tag,
    All,
}

impl PurgeKind {
    /// Every kind with its label.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Url, "url"),
        (Self::Prefix, "prefix"),
        (Self::Host, "host"),
        (Self::Tag, "tag"),
        (Self::All, "all"),
    ];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What is counted of one site.
#[derive(Debug, Default)]
pub struct SiteMetrics {
    /// Its name in the config; empty for requests that belong to none.
    pub name: Arc<str>,
    /// Responses by class of status: index 1 for 1xx to 5 for 5xx, 0 for others.
    pub responses: [Counter; 6],
    /// Requests by what the cache did; the labels are [`CACHE_RESULTS`].
    pub cache: [Counter; CACHE_RESULTS.len()],
    /// Bytes of content received.
    pub bytes_in: Counter,
    /// Bytes of content sent.
    pub bytes_out: Counter,
    /// From the head of a request to the head of its response.
    pub head_time: Histogram,
    /// From the head of a request to the end of its response.
    pub total_time: Histogram,
    /// Responses that were cut.
    pub cut: Counter,
}

/// What the cache can have done, as `CacheStatus::summary` says it; `none`
/// where it was not asked.
pub const CACHE_RESULTS: [&str; 8] =
    ["hit", "stale", "revalidated", "expired", "miss", "collapsed", "bypass", "none"];

/// What the cache did in an exchange: one of [`CACHE_RESULTS`].
pub fn cache_result(facts: &Facts) -> &'static str {
    match &facts.cache {
        Some(status) => status.summary(),
        None => "none",
    }
}

impl SiteMetrics {
    /// Counts one exchange.
    pub fn count(&self, record: &ExchangeRecord) {
        let class = usize::from(record.status.as_u16() / 100);
        self.responses.get(class).unwrap_or(&self.responses[0]).increment();
        let result = cache_result(&record.facts);
        if let Some(index) = CACHE_RESULTS.iter().position(|label| *label == result) {
            self.cache[index].increment();
        }
        self.bytes_in.add(record.bytes_in);
        self.bytes_out.add(record.bytes_out);
        if let Some(head_time) = record.head_time {
            self.head_time.observe(head_time);
        }
        self.total_time.observe(record.total_time);
        if record.end == ExchangeEnd::Cut {
            self.cut.increment();
        }
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Client connections taken.
    pub connections: Counter,
    /// Client connections open now.
    pub connections_open: Gauge,
    /// Times that no connection could be accepted (descriptors used up).
    pub accept_errors: Counter,
    /// Full TLS handshakes.
    pub handshakes_full: Counter,
    /// Resumed TLS handshakes.
    pub handshakes_resumed: Counter,
    /// TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// Connections of listed load balancers without a PROXY header as it must be.
    pub proxy_headers_failed: Counter,
    /// Connections that ended with a protocol error before a request existed.
    pub protocol_errors: Counter,
    /// Tunnels open now.
    pub tunnels_open: Gauge,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Times that the config was read anew, and came into force.
    pub reloads: Counter,
    /// Times that it was not taken.
    pub reloads_failed: Counter,
    /// How often each limit bit.
    pub limits: [Counter; Limit::ALL.len()],
    /// Fills begun: responses the cache fetched, to store them or not.
    pub fills: Counter,
    /// Fills that were stored.
    pub fills_stored: Counter,
    /// Fills that failed or were given up.
    pub fills_failed: Counter,
    /// Requests that joined another one's fill.
    pub fills_joined: Counter,
    /// Stored responses that made room for others.
    pub evictions: Counter,
    /// Stored responses that an unsafe method invalidated.
    pub invalidations: Counter,
    /// Purges by what they name.
    pub purges: [Counter; PurgeKind::ALL.len()],
    /// Stored responses that purges removed or made stale, in each tier.
    pub purged: Counter,
    /// Contents that were encoded.
    pub encodings: Counter,
    /// Bytes of those that became shorter.
    pub encoded_from_bytes: Counter,
    /// Bytes that became of them.
    pub encoded_to_bytes: Counter,
    /// Bytes of memory in use.
    pub memory_used: Gauge,
    /// Bytes of memory that may be used.
    pub memory_limit: Gauge,
    /// Bytes the memory tier holds now.
    pub cache_bytes: Gauge,
    /// Stored responses the memory tier holds now.
    pub cache_objects: Gauge,
    /// Bytes the disk tier holds now.
    pub disk_bytes: Gauge,
    /// Stored responses the disk tier holds now.
    pub disk_objects: Gauge,
    /// Lookups that found a stored response on the disk.
    pub disk_hits: Counter,
    /// Stored responses written to the disk.
    pub disk_writes: Counter,
    /// Stored responses not written because too many were waiting.
    pub disk_writes_dropped: Counter,
    /// Stored responses that made room for others on the disk.
    pub disk_evictions: Counter,
    /// Records that were not as they had been written.
    pub disk_damaged: Counter,
    /// Times that the disk failed or did not answer in time.
    pub disk_errors: Counter,
    /// Fields that clients may not send, taken out of requests to origin servers.
    pub fields_dropped: Counter,
    /// Requests that were sent to an origin server, retries included.
    pub origin_requests: Counter,
    /// Connections opened to origin servers.
    pub origin_connections: Counter,
    /// Requests tried again on another origin server.
    pub origin_retries: Counter,
    /// Look-ups of origin servers by name that gave none.
    pub origin_lookup_failures: Counter,
    /// Private addresses in answers for public names, which are left out.
    pub origin_addresses_refused: Counter,
    /// Certificates obtained from a certificate authority.
    pub certificates_issued: Counter,
    /// Orders that failed.
    pub certificate_failures: Counter,
    /// Access records that were dropped because the writer fell behind.
    pub access_records_dropped: Counter,
    /// Requests that belong to no site.
    pub without_site: SiteMetrics,
    sites: ArcSwap<Vec<Arc<SiteMetrics>>>,
    numbers: Mutex<BTreeMap<Arc<str>, SiteNumber>>,
}

impl Metrics {
    /// The number of a site, the same for the same name through every reload.
    pub fn number(&self, name: &Arc<str>) -> SiteNumber {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        let mut sites = Vec::clone(&self.sites.load());
        let number = SiteNumber(sites.len());
        sites.push(Arc::new(SiteMetrics { name: Arc::clone(name), ..SiteMetrics::default() }));
        self.sites.store(Arc::new(sites));
        numbers.insert(Arc::clone(name), number);
        number
    }

    /// What is counted of every site, by their names.
    pub fn sites(&self) -> Vec<Arc<SiteMetrics>> {
        let sites = self.sites.load();
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.values().filter_map(|number| sites.get(number.0).cloned()).collect()
    }

    /// Runs `count` on what is counted of a site, or of requests that belong to none.
    pub fn with_site(&self, number: Option<SiteNumber>, count: impl FnOnce(&SiteMetrics)) {
        let sites = self.sites.load();
        count(number.and_then(|number| sites.get(number.0)).map_or(&self.without_site, |site| site));
    }

    /// Counts a purge.
    pub fn purge(&self, kind: PurgeKind) {
        self.purges[kind as usize].increment();
    }

    /// Counts that a limit bit.
    pub fn limit(&self, limit: Limit) {
        self.limits[limit as usize].increment();
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::telemetry::fixtures;

    #[test]
    fn an_exchange_is_counted_once_and_with_its_site() {
        let metrics = Metrics::default();
        let number = metrics.number(&"example.com".into());
        assert_eq!(metrics.number(&"example.com".into()), number, "a reload keeps what was counted");
        let mut record = fixtures::record();
        record.site = Some(number);
        record.end = ExchangeEnd::Cut;
        metrics.with_site(record.site, |site| site.count(&record));
        metrics.with_site(Some(number), |site| {
            assert_eq!(site.responses.each_ref().map(Counter::value), [0, 0, 1, 0, 0, 0]);
            assert_eq!(site.cache.each_ref().map(Counter::value), [0, 0, 0, 0, 1, 0, 0, 0]);
            assert_eq!((site.bytes_out.value(), site.cut.value()), (1234, 1));
            let (buckets, sum) = site.total_time.snapshot();
            assert_eq!((buckets[12], sum), (1, record.total_time));
        });
        assert_eq!(metrics.without_site.bytes_out.value(), 0);
    }

    #[test]
    fn what_fits_nowhere_is_counted_too() {
        let metrics = Metrics::default();
        let mut record = fixtures::bare_record();
        record.status = StatusCode::from_u16(999).unwrap();
        metrics.with_site(record.site, |site| site.count(&record));
        assert_eq!(metrics.without_site.responses[0].value(), 1);
        assert_eq!(metrics.without_site.cache[CACHE_RESULTS.len() - 1].value(), 1);
    }

    #[test]
    fn every_limit_and_kind_has_its_own_label() {
        for (index, (limit, _)) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
        }
        for (index, (kind, label)) in PurgeKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, kind.as_str()), (index, label));
        }
    }
}
