//! The state of running fills in the orders in which threads may go on: the
//! very files of the engine, compiled once more over primitives that stop at
//! each step. A wait that nothing ends is found as a deadlock.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shuttle::future::{JoinHandle, block_on, spawn};

use crate::base::{SystemClock, Tasks};
use crate::cache::Cache;
use crate::cache::store::Generation;
use crate::config::model::CacheConfig;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;
use crate::policy::{Alike, CacheKey, CacheRules, RequestHead, StoredHead, Timing};
use crate::telemetry::Metrics;

use budget::Budget;
use collapse::{FillGuard, FillWatch, Fills, Opened, OpenedContent, Outcome, Role, Seeker};
use stream::{Found, Pace, Seat, Stream};
use sync::Mutex;

#[allow(dead_code, clippy::duplicate_mod, reason = "as it is; not all of it is used here")]
#[path = "../collapse.rs"]
mod collapse;

#[allow(dead_code, clippy::duplicate_mod, reason = "as it is; not all of it is used here")]
#[path = "../stream.rs"]
mod stream;

mod sync {
    pub(super) use crate::cache::sync::tried::{Mutex, MutexGuard, Notify, watch};
}

// What holds no lock, or none for longer than one step, is the engine's own.
mod budget {
    pub(super) use crate::cache::budget::{Budget, Share};
}

mod slices {
    pub(super) use crate::cache::slices::Audience;
}

mod store {
    pub(super) use crate::cache::store::{Generation, Sliced, StoredBody};
}

/// Orders that are tried at random, and by another way that finds what needs few
/// changes at the wrong places.
const ORDERS: usize = 1500;
const CHANGES: usize = 3;

/// Tries a scenario in many orders.
fn in_any_order<F: Future<Output = ()> + 'static>(scenario: impl Fn() -> F + Send + Sync + Clone + 'static) {
    let run = move || block_on(scenario());
    shuttle::check_random(run.clone(), ORDERS);
    shuttle::check_pct(run, ORDERS, CHANGES);
}

const WHOLE: &[u8] = b"abcdef";

/// As a request does from which any other one may expect the same.
fn join(fills: &Arc<Fills>, key: &CacheKey, refused: &[Arc<FillWatch>], may_lead: bool) -> Role {
    fills.join(key, Seeker { fields: &HeaderMap::new(), alike: Alike::default(), refused, may_lead })
}

/// What the clients of one key share.
struct World {
    fills: Arc<Fills>,
    key: CacheKey,
    stored: Mutex<Option<Bytes>>,
    budget: Arc<Budget>,
    head: Arc<StoredHead>,
    since: Generation,
    /// Requests that reached the origin server.
    fetched: AtomicUsize,
    /// How many of them fail before one succeeds.
    failing: usize,
    /// How many clients leave when they are to lead.
    leaving: AtomicUsize,
}

impl World {
    /// The origin server fails so many times; so many clients leave.
    fn new(asked: &Asked, failing: usize, leaving: usize) -> Arc<Self> {
        Arc::new(Self {
            fills: Fills::new(),
            key: asked.key.clone(),
            stored: Mutex::new(None),
            budget: Budget::new(1 << 20),
            head: Arc::clone(&asked.head),
            since: asked.since.clone(),
            fetched: AtomicUsize::new(0),
            failing,
            leaving: AtomicUsize::new(leaving),
        })
    }

    /// The way of a GET through `fetch`, `fill` and `pump`.
    async fn client(self: Arc<Self>) -> Option<Bytes> {
        let (mut refused, mut failures) = (Vec::new(), 0);
        loop {
            match join(&self.fills, &self.key, &refused, true) {
                Role::Leader(guard) => return self.lead(guard).await,
                Role::Alone => panic!("nobody is sent by itself"),
                Role::Follower(fill) => {
                    let outcome = fill.outcome().await;
                    refused.push(fill);
                    match outcome {
                        Outcome::Opened(Opened { content: OpenedContent::Running(stream), .. }) => {
                            return Some(read(&stream.enter(false)).await);
                        }
                        Outcome::Failed(_) if failures > 0 => return None,
                        Outcome::Failed(_) => failures += 1,
                        Outcome::GivenUp => {
                            if let Some(stored) = self.look() {
                                return Some(stored);
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    async fn lead(&self, guard: FillGuard) -> Option<Bytes> {
        if self.leaving.fetch_update(SeqCst, SeqCst, |leaving| leaving.checked_sub(1)).is_ok() {
            return None;
        }
        if let Some(stored) = self.look() {
            return Some(stored);
        }
        if self.fetched.fetch_add(1, SeqCst) < self.failing {
            let error = FetchError::new(ProxyErrorType::ConnectionRefused, RequestProgress::NotSent);
            guard.tell(Outcome::Failed(Arc::new(error)));
            return None;
        }
        let stream = Stream::new(Some(WHOLE.len() as u64), &self.budget);
        let seat = stream.enter(false);
        guard.tell(Outcome::Opened(Opened {
            head: Arc::clone(&self.head),
            content: OpenedContent::Running(Arc::clone(&stream)),
            fwd_status: StatusCode::OK,
            since: self.since.clone(),
        }));
        let reading = spawn(async move { read(&seat).await });
        stream.append(Bytes::from_static(&WHOLE[..3]));
        let whole = Bytes::from_static(WHOLE);
        *self.stored.lock().unwrap() = Some(whole.clone());
        stream.finish(whole);
        drop(guard);
        Some(reading.await.unwrap())
    }

    fn look(&self) -> Option<Bytes> {
        self.stored.lock().unwrap().clone()
    }
}

/// All that a reader finds from its place on.
async fn read(seat: &Seat) -> Bytes {
    let mut all = Vec::new();
    loop {
        match poll_fn(|context| seat.take(u64::MAX, context)).await {
            Found::Bytes(bytes) => all.extend_from_slice(&bytes),
            Found::End => return all.into(),
            other => panic!("{other:?}"),
        }
    }
}

/// What all runs have in common, and none changes.
#[derive(Clone)]
struct Asked {
    key: CacheKey,
    head: Arc<StoredHead>,
    since: Generation,
}

impl Asked {
    fn new() -> Self {
        let key = CacheKey::new(b"https\0example.test\0/");
        let config = CacheConfig::in_memory(1 << 20, 1 << 20);
        let cache = Cache::new(&config, Arc::new(SystemClock), &Tasks::new(), Arc::new(Metrics::default()));
        let since = cache.store.generation(&key);
        let mut fields = HeaderMap::new();
        fields.insert("cache-control", HeaderValue::from_static("max-age=60"));
        let none = HeaderMap::new();
        let req = RequestHead::new(&Method::GET, "/", &none);
        let epoch = SystemTime::UNIX_EPOCH;
        let timing = Timing { request: epoch, response: epoch };
        let head = StoredHead::new(&req, StatusCode::OK, fields, timing, &CacheRules::default());
        Self { key, head: Arc::new(head), since }
    }
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

/// Three clients; says what they got.
async fn crowd(world: &Arc<World>) -> Vec<Option<Bytes>> {
    let answers = all((0..3).map(|_| spawn(Arc::clone(world).client())).collect()).await;
    assert!(world.fills.is_empty(), "a fill can be joined that has ended");
    assert_eq!(world.budget.taken(), 0);
    assert!(answers.iter().flatten().all(|answer| answer == WHOLE));
    answers
}

#[test]
fn a_group_fetches_once_and_gets_everything() {
    let asked = Asked::new();
    in_any_order(move || {
        let world = World::new(&asked, 0, 0);
        async move {
            let answers = crowd(&world).await;
            assert!(answers.iter().all(Option::is_some));
            assert_eq!(world.fetched.load(SeqCst), 1);
        }
    });
}

#[test]
fn a_leader_that_fails_hands_over_once() {
    let asked = Asked::new();
    in_any_order(move || {
        let world = World::new(&asked, 1, 0);
        async move {
            let answers = crowd(&world).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1);
            assert_eq!(world.fetched.load(SeqCst), 2);
        }
    });
}

#[test]
fn failures_without_end_reach_the_origin_server_once_for_each_at_most() {
    let asked = Asked::new();
    in_any_order(move || {
        let world = World::new(&asked, usize::MAX, 0);
        async move {
            assert!(crowd(&world).await.iter().all(Option::is_none));
            assert!(world.fetched.load(SeqCst) <= 3);
        }
    });
}

#[test]
fn a_leader_that_leaves_costs_nobody_the_answer() {
    let asked = Asked::new();
    in_any_order(move || {
        let world = World::new(&asked, 0, 1);
        async move {
            let answers = crowd(&world).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1);
            assert_eq!(world.fetched.load(SeqCst), 1);
        }
    });
}

/// What was closed nobody joins, and what began after it everybody: also when the
/// closed one ends.
#[test]
fn who_comes_after_a_closing_joins_what_began_after_it() {
    let asked = Asked::new();
    in_any_order(move || {
        let (fills, key) = (Fills::new(), asked.key.clone());
        async move {
            let Role::Leader(old) = join(&fills, &key, &[], true) else { panic!("none runs") };
            let (closed, watch) = (Arc::new(AtomicBool::new(false)), old.watch());
            let closing = {
                let (fills, key, closed) = (Arc::clone(&fills), key.clone(), Arc::clone(&closed));
                spawn(async move {
                    fills.close(&key);
                    closed.store(true, SeqCst);
                })
            };
            let ending = spawn(async move { drop(old) });
            let was_closed = closed.load(SeqCst);
            match join(&fills, &key, &[], true) {
                Role::Follower(fill) => assert!(!was_closed && Arc::ptr_eq(&fill, &watch)),
                Role::Leader(new) => {
                    all(vec![ending]).await;
                    match join(&fills, &key, &[], false) {
                        Role::Follower(fill) => assert!(Arc::ptr_eq(&fill, &new.watch())),
                        // The closing was for it, too.
                        _ => assert!(!was_closed),
                    }
                }
                Role::Alone => panic!("it may lead"),
            }
            all(vec![closing]).await;
        }
    });
}

const CHUNK: usize = 64 << 10;
static CHUNK_BYTES: [u8; CHUNK] = [7; CHUNK];
const CHUNKS: u64 = 6;

/// A stream of which a window is kept: whoever reads comes to an end, wherever
/// it begins, whoever else leaves or stands still.
#[test]
fn a_window_holds_up_nobody_for_good() {
    in_any_order(|| async {
        let stream = Stream::new(None, &Budget::new(1 << 20));
        stream.outgrow();
        let (first, stands_still) = (stream.enter(false), stream.enter(false));
        let writing = {
            let stream = Arc::clone(&stream);
            spawn(async move {
                let mut written = 0;
                while written < CHUNKS {
                    match stream.pace() {
                        Pace::Go => {
                            stream.append(Bytes::from_static(&CHUNK_BYTES));
                            written += 1;
                        }
                        Pace::Wait => stream.moved().await,
                        Pace::Stop => return stream.cut("nobody reads"),
                    }
                }
                stream.finish_window();
                true
            })
        };
        let leaving = spawn(async move {
            let _ = poll_fn(|context| first.take(u64::MAX, context)).await;
        });
        let late = {
            let seat = stream.enter(false);
            spawn(async move {
                seat.skip(4 * CHUNK as u64);
                loop {
                    match poll_fn(|context| seat.take(u64::MAX, context)).await {
                        Found::Bytes(_) => {}
                        Found::End | Found::FellOut => return,
                        Found::Cut(reason) => panic!("{reason}"),
                    }
                }
            })
        };
        all(vec![leaving, late]).await;
        drop(stands_still);
        assert!(writing.await.unwrap());
    });
}
