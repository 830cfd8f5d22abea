//! Purges come, hold, and leave when nothing is left for them to cover.

use std::sync::Arc;

use super::purges::*;
use crate::policy::{CacheKey, SURROGATE_KEY};

fn order(prefix: &str) -> Order {
    Order { selectors: Arc::new([Selector::Prefix(prefix.as_bytes().into())]), stale_from: None }
}

fn purges() -> Purges {
    Purges::new(SURROGATE_KEY)
}

fn covers(purges: &Purges, key: &str, epoch: u64) -> bool {
    purges.covers(&CacheKey::new(key.as_bytes()), None, epoch)
}

#[test]
fn a_purge_covers_what_was_asked_for_before() {
    let purges = purges();
    let before = purges.term().epoch();
    let entered = purges.enter(order("a"), &[]).unwrap();
    let after = purges.term().epoch();
    assert_eq!(after, entered.epoch);
    assert!(covers(&purges, "ab", before) && !covers(&purges, "ab", after) && !covers(&purges, "b", before));
    assert!(purges.may_cover(before) && !purges.may_cover(after));
}

#[test]
fn a_purge_leaves_once_nothing_older_is_under_way() {
    let purges = purges();
    let fill = purges.term();
    let epoch = purges.enter(order("a"), &[]).unwrap().epoch;
    let beside = purges.term();
    purges.swept(epoch, Tier::Memory);
    assert_eq!(purges.unswept(Tier::Disk).len(), 1);
    purges.swept(epoch, Tier::Disk);
    assert!(purges.unswept(Tier::Disk).is_empty());
    assert!(covers(&purges, "a", fill.epoch()));
    drop(fill);
    // What began while it was carried out may hold what it found before.
    drop(purges.term());
    assert_eq!(purges.len(), 1);
    drop(beside);
    drop(purges.term());
    assert_eq!((purges.len(), purges.may_cover(0)), (0, false));
}

#[test]
fn a_purge_leaves_at_once_where_nothing_is_under_way() {
    let purges = purges();
    let entered = purges.enter(order("a"), &[Tier::Disk]).unwrap();
    purges.count(&[entered.epoch, entered.epoch, 77], Tier::Memory);
    purges.swept(entered.epoch, Tier::Memory);
    assert_eq!(purges.len(), 0);
    let mut progress = *entered.progress.borrow();
    assert!(progress.is_complete());
    assert_eq!(*progress.of(Tier::Memory), Swept { responses: 2, whole: true });
}

#[test]
fn purges_are_bounded_and_make_room_again() {
    let purges = purges();
    let many: Vec<_> = (0..MOST_SELECTORS).map(|at| Selector::Tag(at.to_le_bytes().into())).collect();
    let epoch = purges.enter(Order { selectors: many.into(), stale_from: None }, &[]).unwrap().epoch;
    assert!(purges.enter(order("a"), &[]).is_none());
    purges.swept(epoch, Tier::Memory);
    purges.swept(epoch, Tier::Disk);
    assert!(purges.enter(order("a"), &[]).is_some());
}

#[test]
fn epochs_go_on_after_those_of_an_earlier_process() {
    let purges = purges();
    purges.restore(9, [(3, order("a")), (7, order("b"))]);
    assert_eq!(purges.term().epoch(), 9);
    assert!(covers(&purges, "a", 2) && !covers(&purges, "a", 3) && covers(&purges, "b", 6));
    assert_eq!(purges.enter(order("c"), &[]).unwrap().epoch, 10);
    let waiting = purges.unswept(Tier::Disk);
    assert_eq!(waiting.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [3, 7, 10]);
    assert_eq!(purges.unswept(Tier::Memory).len(), 1, "memory was empty at the start");
}
