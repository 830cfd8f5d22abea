//! The engine over both tiers.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::model::DiskConfig;
use crate::fields::cache_status::ForwardReason;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

impl Edge {
    pub(super) fn over(path: &Path) -> Self {
        let disk = Some(DiskConfig { path: path.to_owned(), size: 1 << 30 });
        let config = CacheConfig { disk, ..CacheConfig::in_memory(64 << 20, 8 << 20) };
        // The one before may still be letting go of the directory.
        for _ in 0..1_000_000 {
            let edge = Self::configured(&config);
            if edge.cache.usage().disk.is_some() {
                return edge;
            }
            std::thread::yield_now();
        }
        panic!("the directory is still in use");
    }

    /// The next process, after this one has written everything.
    pub(super) async fn restarted(self, path: &Path, written: u64) -> Self {
        self.written(written).await;
        let passed = self.clock.wall();
        drop(self);
        let next = Self::over(path);
        next.clock.advance(passed.duration_since(next.clock.wall()).unwrap());
        next
    }

    pub(super) async fn written(&self, written: u64) {
        soon(async {
            while self.metrics.disk_writes.value() < written {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(super) async fn ask_and_wait(
        &self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Answered {
        soon(self.ask(self.request(method, path, fields))).await
    }

    pub(super) async fn found(&self, path: &str) -> Response {
        *self.ask_and_wait(Method::GET, path, &[]).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "content").await;
    edge.clock.advance(Duration::from_secs(10));
    let mut edge = edge.restarted(directory.path(), 1).await;
    let response = edge.found("/").await;
    assert_eq!(response.fields["age"], "10");
    assert!(status(&response).hit);
    assert_eq!(text(response).await.unwrap(), "content");
    let part = edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=1-3")]).await.unwrap();
    assert_eq!(part.status, 206);
    assert_eq!(text(part).await.unwrap(), "ont");
    // The second use brought it into memory.
    assert_eq!(memory(&edge.hit("/", &[])), memory(&edge.hit("/", &[])));
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "content");
    assert_eq!(edge.metrics.disk_hits.value(), 2);
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_long_content_is_read_as_it_is_sent() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    let long: &'static str = String::leak("0123456789abcdef".repeat(200_000));
    edge.store("/", FRESH, long).await;
    let mut edge = edge.restarted(directory.path(), 1).await;
    for _ in 0..3 {
        assert!(text(edge.found("/").await).await.unwrap() == long);
    }
    assert_eq!(edge.cache.usage().objects, 0, "it does not push others out of memory");
    let part = edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=-20")]).await.unwrap();
    assert_eq!(text(part).await.unwrap(), "cdef0123456789abcdef");
    let head = edge.ask_and_wait(Method::HEAD, "/", &[]).await.unwrap();
    assert_eq!(head.fields["content-length"], "3200000");
    assert!(edge.is_idle());
}

#[tokio::test]
async fn what_is_stale_is_validated_and_the_new_head_stays() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    let long: &'static str = String::leak("x".repeat(2_000_000));
    edge.store("/short", FRESH, "content").await;
    edge.store("/long", FRESH, long).await;
    edge.clock.advance(Duration::from_secs(100));
    let mut edge = edge.restarted(directory.path(), 2).await;
    for (path, content) in [("/short", "content"), ("/long", long)] {
        let client = edge.get(path, &[]);
        let validation = edge.exchange().await;
        assert_eq!(validation.req.fields["if-none-match"], "\"1\"");
        validation.respond_whole(304, &[("cache-control", "max-age=1000"), ("etag", "\"1\"")], "");
        assert!(text(answer(client).await).await.unwrap() == content);
    }
    edge.clock.advance(Duration::from_secs(500));
    let mut edge = edge.restarted(directory.path(), 2).await;
    for (path, content) in [("/short", "content"), ("/long", long)] {
        let response = edge.found(path).await;
        assert_eq!(response.fields["age"], "500");
        assert!(text(response).await.unwrap() == content);
    }
    assert!(edge.is_idle());
    assert_eq!(edge.cache.usage().disk.unwrap().objects, 2);
}

/// A 304 may say that the response varies now: what is known of the request that
/// brought it does not do any more.
#[tokio::test]
async fn what_is_selected_otherwise_now_does_not_come_back() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "content").await;
    edge.written(1).await;
    let client = edge.get("/", &[("cache-control", "no-cache")]);
    edge.exchange().await.respond_whole(304, &[FRESH[0], FRESH[1], ("vary", "x")], "");
    assert_eq!(text(answer(client).await).await.unwrap(), "content");
    let mut edge = edge.restarted(directory.path(), 2).await;
    let client = edge.get("/", &[("x", "1")]);
    edge.exchange().await.respond_whole(200, FRESH, "other");
    assert_eq!(text(answer(client).await).await.unwrap(), "other");
}

/// RFC 9111 s4: also where the more recent one is on the disk and memory has an
/// older one that would do.
#[tokio::test]
async fn the_most_recent_one_is_used_whichever_tier_has_it() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "older").await;
    edge.clock.advance(Duration::from_secs(1));
    let client = edge.get("/", &[("x", "1"), ("cache-control", "no-cache")]);
    edge.exchange().await.respond_whole(200, &[FRESH[0], ("vary", "x")], "newer");
    answer(client).await;
    let edge = edge.restarted(directory.path(), 2).await;
    for _ in 0..3 {
        assert_eq!(text(edge.found("/").await).await.unwrap(), "older");
        let response = edge.ask_and_wait(Method::GET, "/", &[("x", "1")]).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "newer");
    }
}

#[tokio::test]
async fn nobody_waits_for_the_validation_of_what_is_never_fresh() {
    let fields = &[("cache-control", "no-cache"), ("etag", "\"1\"")];
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", fields, "content").await;
    let mut edge = edge.restarted(directory.path(), 1).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(304, fields, "");
    answer(client).await;
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let validations = [edge.exchange().await, edge.exchange().await];
    for validation in validations {
        validation.respond_whole(304, fields, "");
    }
    for client in clients {
        assert_eq!(text(answer(client).await).await.unwrap(), "content");
    }
}

#[tokio::test]
async fn what_is_for_other_requests_is_no_lack_of_the_target() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", &[("cache-control", "max-age=60"), ("vary", "x")], "content").await;
    let mut edge = edge.restarted(directory.path(), 1).await;
    for (path, expected) in [("/", ForwardReason::VaryMiss), ("/other", ForwardReason::UriMiss)] {
        let client = edge.get(path, &[("x", "1")]);
        edge.exchange().await.respond_whole(200, &[("cache-control", "no-store")], "other");
        assert_eq!(status(&answer(client).await).fwd, Some(expected), "{path}");
    }
}

#[tokio::test]
async fn what_a_write_changed_does_not_come_back() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "old").await;
    let mut edge = edge.restarted(directory.path(), 1).await;
    let write = edge.clients.spawn(edge.ask(edge.request(Method::PUT, "/", &[])));
    edge.exchange().await.respond_whole(204, &[], "");
    answer(write).await;
    assert_eq!(edge.metrics.invalidations.value(), 1);
    let edge = edge.restarted(directory.path(), 0).await;
    let only = edge.ask_and_wait(Method::GET, "/", &[("cache-control", "only-if-cached")]).await;
    assert!(matches!(only, Err(Failure::OnlyIfCached)));
}

#[tokio::test]
async fn a_purge_is_for_both_tiers_and_for_good() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "old").await;
    edge.written(1).await;
    assert_eq!(edge.cache.clear().disk.unwrap(), 1);
    assert_eq!(edge.cache.usage().disk.unwrap().objects, 0);
    edge.store("/new", FRESH, "new").await;
    let mut edge = edge.restarted(directory.path(), 2).await;
    assert_eq!(text(edge.found("/new").await).await.unwrap(), "new");
    edge.store("/", FRESH, "newer").await;
}

#[tokio::test]
async fn what_must_not_be_kept_any_more_is_removed() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "old").await;
    edge.clock.advance(Duration::from_secs(100));
    let mut edge = edge.restarted(directory.path(), 1).await;
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(304, &[("cache-control", "no-store"), ("etag", "\"1\"")], "");
    assert_eq!(text(answer(client).await).await.unwrap(), "old");
    assert_eq!(edge.cache.usage().disk.unwrap().objects, 0);
}

#[tokio::test]
async fn only_if_cached_finds_what_is_on_the_disk() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "content").await;
    let edge = edge.restarted(directory.path(), 1).await;
    let only = edge.ask_and_wait(Method::GET, "/", &[("cache-control", "only-if-cached")]).await.unwrap();
    assert_eq!(text(only).await.unwrap(), "content");
}

#[tokio::test]
async fn variants_are_chosen_among_on_the_disk() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    let varying: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "x")];
    for (value, content) in [("1", "one"), ("2", "two")] {
        let client = edge.get("/", &[("x", value)]);
        edge.exchange().await.respond_whole(200, varying, content);
        answer(client).await;
    }
    let mut edge = edge.restarted(directory.path(), 2).await;
    for (value, content) in [("1", "one"), ("2", "two"), ("1", "one"), ("2", "two")] {
        let response = edge.ask_and_wait(Method::GET, "/", &[("x", value)]).await.unwrap();
        assert_eq!(text(response).await.unwrap(), content);
    }
    let other = edge.get("/", &[("x", "3")]);
    edge.exchange().await.respond_whole(200, varying, "three");
    assert_eq!(text(answer(other).await).await.unwrap(), "three");
}

/// What is found on the disk while an invalidation waits for it is valid as of then.
#[tokio::test]
async fn what_was_read_while_an_invalidation_waited_is_not_found_in_memory() {
    let directory = TempDir::new().unwrap();
    let mut edge = Edge::over(directory.path());
    edge.store("/", FRESH, "old").await;
    let mut edge = edge.restarted(directory.path(), 1).await;
    edge.found("/").await;
    let hang = edge.cache.store.hang_disk().await.unwrap();
    let post = edge.clients.spawn(edge.ask(edge.request(Method::POST, "/", &[])));
    edge.exchange().await.respond_whole(204, &[], "");
    let gets = [edge.get("/", &[]), edge.get("/", &[])];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(hang);
    soon(post).await.unwrap().unwrap();
    edge.exchange().await.respond_whole(200, FRESH, "new");
    for get in gets {
        assert_eq!(text(answer(get).await).await.unwrap(), "new");
    }
    // What began before the invalidation was done is not kept.
    let last = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FRESH, "newer");
    assert_eq!(text(answer(last).await).await.unwrap(), "newer");
}
