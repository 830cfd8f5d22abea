//! What is remembered is what moka would find, and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use futures_util::FutureExt;
use http::{HeaderMap, Method, StatusCode};

use super::generations::Generations;
use super::recent::*;
use super::{Alone, Memory, Order, Selector, StoredBody, StoredResponse, Tier};
use crate::base::{Clock, SystemClock};
use crate::policy::{CacheKey, CacheRules, RequestHead, SURROGATE_KEY, StoredHead, Timing};

const KEY: &[u8] = b"https\0example.test\0/";

struct World {
    memory: Memory,
    generations: Arc<Generations>,
}

impl World {
    fn new() -> Self {
        let generations = Arc::new(Generations::new(SURROGATE_KEY));
        Self { memory: Memory::new(1 << 20, &generations, Arc::default()), generations }
    }

    fn keep(&self, content: u64) -> Arc<StoredResponse> {
        let (key, none) = (CacheKey::new(KEY), HeaderMap::new());
        let req = RequestHead::new(&Method::GET, "/", &none);
        let timing = Timing { request: SystemTime::UNIX_EPOCH, response: SystemTime::UNIX_EPOCH };
        let head = StoredHead::new(&req, StatusCode::OK, HeaderMap::new(), timing, &CacheRules::default());
        let body = StoredBody::Memory(content.to_le_bytes().to_vec().into());
        let since = self.memory.generation(&key);
        let response = Arc::new(StoredResponse::new(head, body, SystemClock.now(), &since));
        assert!(self.memory.keep(&key, &response, &since, Alone::default()).now_or_never().unwrap());
        response
    }

    fn find(&self) -> Option<u64> {
        let found = self.memory.look(KEY)?;
        Some(u64::from_le_bytes(found.responses()[0].body.in_memory().try_into().unwrap()))
    }

    fn want(&self) -> Wanted<'static> {
        self.memory.recent().want(KEY)
    }

    /// Looks for what is there until it is found without moka.
    fn learn(&self) {
        let is_learnt = |_| self.find().is_some() && self.want().found().is_some();
        assert!((0..TOLD_TOGETHER).any(is_learnt));
    }
}

#[test]
fn what_was_found_is_found_again_until_moka_is_to_be_told() {
    let world = World::new();
    let response = world.keep(1);
    (0..TOLD_TOGETHER).for_each(|_| _ = world.find());
    for _ in 0..3 {
        let wanted = world.want();
        for _ in 1..TOLD_TOGETHER {
            assert!(Arc::ptr_eq(&wanted.found().unwrap(), &response));
        }
        assert!(wanted.found().is_none());
        assert_eq!((wanted.remember(&response), wanted.remember(&response)), (TOLD_TOGETHER - 1, 0));
    }
}

#[test]
fn of_what_is_asked_for_all_the_time_moka_is_told_less() {
    let world = World::new();
    let response = world.keep(1);
    (0..2 * OFTEN).for_each(|_| _ = world.find());
    let wanted = world.want();
    while wanted.found().is_some() {}
    for _ in 0..3 {
        assert_eq!(wanted.remember(&response), MOST_TOLD - 1);
        assert!((1..OFTEN).all(|_| wanted.found().is_some()));
        assert!(wanted.found().is_none());
    }
}

#[test]
fn what_is_asked_for_more_often_is_remembered() {
    let world = World::new();
    let response = world.keep(1);
    (0..100).for_each(|_| _ = world.find());
    // Twenty of them in its place, more or less: it is one by chance.
    let remember_others = || {
        for number in 0..20 * LEAST_REMEMBERED {
            world.memory.recent().want(&number.to_le_bytes()).remember(&response);
        }
    };
    remember_others();
    world.want().remember(&response);
    assert!(world.want().found().is_some());
    (0..40).for_each(|_| remember_others());
    assert!(world.want().found().is_none());
}

#[test]
fn what_is_gone_is_not_found() {
    let world = World::new();
    let _sent = world.keep(1);
    world.learn();
    world.memory.remove(&CacheKey::new(KEY)).now_or_never().unwrap();
    assert_eq!(world.find(), None);
    let _sent = world.keep(2);
    world.learn();
    assert_eq!(world.find(), Some(2));
    world.memory.clear();
    assert_eq!(world.find(), None);
}

#[tokio::test]
async fn what_made_room_and_is_being_sent_is_purged_too() {
    let world = World::new();
    let _sent = world.keep(1);
    world.learn();
    world.memory.allow(0);
    world.memory.give_way().await;
    assert_eq!(world.find(), Some(1));
    let all = Order { selectors: Arc::new([Selector::Prefix(b"https"[..].into())]), stale_from: None };
    let purge = world.generations.purges.enter(all, &[Tier::Disk]).unwrap();
    world.memory.sweep().await;
    world.generations.purges.swept(purge.epoch, Tier::Memory);
    assert_eq!((world.generations.purges.len(), world.find()), (0, None));
}

#[test]
fn nothing_is_remembered_while_it_changes() {
    let world = World::new();
    let response = world.keep(1);
    world.learn();
    let (one, other) = (world.memory.recent().change(KEY), world.memory.recent().change(KEY));
    for change in [one, other] {
        assert!(world.want().found().is_none());
        (0..TOLD_TOGETHER).for_each(|_| _ = world.want().remember(&response));
        assert!(world.want().found().is_none());
        drop(change);
    }
    assert!(world.want().found().is_none());
    world.want().remember(&response);
    assert!(world.want().found().is_some());
}

#[test]
fn each_tier_has_its_own() {
    let (one, other) = (World::new(), World::new());
    one.keep(1);
    other.keep(2);
    for _ in 0..3 * TOLD_TOGETHER {
        assert_eq!((one.find(), other.find()), (Some(1), Some(2)));
    }
}

#[test]
fn a_long_key_is_found_by_moka_alone() {
    let world = World::new();
    let response = world.keep(1);
    for length in [LONGEST_KEY, LONGEST_KEY + 1, 300] {
        let key = vec![b'x'; length];
        let wanted = world.memory.recent().want(&key);
        (0..TOLD_TOGETHER).for_each(|_| _ = wanted.remember(&response));
        assert_eq!(wanted.found().is_some(), length == LONGEST_KEY);
    }
}

#[test]
fn no_core_finds_what_was_replaced() {
    const CHANGES: u64 = 20_000;
    let world = World::new();
    let newest = AtomicU64::new(0);
    // All of them are being sent.
    let mut sent = vec![world.keep(0)];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let least = newest.load(Ordering::SeqCst);
                    // Moka says nothing while it would have to wait.
                    assert!(world.find().is_none_or(|content| content >= least));
                    if least == CHANGES {
                        break;
                    }
                }
            });
        }
        for content in 1..=CHANGES {
            sent.push(world.keep(content));
            newest.store(content, Ordering::SeqCst);
        }
    });
}
