//! Purges in the orders in which threads may go on, as `cache::tests` has it for
//! fills: a purge that is entered while a fill stores, while readers look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shuttle::thread;

use super::{StoredResponse, Variants};
use crate::policy::{CacheKey, CacheRules, RequestHead, SURROGATE_KEY, StoredHead, Timing};

use purges::{Order, Purges, Selector, Tier, Verdict};
use sync::Mutex;

#[allow(dead_code, clippy::duplicate_mod, reason = "as it is; not all of it is used here")]
#[path = "purges/mod.rs"]
mod purges;

mod sync {
    pub(super) use crate::cache::sync::tried::*;
}

/// Orders that are tried, each way.
const ORDERS: usize = 1500;
const CHANGES: usize = 3;

/// One key, the origin server, and what is stored.
struct World {
    purges: Purges,
    key: CacheKey,
    head: Arc<StoredHead>,
    /// What the origin server has: 0 is what is purged.
    version: AtomicU64,
    /// The version that is stored, and when it was asked for.
    stored: Mutex<Option<(u64, u64)>>,
    /// True once the purge has been entered.
    holds: AtomicBool,
}

impl World {
    fn new(head: &Arc<StoredHead>) -> Arc<Self> {
        Arc::new(Self {
            purges: Purges::new(SURROGATE_KEY),
            key: CacheKey::new(b"https\0example.test\0/"),
            head: Arc::clone(head),
            version: AtomicU64::new(0),
            stored: Mutex::new(None),
            holds: AtomicBool::new(false),
        })
    }

    fn is_gone(&self, epoch: u64) -> bool {
        self.purges.judge(self.key.as_bytes(), &self.head, epoch) != Verdict::Kept
    }

    /// A fill: what it was asked for before is what it holds; then the steps of
    /// `Memory::put`.
    fn fill(&self) {
        let since = self.purges.term();
        let version = self.version.load(SeqCst);
        thread::yield_now();
        if self.is_gone(since.epoch()) {
            return;
        }
        *self.stored.lock().unwrap() = Some((version, since.epoch()));
        if self.purges.may_cover(since.epoch()) {
            self.sweep();
        }
    }

    fn sweep(&self) {
        let mut stored = self.stored.lock().unwrap();
        if stored.is_some_and(|(_, epoch)| self.is_gone(epoch)) {
            *stored = None;
        }
    }

    /// Who purges has changed the resource before.
    fn purge(&self, selector: Selector) {
        self.version.store(1, SeqCst);
        let order = Order { selectors: Arc::new([selector]), stale_from: None };
        let entered = self.purges.enter(order, &[Tier::Disk]).unwrap();
        self.holds.store(true, SeqCst);
        self.sweep();
        self.purges.swept(entered.epoch, Tier::Memory);
    }

    /// The steps of `Memory::look`.
    fn look(&self) {
        let held = self.holds.load(SeqCst);
        let found = loop {
            let departures = self.purges.departures();
            let stored = *self.stored.lock().unwrap();
            let found = stored.filter(|(_, epoch)| !self.is_gone(*epoch));
            if self.purges.departures() == departures {
                break found;
            }
        };
        assert!(!(held && found.is_some_and(|(version, _)| version == 0)), "it was purged");
    }
}

/// The head of a response with the tag `red`.
fn head() -> Arc<StoredHead> {
    let mut fields = HeaderMap::new();
    fields.insert("cache-control", HeaderValue::from_static("max-age=60"));
    fields.insert("surrogate-key", HeaderValue::from_static("red"));
    let none = HeaderMap::new();
    let req = RequestHead::new(&Method::GET, "/", &none);
    let timing = Timing { request: SystemTime::UNIX_EPOCH, response: SystemTime::UNIX_EPOCH };
    Arc::new(StoredHead::new(&req, StatusCode::OK, fields, timing, &CacheRules::default()))
}

#[test]
fn what_is_purged_is_found_by_nobody_whatever_stores_it_meanwhile() {
    let selectors = [
        Selector::Key(b"https\0example.test\0/"[..].into()),
        Selector::Prefix(b"https\0example"[..].into()),
        Selector::Tag(b"red"[..].into()),
    ];
    for selector in selectors {
        let head = head();
        let run = move || {
            let world = World::new(&head);
            let begin = |work: fn(&World)| {
                let world = Arc::clone(&world);
                thread::spawn(move || work(&world))
            };
            let mut others = vec![begin(World::fill), begin(World::fill)];
            others.push(begin(|world| (0..3).for_each(|_| world.look())));
            world.purge(selector.clone());
            others.into_iter().for_each(|other| other.join().unwrap());
            world.look();
            // Nothing is under way any more: whoever comes next takes it out.
            drop(world.purges.term());
            assert_eq!(world.purges.len(), 0);
            world.look();
        };
        shuttle::check_random(run.clone(), ORDERS);
        shuttle::check_pct(run, ORDERS, CHANGES);
    }
}
