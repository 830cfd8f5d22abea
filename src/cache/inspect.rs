//! What the cache has, and what it would do with a request, for people who ask
//! why. It changes nothing, counts nothing as used, and shows no secret.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::encode::Made;
use super::store::{Listed, StoredBody, StoredResponse, Variants};
use super::{Cache, CacheUsage, Purge, pass};
use crate::base::Clock;
use crate::exchange::{FetchError, Origin, Request};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::fields::coding::Coding;
use crate::policy::{self, CacheKey, CacheRules, Reuse, StoredHead, Timing, Verdict};

/// Longer lists are not made.
pub const MOST_LISTED: usize = 10_000;

/// How long an origin server has to answer somebody who only wants to know.
const ORIGIN_WAIT: Duration = Duration::from_secs(10);

/// A stored response, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredView {
    /// The URL it is kept under.
    pub url: String,
    /// `memory` or `disk`.
    pub tier: &'static str,
    /// Its status code.
    pub status: u16,
    /// Its age in seconds.
    pub age: u64,
    /// For how many seconds it is still fresh; negative when it is stale.
    pub ttl: i64,
    /// Its whole lifetime in seconds, and what states it.
    pub lifetime: u64,
    /// What states the lifetime.
    pub lifetime_from: &'static str,
    /// Bytes of its content.
    pub size: u64,
    /// The entity tag.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
    /// The fields it varies on with what they were; of secrets only the name.
    /// `None` if no request selects it.
    pub varies_on: Option<Vec<(String, Option<String>)>>,
    /// The tags it can be purged by.
    pub tags: Vec<String>,
    /// Content-Encoding, as it came.
    pub coding: Option<String>,
    /// The codings that were made of it.
    pub encoded: Vec<&'static str>,
    /// Content-Range, if it is a part.
    pub part: Option<String>,
    /// True if its content is in slices.
    pub in_slices: bool,
    /// True if the request in question selects it.
    pub selected: bool,
}

/// What the cache would do with a request.
#[derive(Debug)]
pub struct Outlook {
    /// What it would say of it in Cache-Status.
    pub status: CacheStatus,
    /// What is stored under its key.
    pub stored: Vec<StoredView>,
}

/// How full the cache is, and what became of what was asked for.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "named as the metrics are")]
pub struct CacheStat {
    pub usage: CacheUsage,
    /// Requests by what the cache did, over all sites.
    pub requests: Vec<(&'static str, u64)>,
    pub fills: u64,
    pub fills_stored: u64,
    pub fills_failed: u64,
    pub fills_joined: u64,
    pub evictions: u64,
    pub invalidations: u64,
    pub purged: u64,
    pub encodings: u64,
    pub disk_hits: u64,
    pub disk_writes: u64,
    pub disk_evictions: u64,
    pub disk_errors: u64,
}

/// A stored head with what is told besides.
struct Kept {
    head: Arc<StoredHead>,
    tier: &'static str,
    size: u64,
    encoded: Vec<&'static str>,
    in_slices: bool,
}

impl Cache {
    /// What it would do with `req` now, by these rules; gives it back.
    pub async fn look_into(&self, req: Box<Request>, rules: &CacheRules) -> (Box<Request>, Outlook) {
        let key = Self::key(&req.target);
        let (memory, disk) = (self.in_memory(&key).await, self.on_disk(&key).await);
        let asked = super::asked::head(&req);
        let now = req.received_wall;
        let (status, selected) = match pass::past(&req, &asked, rules) {
            Some(status) => (status, None),
            None => judged(&asked, &memory, &disk, now, rules),
        };
        let views = memory.iter().chain(&disk).map(|kept| {
            let is_selected = selected.as_ref().is_some_and(|head| Arc::ptr_eq(head, &kept.head));
            self.view(&key, kept, now, is_selected)
        });
        let stored = views.collect();
        (req, Outlook { status, stored })
    }

    /// What is kept under a key, in both tiers.
    pub async fn stored_under(&self, key: &CacheKey) -> Vec<StoredView> {
        let now = self.clock.wall();
        let (memory, disk) = (self.in_memory(key).await, self.on_disk(key).await);
        memory.iter().chain(&disk).map(|kept| self.view(key, kept, now, false)).collect()
    }

    /// What is kept that a purge would remove which names prefixes, hosts or
    /// everything: at most so many keys of each tier; and whether that is all.
    pub async fn list(&self, what: &Purge, most: usize) -> (Vec<StoredView>, bool) {
        let (prefixes, most, now) = (what.prefixes_named(), most.min(MOST_LISTED), self.clock.wall());
        let (memory, all_memory) = self.store.memory.list(&prefixes, most).await;
        let (disk, all_disk) = self.store.list(prefixes, most).await;
        let mut views = Vec::new();
        for (key, kept) in &memory {
            views.extend(kept.responses().iter().map(|stored| self.view(key, &kept_of(stored), now, false)));
        }
        views.extend(disk.iter().map(|listed| self.view(&listed.key, &kept_on_disk(listed), now, false)));
        views.sort_by(|one, other| one.url.cmp(&other.url));
        (views, all_memory && all_disk)
    }

    /// How full it is, and how it does.
    pub fn stat(&self) -> CacheStat {
        let m = &self.metrics;
        let count = |index: usize| m.sites().iter().map(|site| site.cache[index].value()).sum();
        let results = crate::telemetry::metrics::CACHE_RESULTS.iter().enumerate();
        CacheStat {
            usage: self.usage(),
            requests: results.map(|(index, label)| (*label, count(index))).collect(),
            fills: m.fills.value(),
            fills_stored: m.fills_stored.value(),
            fills_failed: m.fills_failed.value(),
            fills_joined: m.fills_joined.value(),
            evictions: m.evictions.value(),
            invalidations: m.invalidations.value(),
            purged: m.purged.value(),
            encodings: m.encodings.value(),
            disk_hits: m.disk_hits.value(),
            disk_writes: m.disk_writes.value(),
            disk_evictions: m.disk_evictions.value(),
            disk_errors: m.disk_errors.value(),
        }
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Asks an origin server what it answers to `req`, and what that would be to
    /// the cache. The content is not read, and nothing stored. Waits ten seconds
    /// at most; `Ok(None)` is no answer by then.
    pub async fn ask_origin(
        &self,
        mut req: Box<Request>,
        rules: &CacheRules,
        origin: &Arc<dyn Origin>,
    ) -> Result<Option<(StatusCode, HeaderMap, Verdict)>, FetchError> {
        policy::strip_conditional(Arc::make_mut(&mut req.fields));
        let (method, path) = (req.method.clone(), req.target.path().to_owned());
        let fields = Arc::clone(&req.fields);
        let sent = self.clock.wall();
        let Ok(answer) = tokio::time::timeout(ORIGIN_WAIT, Arc::clone(origin).fetch(req)).await else {
            return Ok(None);
        };
        let response = answer?;
        let timing = Timing { request: sent, response: self.clock.wall() };
        let asked = policy::RequestHead::new(&method, &path, &fields);
        let verdict = policy::why(&asked, response.status, &response.fields, timing, rules);
        Ok(Some((response.status, response.fields, verdict)))
    }

    async fn in_memory(&self, key: &CacheKey) -> Vec<Kept> {
        let kept = self.store.memory.look_again(key).await;
        kept.iter().flat_map(Variants::responses).map(|stored| kept_of(stored)).collect()
    }

    async fn on_disk(&self, key: &CacheKey) -> Vec<Kept> {
        self.store.list_key(key).await.iter().map(kept_on_disk).collect()
    }

    fn view(&self, key: &CacheKey, kept: &Kept, now: SystemTime, selected: bool) -> StoredView {
        let (head, lifetime) = (&kept.head, kept.head.lifetime());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let tags = policy::tags(head, self.store.purges().tags_field()).map(text).collect();
        StoredView {
            url: key.to_url().unwrap_or_default(),
            tier: kept.tier,
            status: head.status.as_u16(),
            age: head.age(now).as_secs(),
            ttl: head.ttl(now),
            lifetime: lifetime.duration.as_secs(),
            lifetime_from: lifetime.source.as_str(),
            size: kept.size,
            etag: head.field(&header::ETAG).map(text),
            last_modified: head.field(&header::LAST_MODIFIED).map(text),
            varies_on: policy::varies_on(head),
            tags,
            coding: head.field(&header::CONTENT_ENCODING).map(text),
            encoded: kept.encoded.clone(),
            part: head.part().map(|part| part.content_range().to_string()),
            in_slices: kept.in_slices,
            selected,
        }
    }
}

/// What becomes of a request, and which stored response it selects.
fn judged(
    asked: &policy::RequestHead<'_>,
    memory: &[Kept],
    disk: &[Kept],
    now: SystemTime,
    rules: &CacheRules,
) -> (CacheStatus, Option<Arc<StoredHead>>) {
    let mut fallback = None;
    for tier in [memory, disk] {
        let Some(kept) = policy::select(asked, tier, now, |kept| &*kept.head) else { continue };
        let hit = |ttl| CacheStatus { hit: true, ttl: Some(ttl), ..CacheStatus::default() };
        let (status, is_served) = match policy::reuse(asked, &kept.head, now, rules) {
            Reuse::Serve { ttl } | Reuse::ServeStale { ttl, .. } => (hit(ttl), true),
            Reuse::Validate { reason, detail, .. } => {
                (CacheStatus { detail, ..CacheStatus::forwarded(reason) }, false)
            }
            Reuse::Forward(reason) => (CacheStatus::forwarded(reason), false),
        };
        let found = (status, Some(Arc::clone(&kept.head)));
        if is_served {
            return found;
        }
        fallback.get_or_insert(found);
    }
    fallback.unwrap_or_else(|| {
        let all = || memory.iter().chain(disk);
        let reason = if all().next().is_none() {
            ForwardReason::UriMiss
        } else if all().any(|kept| policy::has_part(asked, &kept.head)) {
            ForwardReason::Partial
        } else {
            ForwardReason::VaryMiss
        };
        (CacheStatus::forwarded(reason), None)
    })
}

fn kept_of(stored: &StoredResponse) -> Kept {
    let made = |coding: &Coding| matches!(stored.encoded(*coding), Some(Made::Shorter(_)));
    Kept {
        head: Arc::new(stored.head.clone()),
        tier: "memory",
        size: stored.body.length(),
        encoded: Coding::ALL.iter().filter(|coding| made(coding)).map(|coding| coding.as_str()).collect(),
        in_slices: matches!(stored.body, StoredBody::Sliced(_)),
    }
}

fn kept_on_disk(listed: &Listed) -> Kept {
    let (head, size) = (Arc::clone(&listed.head), listed.length);
    Kept { head, tier: "disk", size, encoded: Vec::new(), in_slices: listed.is_sliced }
}
