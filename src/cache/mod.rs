//! Answers requests from stored responses and stores what origin servers
//! answer. What may be stored and used is decided by `policy`; the engine only
//! does it.
//!
//! A response that is fetched belongs to the cache, not to the client that
//! happened to ask first: that client, and all who ask for the same meanwhile,
//! read it as it comes (`collapse`, `fill`, `pump`, `stream`). Nothing is held
//! whole in order to be forwarded, and nothing that came short is stored or
//! ends as if it were whole.

mod asked;
mod budget;
mod chain;
mod collapse;
mod deliver;
mod encode;
mod failure;
mod fetch;
mod fill;
mod from_disk;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod inspect;
mod invalidate;
mod lookup;
mod multipart;
mod parts;
mod pass;
mod post;
mod pump;
mod purge;
mod reader;
mod resume;
mod slices;
mod store;
mod stream;
mod sync;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::base::{Clock, Tasks};
use crate::config::model::CacheConfig;
use crate::exchange::{Failure, Handling, Origin, Request, Response, Target};
use crate::fields::cache_status::CacheStatus;
use crate::fields::coding::Coding;
use crate::policy::{self, CacheKey, CacheRules, RequestHead};
use crate::telemetry::Metrics;

use asked::Asked;
use budget::Budget;
use collapse::Fills;
use deliver::{Content, Selected};
use encode::Encoders;
use fetch::Miss;
use invalidate::AsWritten;
use lookup::Lookup;
use post::Post;
use store::{Alone, Removed, SLICE, StoredResponse, Tiers};

pub use inspect::{CacheStat, MOST_LISTED, Outlook, StoredView};
pub use invalidate::NormalForms;
pub use purge::{InvalidPurge, MOST_NAMED, Purge, PurgeError, Purged, PurgedCounts, purge_targets};
pub use store::DiskUsage;

/// How long requests for a key do not wait for one another once a response was
/// not to be shared: as long as Varnish does (hit-for-miss).
const ALONE: Duration = Duration::from_secs(120);

/// Running fills may hold this part of the memory tier's size besides it.
const FILLS_PART: u64 = 4;

/// So many slices are let in at least, where there is a disk to keep them on.
const SLICES_HELD: u64 = 4;

/// The cache of a process, shared by all of its cores.
#[derive(Debug)]
pub struct Cache {
    store: Tiers,
    fills: Arc<Fills>,
    budget: Arc<Budget>,
    /// True while another process takes over; read for as long as a purge goes on.
    is_left: tokio::sync::RwLock<bool>,
    encoders: Arc<Encoders>,
    max_object: u64,
    /// Bytes of a slice.
    slice: u64,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

/// How full a cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CacheUsage {
    /// Bytes that are held, overhead included.
    pub bytes: u64,
    /// Responses that are held.
    pub objects: u64,
    /// Bytes that may be held.
    pub capacity: u64,
    /// The same of the disk tier, if there is one.
    pub disk: Option<DiskUsage>,
}

impl Cache {
    /// A cache of what is on its disk, if it has one, and else empty. What waits
    /// to be written there is a task of `tasks`.
    pub fn new(
        config: &CacheConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Self::with_slices(config, clock, tasks, metrics, SLICE)
    }

    /// The same with slices of so many bytes.
    fn with_slices(
        config: &CacheConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
        slice: u64,
    ) -> Arc<Self> {
        let fills = config.memory / FILLS_PART;
        Arc::new(Self {
            store: Tiers::open(config, Arc::clone(&clock), tasks, &metrics),
            fills: Fills::new(),
            budget: Budget::new(if config.disk.is_some() { fills.max(SLICES_HELD * slice) } else { fills }),
            is_left: tokio::sync::RwLock::default(),
            encoders: Encoders::new(),
            max_object: config.max_object,
            slice,
            clock,
            tasks: tasks.clone(),
            metrics,
        })
    }

    /// How many bytes the memory tier may hold from now on, as long as that is less than
    /// its capacity; what is too much leaves by [`Cache::give_way`].
    pub fn allow(&self, bytes: u64) {
        self.store.memory.allow(bytes);
    }

    /// Has the memory tier give up what it may not hold. Cancel safe.
    pub async fn give_way(&self) {
        self.store.memory.give_way().await;
    }

    /// Answers `req` by the `rules` of its route, asking `origin` where nothing
    /// stored will do. What is stored is answered at once.
    ///
    /// Dropping the answer cancels what is done for this client alone, never a
    /// fill.
    pub fn answer(
        self: &Arc<Self>,
        req: Box<Request>,
        rules: &Arc<CacheRules>,
        origin: &Arc<dyn Origin>,
    ) -> Handling {
        let head = asked::head(&req);
        if let Some(status) = pass::past(&req, &head, rules) {
            return self.forward(req, rules, origin, Arc::new(AsWritten), status);
        }
        let now = req.received_wall;
        match lookup::look(&self.store.memory, &req, &head, rules) {
            Lookup::Serve { stored, ttl } => match Content::of_response(&stored) {
                Ok(content) => match self.missing_coding(&head, &stored, rules) {
                    None => Handling::ready(Ok(hit(&head, &stored, content, rules, (ttl, now)))),
                    Some(coding) => self.answer_encoded(req, rules, stored, coding, ttl),
                },
                Err(_) => self.answer_in_slices(Asked::new(req, rules, origin), stored, ttl),
            },
            Lookup::ServeStale { stored, ttl, refresh } => {
                let refresh = refresh.filter(|_| req.method == Method::GET);
                match Content::of_response(&stored) {
                    Ok(content) => {
                        let response = hit(&head, &stored, content, rules, (ttl, now));
                        if let Some(plan) = refresh {
                            fetch::refresh(self, &Asked::new(req, rules, origin), &plan);
                        }
                        Handling::ready(Ok(response))
                    }
                    Err(_) => {
                        let asked = Asked::new(req, rules, origin);
                        if let Some(plan) = refresh {
                            fetch::refresh(self, &asked, &plan);
                        }
                        self.answer_in_slices(asked, stored, ttl)
                    }
                }
            }
            Lookup::Fetch(_) if !self.store.has_disk() && policy::only_if_cached(&head) => {
                Handling::ready(Err(Failure::OnlyIfCached))
            }
            Lookup::Fetch(plan) => {
                let mut miss = Miss::new(Arc::clone(self), Asked::new(req, rules, origin), plan);
                Handling::pending(async move { miss.answer().await })
            }
        }
    }

    /// Answers a request whose method is not safe, as [`Cache::answer`] does; what
    /// it makes stale is found by its normal form (RFC 9111 s4.4).
    pub fn write(
        self: &Arc<Self>,
        req: Box<Request>,
        rules: &Arc<CacheRules>,
        origin: &Arc<dyn Origin>,
        forms: Arc<dyn NormalForms>,
    ) -> Handling {
        match pass::past(&req, &asked::head(&req), rules) {
            Some(status) => self.forward(req, rules, origin, forms, status),
            None => self.answer(req, rules, origin),
        }
    }

    fn forward(
        self: &Arc<Self>,
        mut req: Box<Request>,
        rules: &Arc<CacheRules>,
        origin: &Arc<dyn Origin>,
        forms: Arc<dyn NormalForms>,
        status: CacheStatus,
    ) -> Handling {
        let post = Post::of(self, &mut req, rules, origin, &*forms);
        Handling::pending(pass::forward(Arc::clone(self), req, Arc::clone(origin), forms, (status, post)))
    }

    /// Answers with a stored response in a coding that is still to be made.
    fn answer_encoded(
        self: &Arc<Self>,
        req: Box<Request>,
        rules: &Arc<CacheRules>,
        stored: Arc<StoredResponse>,
        coding: Coding,
        ttl: i64,
    ) -> Handling {
        let encoding = Arc::clone(self).encoded(Self::key(&req.target), stored, coding);
        let rules = Arc::clone(rules);
        Handling::pending(async move {
            let stored = encoding.await;
            let content = Content::of_response(&stored).unwrap_or_else(|_| Content::Whole(Bytes::new()));
            Ok(hit(&asked::head(&req), &stored, content, &rules, (ttl, req.received_wall)))
        })
    }

    /// Answers with a stored response that is kept in slices: what is not there
    /// of it has to be waited for.
    fn answer_in_slices(
        self: &Arc<Self>,
        asked: Arc<Asked>,
        stored: Arc<StoredResponse>,
        ttl: i64,
    ) -> Handling {
        let plan = lookup::plan_of_parts(&asked);
        Handling::pending(Miss::new(Arc::clone(self), asked, plan).answer_in_slices(stored, ttl))
    }

    /// The key under which a response to a GET of `target` is kept, which is in
    /// normal form.
    pub fn key(target: &Target) -> CacheKey {
        asked::key_beside(target, target.path_and_query.as_str())
    }

    /// Forgets everything. What is being fetched now is not stored.
    fn clear(&self) -> Removed {
        let removed = self.store.clear();
        self.fills.close_all();
        removed
    }

    /// Writes down what is on the disk, so that the next start knows it at once.
    /// To be called once nothing is stored any more; waits a few seconds at most.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Leaves what is on the disk to another process that takes over from this one,
    /// and goes on in memory. Purges under way are waited for, and no other one begins:
    /// that process would not know of it. False, and nothing has changed, if the disk does
    /// not do in time what it has to. Waits ten seconds at most for the purges, and six for
    /// the disk.
    pub async fn leave(&self) -> bool {
        let mut is_left = self.is_left.write().await;
        *is_left = self.store.leave_disk().await;
        *is_left
    }

    /// Takes everything back after all. Blocks on the disk.
    pub fn take_back(&self) {
        self.store.take_disk();
        *self.is_left.blocking_write() = false;
    }

    /// How full it is.
    pub fn usage(&self) -> CacheUsage {
        let memory = &self.store.memory;
        let disk = self.store.disk_usage();
        CacheUsage { bytes: memory.bytes(), objects: memory.objects(), capacity: memory.capacity(), disk }
    }

    /// What follows from a response that could not be shared: with all
    /// requests, or only with those to which it may be `personal`.
    fn alone(&self, personal: bool) -> Alone {
        let until = Some(self.clock.now() + ALONE);
        if personal {
            Alone { personal: until, ..Alone::default() }
        } else {
            Alone { all: until, ..Alone::default() }
        }
    }
}

fn hit(
    req: &RequestHead<'_>,
    stored: &StoredResponse,
    content: Content,
    rules: &CacheRules,
    (ttl, now): (i64, SystemTime),
) -> Box<Response> {
    let cache = CacheStatus { hit: true, ttl: Some(ttl), ..CacheStatus::default() };
    Selected::stored(req, stored, content, rules, (cache, stored.head.age(now))).answer(req)
}
