//! Purges in the orders in which threads may go on, as `cache::tests` has it for
//! fills: a purge that is entered while a fill stores, while room is made, while readers
//! look, who remember what they found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shuttle::thread;

use super::{StoredBody, StoredResponse, Variants};
use crate::base::{Clock, SystemClock};
use crate::policy::{CacheKey, CacheRules, RequestHead, SURROGATE_KEY, StoredHead, Timing};

use purges::{Order, Purges, Selector, Tier, Verdict};
use recent::{Recent, TOLD_TOGETHER};
use sync::Mutex;

#[allow(dead_code, clippy::duplicate_mod, reason = "as it is; not all of it is used here")]
#[path = "purges/mod.rs"]
mod purges;

#[allow(dead_code, clippy::duplicate_mod, reason = "as it is; not all of it is used here")]
#[path = "recent.rs"]
mod recent;

mod sync {
    pub(super) use crate::cache::sync::tried::*;
}

/// Orders that are tried, each way.
const ORDERS: usize = 1500;
const CHANGES: usize = 3;

/// One key, the origin server, and what is stored.
struct World {
    purges: Purges,
    recent: Recent,
    key: CacheKey,
    head: Arc<StoredHead>,
    /// What the origin server has: 0 is what is purged.
    version: AtomicU64,
    /// Its content is its version.
    stored: Mutex<Option<Arc<StoredResponse>>>,
    /// All that was ever stored, which is being sent to somebody.
    sent: std::sync::Mutex<Vec<Arc<StoredResponse>>>,
    /// True once the purge has been entered.
    holds: AtomicBool,
}

impl World {
    fn new(head: &Arc<StoredHead>) -> Arc<Self> {
        Arc::new(Self {
            purges: Purges::new(SURROGATE_KEY),
            recent: Recent::new(0),
            key: CacheKey::new(b"https\0example.test\0/"),
            head: Arc::clone(head),
            version: AtomicU64::new(0),
            stored: Mutex::new(None),
            sent: std::sync::Mutex::default(),
            holds: AtomicBool::new(false),
        })
    }

    fn is_gone(&self, stored: &StoredResponse) -> bool {
        self.purges.judge(self.key.as_bytes(), &self.head, stored.epoch) != Verdict::Kept
    }

    /// A fill: what it was asked for before is what it holds; then the steps of
    /// `Memory::put`.
    fn fill(&self) {
        let since = self.purges.term();
        let version = self.version.load(SeqCst);
        thread::yield_now();
        let new = Arc::new(StoredResponse {
            epoch: since.epoch(),
            body: StoredBody::Memory(Bytes::copy_from_slice(&version.to_le_bytes())),
            head: StoredHead::clone(&self.head),
            encoded: None,
            received: SystemClock.now(),
            record: None,
        });
        self.sent.lock().unwrap().push(Arc::clone(&new));
        if self.is_gone(&new) {
            return;
        }
        let under_way = self.recent.change(self.key.as_bytes());
        *self.stored.lock().unwrap() = Some(new);
        drop(under_way);
        if self.purges.may_cover(since.epoch()) {
            self.sweep_key();
        }
    }

    fn sweep_key(&self) {
        let _under_way = self.recent.change(self.key.as_bytes());
        let mut stored = self.stored.lock().unwrap();
        if stored.as_ref().is_some_and(|stored| self.is_gone(stored)) {
            *stored = None;
        }
    }

    /// The steps of `Memory::sweep`.
    fn sweep(&self) {
        let stored = self.stored.lock().unwrap().clone();
        if stored.is_some_and(|stored| self.is_gone(&stored)) {
            self.sweep_key();
        }
        self.recent.change_all();
    }

    /// Moka makes room.
    fn evict(&self) {
        *self.stored.lock().unwrap() = None;
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

    /// Has this thread remember what is stored.
    fn learn(&self) {
        let wanted = self.recent.want(self.key.as_bytes());
        if let Some(stored) = &*self.stored.lock().unwrap() {
            (0..TOLD_TOGETHER).for_each(|_| _ = wanted.remember(stored));
        }
    }

    fn read(&self) {
        self.learn();
        (0..3).for_each(|_| self.look());
    }

    /// The steps of `Memory::look`.
    fn look(&self) {
        let held = self.holds.load(SeqCst);
        let found = loop {
            let departures = self.purges.departures();
            let wanted = self.recent.want(self.key.as_bytes());
            let stored = wanted.found().or_else(|| {
                let stored = self.stored.lock().unwrap().clone();
                stored.inspect(|stored| _ = wanted.remember(stored))
            });
            let found = stored.filter(|stored| !self.is_gone(stored));
            if self.purges.departures() == departures {
                break found;
            }
        };
        let is_purged = |found: &Arc<StoredResponse>| found.body.in_memory() == [0; 8];
        assert!(!(held && found.as_ref().is_some_and(is_purged)), "it was purged");
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
            world.fill();
            let begin = |work: fn(&World)| {
                let world = Arc::clone(&world);
                thread::spawn(move || work(&world))
            };
            let others = [World::fill, World::evict, World::read, World::read].map(begin);
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
