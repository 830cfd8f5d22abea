//! Many clients that want the same, and a disk that does not answer.

use std::os::unix::fs::FileExt as _;

use futures_util::future::join_all;

use super::*;
use crate::base::SystemClock;

impl Tier {
    /// Has nothing of a file in memory, so that it has to be waited for.
    fn forget_pages(&self, path: &Path) {
        for file in self.files(path) {
            let file = fs::File::open(file).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

/// False where the file system cannot tell what is in memory: then everything
/// is waited for.
fn tells_what_is_in_memory(file: &Path) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut byte = [0];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    let file = fs::File::open(file).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    let tells = preadv2(&file, &mut into, 0, ReadWriteFlags::NOWAIT).is_ok();
    if !tells {
        eprintln!("skipped: this file system cannot tell what is in the page cache");
    }
    tells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_reads_what_is_cold_once() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let whole = content(1, 1 << 20);
    tier.store("/", &whole).await;
    tier.forget_pages(directory.path());
    // Nothing is read before all of them ask.
    let turns = tier.disk.hang().await;
    let bodies = join_all((0..100).map(|_| async {
        let found = tier.find("/").await;
        let Some((StoredBody::Memory(bytes), _)) = tier.disk.load(&found[0]).await else { panic!() };
        (found, bytes)
    }));
    let release = async {
        tokio::task::yield_now().await;
        drop(turns);
    };
    let (bodies, ()) = soon(futures_util::future::join(bodies, release)).await;
    let places: std::collections::BTreeSet<_> = bodies.iter().map(|(_, bytes)| bytes.as_ptr()).collect();
    assert_eq!(places.len(), 1, "all of them share one copy");
    assert!(bodies.iter().all(|(_, bytes)| bytes == &whole));
    assert_eq!(tier.disk.looks.len(), 1);
    drop(bodies);
    assert_eq!(tier.disk.looks.len(), 0, "nothing of it is kept");
}

#[tokio::test]
async fn who_comes_after_an_invalidation_does_not_share_what_came_before() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/", b"old").await;
    let before = tier.find("/").await;
    tier.generations.advance(&key("/"));
    tier.disk.remove(&key("/")).await.unwrap();
    assert!(tier.find("/").await.is_empty());
    tier.store("/", b"new").await;
    assert_eq!(tier.content("/").await.unwrap().unwrap(), "new");
    let (body, _) = tier.disk.load(&before[0]).await.unwrap();
    assert_eq!(read(body).await.unwrap(), "old", "who has it goes on");
    drop(before);
    assert_eq!(tier.disk.looks.len(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_the_others_with_an_answer() {
    // A disk that has much to do may say nothing in time, but not again and again.
    for _ in 0..5 {
        if found_after_another_left().await != Some(0) {
            return;
        }
    }
    panic!("the other one is left with nothing");
}

/// How many records one of two finds who wait for them together, after the other one left;
/// `None` if they did not have to wait.
async fn found_after_another_left() -> Option<usize> {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/", b"content").await;
    let tier = {
        tier.end();
        Tier::unread(directory.path())
    };
    tier.disk.know_leaf(super::super::name::KeyId::of(&key("/")).leaf());
    tier.forget_pages(directory.path());
    let turns = tier.disk.hang().await;
    let (path, other) = (key("/"), key("/"));
    let mut first = Box::pin(tier.disk.find(&path));
    let mut second = Box::pin(tier.disk.find(&other));
    let both = std::future::poll_fn(|context| {
        let ready = (first.as_mut().poll(context).is_ready(), second.as_mut().poll(context).is_ready());
        std::task::Poll::Ready(ready)
    });
    let are_there = both.await;
    drop(first);
    drop(turns);
    let found = if are_there == (false, false) { Some(soon(second).await.len()) } else { None };
    assert_eq!(tier.disk.looks.len(), 0);
    found
}

#[tokio::test]
async fn what_is_in_the_page_cache_needs_no_thread() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    for length in [1_000, 100_000, 1 << 20, 3 << 20] {
        tier.store(&format!("/{length}"), &content(length as u64, length)).await;
    }
    tier.read();
    if !tells_what_is_in_memory(&tier.files(directory.path())[0]) {
        return;
    }
    // Nobody may wait for the disk any more.
    let _turns = tier.disk.hang().await;
    for length in [1_000, 100_000, 1 << 20, 3 << 20] {
        let found = tier.content(&format!("/{length}")).await.unwrap().unwrap();
        assert!(found == content(length as u64, length), "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_costs_a_second_and_then_nothing() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let tier = {
        tier.end();
        Tier::unread(directory.path())
    };
    let turns = tier.disk.hang().await;
    let begun = SystemClock.now();
    let (one, other) = (key("/1"), key("/2"));
    assert!(tier.disk.find(&one).await.is_empty());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert!(tier.disk.find(&other).await.is_empty());
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "it is let alone");
    assert_eq!(tier.metrics.disk_errors.value(), 1);
    drop(turns);
    tier.clock.advance(Duration::from_secs(2));
    assert!(tier.disk.find(&other).await.is_empty());
    assert_eq!(tier.metrics.disk_errors.value(), 1);
}

/// A tier whose one record, of `/`, could not be deleted in time.
async fn hung(path: &Path) -> Tier {
    let tier = Tier::open(path);
    tier.store("/", b"old").await;
    tier.read();
    let hang = tier.disk.hang().await;
    tier.generations.advance(&key("/"));
    let removed = tier.disk.remove(&key("/")).await;
    assert_eq!(removed.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    drop(hang);
    tier.clock.advance(Duration::from_secs(60));
    assert_eq!(tier.files(path).len(), 1);
    tier
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_is_not_found_though_the_disk_hung_for_too_long() {
    let directory = TempDir::new().unwrap();
    let tier = hung(directory.path()).await;
    assert!(tier.find("/").await.is_empty());
    // Whoever asks again is not told that it is gone for good before it is.
    assert_eq!(tier.disk.remove(&key("/")).await.unwrap(), 1);
    assert!(tier.files(directory.path()).is_empty());
    assert_eq!(tier.disk.remove(&key("/")).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_the_disk_hung_is_deleted_by_another_purge() {
    let directory = TempDir::new().unwrap();
    let tier = hung(directory.path()).await;
    tier.disk.sweep_key(&key("/")).await.unwrap();
    assert!(tier.files(directory.path()).is_empty());
}
