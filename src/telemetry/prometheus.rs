//! Prints metrics in the text exposition format 0.0.4 of Prometheus.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use super::metrics::{BUCKETS, CACHE_RESULTS, Counter, Histogram, Limit, Metrics, PurgeKind, SiteMetrics};

/// The media type of what [`render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The `site` label of requests that belong to none.
const NO_SITE: &str = "-";
/// The `status` labels, in the order of [`SiteMetrics::responses`].
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What all samples of one name have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

impl Family {
    /// Numbers that only grow; `name` ends in `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "counter", help }
    }

    /// Numbers that go up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help }
    }

    const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "histogram", help }
    }
}

/// A number that some other floor tells, such as the state of an origin server.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is one of.
    pub family: Family,
    /// Its labels: names of ours with any values.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// Everything that is counted, and `extra`.
pub fn render(metrics: &Metrics, extra: &[Sample]) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    page.single(Family::gauge("seawall_info", "The program that runs."), &[VERSION], 1);
    process_wide(&mut page, metrics);
    let limits = Family::counter("seawall_limit_total", "How often a limit bit.");
    page.family(limits);
    for ((_, label), count) in Limit::ALL.iter().zip(&metrics.limits) {
        page.sample(limits, "", &[("limit", label)], count.value());
    }
    let purges = Family::counter("seawall_cache_purges_total", "Purges, by what they named.");
    page.family(purges);
    for ((_, label), count) in PurgeKind::ALL.iter().zip(&metrics.purges) {
        page.sample(purges, "", &[("kind", label)], count.value());
    }
    sites(&mut page, metrics);
    let mut extra: Vec<&Sample> = extra.iter().collect();
    // One family's samples must stand together; the sort is stable.
    extra.sort_by_key(|sample| sample.family);
    for family in extra.chunk_by(|one, other| one.family.name == other.family.name) {
        family.iter().take(1).for_each(|sample| page.family(sample.family));
        for Sample { family, labels, value } in family {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
            page.sample(*family, "", &labels, value);
        }
    }
    page.0
}

const VERSION: (&str, &str) = ("version", env!("CARGO_PKG_VERSION"));

fn process_wide(page: &mut Page, metrics: &Metrics) {
    let m = metrics;
    for (name, help, counter) in [
        ("seawall_connections_total", "Client connections taken.", &m.connections),
        ("seawall_accept_errors_total", "Times that no connection could be accepted.", &m.accept_errors),
        ("seawall_handshake_failures_total", "TLS handshakes that failed.", &m.handshakes_failed),
        (
            "seawall_proxy_header_failures_total",
            "Connections from proxy_protocol_from that were closed for lack of a PROXY header.",
            &m.proxy_headers_failed,
        ),
        (
            "seawall_protocol_errors_total",
            "Connections that ended with a protocol error before a request.",
            &m.protocol_errors,
        ),
        ("seawall_panics_total", "Handlers that panicked.", &m.panics),
        ("seawall_reloads_total", "Times that the config was read anew, and came into force.", &m.reloads),
        (
            "seawall_reloads_failed_total",
            "Times that the config was read anew, and not taken.",
            &m.reloads_failed,
        ),
        ("seawall_cache_fills_total", "Responses that the cache fetched, to store them or not.", &m.fills),
        ("seawall_cache_fills_stored_total", "Fills that were stored.", &m.fills_stored),
        ("seawall_cache_fills_failed_total", "Fills that failed or were given up.", &m.fills_failed),
        (
            "seawall_fields_dropped_total",
            "Fields that clients may not send, taken out of requests to origin servers.",
            &m.fields_dropped,
        ),
        ("seawall_cache_fills_joined_total", "Requests that joined the fill of another.", &m.fills_joined),
        ("seawall_cache_evictions_total", "Stored responses that made room for others.", &m.evictions),
        (
            "seawall_cache_invalidations_total",
            "Stored responses that an unsafe method invalidated.",
            &m.invalidations,
        ),
        (
            "seawall_cache_purged_total",
            "Stored responses that purges removed or made stale, in each tier.",
            &m.purged,
        ),
        ("seawall_cache_encodings_total", "Stored responses that were compressed.", &m.encodings),
        (
            "seawall_cache_encoded_from_bytes_total",
            "Bytes of stored responses that compressing made shorter.",
            &m.encoded_from_bytes,
        ),
        ("seawall_cache_encoded_to_bytes_total", "Bytes that became of them.", &m.encoded_to_bytes),
        ("seawall_disk_hits_total", "Lookups that found a stored response on the disk.", &m.disk_hits),
        ("seawall_disk_writes_total", "Stored responses written to the disk.", &m.disk_writes),
        (
            "seawall_disk_writes_dropped_total",
            "Stored responses not written because too many were waiting.",
            &m.disk_writes_dropped,
        ),
        (
            "seawall_disk_evictions_total",
            "Stored responses that made room for others on the disk.",
            &m.disk_evictions,
        ),
        ("seawall_disk_damaged_total", "Records that were not as they had been written.", &m.disk_damaged),
        ("seawall_disk_errors_total", "Times that the disk failed or did not answer.", &m.disk_errors),
        (
            "seawall_origin_requests_total",
            "Requests to origin servers, retries included.",
            &m.origin_requests,
        ),
        ("seawall_origin_connections_total", "Connections to origin servers.", &m.origin_connections),
        ("seawall_origin_retries_total", "Requests tried again on another server.", &m.origin_retries),
        (
            "seawall_origin_lookup_failures_total",
            "Look-ups of origin servers by name that gave none.",
            &m.origin_lookup_failures,
        ),
        (
            "seawall_origin_addresses_refused_total",
            "Private addresses that public names of origin servers had in DNS.",
            &m.origin_addresses_refused,
        ),
        ("seawall_certificates_issued_total", "Certificates obtained from a CA.", &m.certificates_issued),
        (
            "seawall_certificate_failures_total",
            "Orders of certificates that failed.",
            &m.certificate_failures,
        ),
        (
            "seawall_access_records_dropped_total",
            "Access records that were dropped because their writer fell behind or failed.",
            &m.access_records_dropped,
        ),
    ] {
        page.single(Family::counter(name, help), &[], counter.value());
    }
    for (name, help, gauge) in [
        ("seawall_connections_open", "Client connections open now.", &m.connections_open),
        ("seawall_tunnels_open", "Tunnels open now.", &m.tunnels_open),
        ("seawall_memory_used_bytes", "Bytes of memory in use, those of files left out.", &m.memory_used),
        ("seawall_memory_limit_bytes", "Bytes of memory that may be used.", &m.memory_limit),
        ("seawall_cache_bytes", "Bytes the memory tier holds.", &m.cache_bytes),
        ("seawall_cache_objects", "Stored responses the memory tier holds.", &m.cache_objects),
        ("seawall_disk_bytes", "Bytes the disk tier holds.", &m.disk_bytes),
        ("seawall_disk_objects", "Stored responses the disk tier holds.", &m.disk_objects),
    ] {
        page.single(Family::gauge(name, help), &[], gauge.value());
    }
    let handshakes = Family::counter("seawall_handshakes_total", "TLS handshakes that succeeded.");
    page.family(handshakes);
    page.sample(handshakes, "", &[("kind", "full")], m.handshakes_full.value());
    page.sample(handshakes, "", &[("kind", "resumed")], m.handshakes_resumed.value());
}

fn sites(page: &mut Page, metrics: &Metrics) {
    let named = metrics.sites();
    let all: Vec<(&str, &SiteMetrics)> =
        named.iter().map(|site| (&*site.name, &**site)).chain([(NO_SITE, &metrics.without_site)]).collect();
    let requests = Family::counter("seawall_requests_total", "Requests by the class of their status.");
    page.labelled(requests, &all, "status", &CLASSES, |site| &site.responses);
    let results = Family::counter("seawall_cache_results_total", "Requests by what the cache did.");
    page.labelled(results, &all, "result", &CACHE_RESULTS, |site| &site.cache);
    type PickCounter = fn(&SiteMetrics) -> &Counter;
    let counters: [(_, _, PickCounter); 3] = [
        ("seawall_request_bytes_total", "Bytes of content received.", |site| &site.bytes_in),
        ("seawall_response_bytes_total", "Bytes of content sent.", |site| &site.bytes_out),
        ("seawall_responses_cut_total", "Responses that were cut.", |site| &site.cut),
    ];
    for (name, help, counter) in counters {
        let family = Family::counter(name, help);
        page.family(family);
        for (name, site) in &all {
            page.sample(family, "", &[("site", name)], counter(site).value());
        }
    }
    let head = "From the head of a request to the head of its response.";
    let head = Family::histogram("seawall_response_head_seconds", head);
    page.histograms(head, &all, |site| &site.head_time);
    let total = "From the head of a request to the end of its response.";
    let total = Family::histogram("seawall_response_seconds", total);
    page.histograms(total, &all, |site| &site.total_time);
}

/// The page under way. Writing to a String cannot fail, so the results of
/// `write!` are let go.
struct Page(String);

impl Page {
    fn family(&mut self, Family { name, kind, help }: Family) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, family: Family, labels: &[(&str, &str)], value: impl Display) {
        self.family(family);
        self.sample(family, "", labels, value);
    }

    fn sample(&mut self, family: Family, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "{}{suffix}", family.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{name}=\"{}\"", escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// Counters of every site, one for each of `values` of the label `name`.
    fn labelled<const N: usize>(
        &mut self,
        family: Family,
        sites: &[(&str, &SiteMetrics)],
        name: &str,
        values: &[&str; N],
        counters: fn(&SiteMetrics) -> &[Counter; N],
    ) {
        self.family(family);
        for (site, metrics) in sites {
            for (value, counter) in values.iter().zip(counters(metrics)) {
                self.sample(family, "", &[("site", site), (name, value)], counter.value());
            }
        }
    }

    fn histograms(
        &mut self,
        family: Family,
        sites: &[(&str, &SiteMetrics)],
        histogram: fn(&SiteMetrics) -> &Histogram,
    ) {
        self.family(family);
        for (site, metrics) in sites {
            let (counts, sum) = histogram(metrics).snapshot();
            let bounds = BUCKETS.iter().map(|bound| Cow::Owned(bound.to_string())).chain(["+Inf".into()]);
            let mut total = 0;
            for (bound, count) in bounds.zip(counts) {
                total += count;
                self.sample(family, "_bucket", &[("site", site), ("le", &bound)], total);
            }
            self.sample(family, "_sum", &[("site", site)], sum.as_secs_f64());
            self.sample(family, "_count", &[("site", site)], total);
        }
    }
}

/// `value` inside of the quotes of a label.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::telemetry::fixtures;

    /// The samples of a page by name and labels; panics where it is no valid
    /// exposition.
    fn parse(page: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut families, mut current) = (BTreeMap::new(), BTreeSet::new(), String::new());
        assert!(page.ends_with('\n'));
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                current = help.split_once(' ').unwrap().0.to_owned();
                assert!(families.insert(current.clone()), "{current} comes twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert!(["counter", "gauge", "histogram"].contains(&kind));
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(name);
                assert_eq!(name, current);
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
                check_labels(&series[series.find('{').unwrap_or(series.len())..]);
                assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series}");
            }
        }
        samples
    }

    /// `{name="value",...}` with `\\`, `\"` and `\n` as the only escapes.
    fn check_labels(labels: &str) {
        let Some(mut rest) = labels.strip_prefix('{') else { return assert!(labels.is_empty()) };
        loop {
            let (name, value) = rest.split_once("=\"").unwrap();
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()), "{labels}");
            let mut escaped = false;
            let end = value.find(|character| {
                let ends = character == '"' && !escaped;
                assert!(!escaped || "\\\"n".contains(character), "{labels}");
                escaped = character == '\\' && !escaped;
                ends
            });
            rest = &value[end.unwrap() + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return assert_eq!(rest, "}"),
            }
        }
    }

    #[test]
    fn every_line_is_valid_and_histograms_add_up() {
        let metrics = Metrics::default();
        let mut record = fixtures::record();
        record.site = Some(metrics.number(&"example.com".into()));
        for micros in [50, 900, 2_000_000, 60_000_000] {
            record.total_time = std::time::Duration::from_micros(micros);
            metrics.with_site(record.site, |site| site.count(&record));
        }
        metrics.limit(Limit::HeaderTimeout);
        let samples = parse(&render(&metrics, &[]));
        let buckets: Vec<f64> = BUCKETS
            .iter()
            .map(|bound| format!("{bound}"))
            .chain(["+Inf".to_owned()])
            .map(|bound| {
                samples[&format!("seawall_response_seconds_bucket{{site=\"example.com\",le=\"{bound}\"}}")]
            })
            .collect();
        assert!(buckets.is_sorted());
        assert_eq!(
            (buckets[0], buckets[3], buckets[12], buckets[13], buckets[14]),
            (1.0, 2.0, 3.0, 3.0, 4.0)
        );
        for (series, value) in [
            ("seawall_response_seconds_count{site=\"example.com\"}", 4.0),
            ("seawall_response_seconds_sum{site=\"example.com\"}", 62.00095),
            ("seawall_requests_total{site=\"example.com\",status=\"2xx\"}", 4.0),
            ("seawall_requests_total{site=\"-\",status=\"2xx\"}", 0.0),
            ("seawall_cache_results_total{site=\"example.com\",result=\"miss\"}", 4.0),
            ("seawall_response_bytes_total{site=\"example.com\"}", 4936.0),
            ("seawall_limit_total{limit=\"header_timeout\"}", 1.0),
            ("seawall_handshakes_total{kind=\"resumed\"}", 0.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}");
        }
    }

    #[test]
    fn samples_of_others_are_grouped_and_escaped() {
        const UP: Family = Family::gauge("seawall_origin_up", "Whether a server is up.");
        const LATENCY: Family = Family::gauge("seawall_origin_latency_seconds", "How fast it answers.");
        let sample = |family, server: &str, value| Sample {
            family,
            labels: vec![("pool", "app".to_owned()), ("server", server.to_owned())],
            value,
        };
        let hostile = "a\"b\\c\nd";
        let extra = [sample(UP, "one", 1.0), sample(LATENCY, "one", 0.25), sample(UP, hostile, 0.0)];
        let page = render(&Metrics::default(), &extra);
        let samples = parse(&page);
        assert_eq!(samples["seawall_origin_up{pool=\"app\",server=\"a\\\"b\\\\c\\nd\"}"], 0.0);
        assert_eq!(samples["seawall_origin_latency_seconds{pool=\"app\",server=\"one\"}"], 0.25);
    }
}
