//! The disk tier goes from one process to the next while both run.

use tempfile::TempDir;

use super::*;
use crate::cache::{Purge, PurgeError};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

#[tokio::test]
async fn the_next_process_finds_what_this_one_left() {
    let directory = TempDir::new().unwrap();
    let mut before = Edge::over(directory.path());
    for path in ["/1", "/2", "/3"] {
        before.store(path, FRESH, "content").await;
    }
    // What waits to be written is written first.
    assert!(before.cache.leave().await);
    assert!(before.cache.usage().disk.is_none());
    let mut after = Edge::over(directory.path());
    for path in ["/1", "/2", "/3"] {
        assert_eq!(text(after.found(path).await).await.unwrap(), "content");
    }
    assert!(after.is_idle());
}

#[tokio::test]
async fn who_left_it_goes_on_in_memory_and_changes_nothing_there() {
    let directory = TempDir::new().unwrap();
    let mut before = Edge::over(directory.path());
    before.store("/", FRESH, "content").await;
    assert!(before.cache.leave().await);
    let mut after = Edge::over(directory.path());
    assert!(status(&before.hit("/", &[])).hit);
    before.store("/later", FRESH, "later").await;
    let refused = before.cache.purge(Purge::everything()).await.unwrap_err();
    assert!(matches!(refused, PurgeError::Left), "{refused}");
    assert_eq!(before.metrics.disk_errors.value(), 0);
    assert_eq!(text(after.found("/").await).await.unwrap(), "content");
    let later = after.get("/later", &[]);
    after.exchange().await.respond_whole(200, FRESH, "anew");
    assert_eq!(text(answer(later).await).await.unwrap(), "anew");
}

#[tokio::test]
async fn who_left_it_in_vain_takes_it_back() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/before", FRESH, "content").await;
    assert!(edge.cache.leave().await);
    let next = Edge::over(directory.path());
    take_back(&edge).await;
    assert!(edge.cache.usage().disk.is_none(), "the next process has it");
    drop(next);
    while edge.cache.usage().disk.is_none() {
        // It may still be letting go of the directory.
        tokio::task::yield_now().await;
        take_back(&edge).await;
    }
    soon(async {
        // Its directory is read behind the requests.
        while edge.cache.usage().disk.unwrap().objects != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    edge.store("/after", FRESH, "content").await;
    let edge = edge.restarted(directory.path(), 2).await;
    for path in ["/before", "/after"] {
        assert_eq!(text(edge.found(path).await).await.unwrap(), "content");
    }
}

async fn take_back(edge: &Edge) {
    let cache = Arc::clone(&edge.cache);
    tokio::task::spawn_blocking(move || cache.take_back()).await.unwrap();
}
