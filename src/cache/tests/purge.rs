//! Purges: every kind, hard and soft, in both tiers, against a fill that runs,
//! and after a restart.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::cache::{Purge, Purged, PurgedCounts};
use crate::policy::CacheKey;

const TAGGED: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("etag", "\"1\""),
    ("surrogate-key", "red blue"),
    ("cache-tag", "a b, c"),
];
const PLAIN: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

impl Edge {
    async fn purge(&self, purge: Purge) -> Purged {
        soon(self.cache.purge(purge)).await.unwrap()
    }

    pub(super) fn url(&self, path: &str) -> Purge {
        Purge::keys(vec![self.key(path)]).unwrap()
    }

    fn key(&self, path: &str) -> CacheKey {
        Cache::key(&self.request(Method::GET, path, &[]).target)
    }

    /// What a client gets that wants no origin server to be asked.
    async fn only_if_cached(&self, path: &str) -> Option<String> {
        let req = self.request(Method::GET, path, &[("cache-control", "only-if-cached")]);
        match soon(self.ask(req)).await {
            Ok(response) => Some(text(response).await.unwrap()),
            Err(Failure::OnlyIfCached) => None,
            Err(other) => panic!("{other}"),
        }
    }
}

fn prefix(url: &str) -> Purge {
    Purge::prefixes(&[url.to_owned()]).unwrap()
}

fn host(name: &str) -> Purge {
    Purge::hosts(&[name.to_owned()]).unwrap()
}

fn tag(tag: &str) -> Purge {
    Purge::tags([tag]).unwrap()
}

fn counted(purged: &Purged) -> (u64, u64) {
    assert!(purged.complete && purged.durable, "{purged:?}");
    let PurgedCounts { memory, disk } = purged.purged;
    (memory, disk)
}

/// Purges, and which of `/a`, `/b` and `/c` are purged by it. The first two are
/// tagged.
fn kinds(edge: &Edge) -> Vec<(Purge, [bool; 3])> {
    vec![
        (edge.url("/a"), [true, false, false]),
        (edge.url("/none"), [false; 3]),
        (prefix("https://example.test/a"), [true, false, false]),
        (prefix("http://example.test/a"), [false; 3]),
        (prefix("EXAMPLE.test/"), [true; 3]),
        (host("Example.test."), [true; 3]),
        (host("other.test"), [false; 3]),
        (tag("red"), [true, true, false]),
        (tag("a b"), [true, true, false]),
        (tag("Red"), [false; 3]),
        (Purge::tags(["none", "c"]).unwrap(), [true, true, false]),
        (Purge::everything(), [true; 3]),
    ]
}

async fn stored(edge: &mut Edge) {
    for (path, fields) in [("/a", TAGGED), ("/b", TAGGED), ("/c", PLAIN)] {
        edge.store(path, fields, "content").await;
    }
    edge.settle().await;
}

#[tokio::test]
async fn every_kind_removes_what_it_names() {
    let number = kinds(&Edge::new()).len();
    for at in 0..number {
        let mut edge = Edge::new();
        stored(&mut edge).await;
        let (purge, expected) = kinds(&edge).remove(at);
        let named = purge.to_string();
        let gone = expected.iter().filter(|gone| **gone).count() as u64;
        assert_eq!(counted(&edge.purge(purge.clone()).await), (gone, 0), "{named}");
        for (path, gone) in ["/a", "/b", "/c"].into_iter().zip(expected) {
            assert_eq!(edge.only_if_cached(path).await.is_none(), gone, "{named} {path}");
        }
        assert_eq!(counted(&edge.purge(purge).await), (0, 0), "{named}: once more");
        assert_eq!(edge.cache.usage().objects, 3 - gone);
        assert_eq!(edge.cache.store.purges().len(), 0, "{named}");
        assert_eq!(edge.metrics.purged.value(), gone);
    }
}

#[tokio::test]
async fn every_kind_makes_stale_what_it_names() {
    let number = kinds(&Edge::new()).len();
    for at in 0..number {
        let mut edge = Edge::new();
        stored(&mut edge).await;
        let (purge, expected) = kinds(&edge).remove(at);
        let (purge, named) = (purge.clone().softly(true), purge.to_string());
        let stale = expected.iter().filter(|stale| **stale).count() as u64;
        assert_eq!(counted(&edge.purge(purge.clone()).await), (stale, 0), "{named}");
        for (path, stale) in ["/a", "/b", "/c"].into_iter().zip(expected) {
            if !stale {
                assert!(status(&edge.hit(path, &[])).hit);
                continue;
            }
            // It is validated, and stands in for an origin server that fails.
            let client = edge.get(path, &[]);
            let validation = edge.exchange().await;
            assert_eq!(validation.req.fields["if-none-match"], "\"1\"", "{named} {path}");
            validation.fail();
            let response = answer(client).await;
            assert_eq!(status(&response).detail, Some("stale-if-error"));
            let client = edge.get(path, &[]);
            edge.exchange().await.respond_whole(304, PLAIN, "");
            assert_eq!(text(answer(client).await).await.unwrap(), "content");
            assert!(status(&edge.hit(path, &[])).hit, "{named} {path}");
        }
        assert_eq!(edge.cache.usage().objects, 3);
        assert_eq!(edge.cache.store.purges().len(), 0, "{named}");
    }
}

#[tokio::test]
async fn a_soft_purge_counts_once() {
    let mut edge = Edge::new();
    stored(&mut edge).await;
    assert_eq!(counted(&edge.purge(tag("red").softly(true)).await), (2, 0));
    edge.clock.advance(Duration::from_secs(5));
    assert_eq!(counted(&edge.purge(tag("red").softly(true)).await), (0, 0));
    assert_eq!(counted(&edge.purge(tag("red")).await), (2, 0));
}

#[tokio::test]
async fn a_soft_purge_is_served_while_it_is_validated() {
    let mut edge = Edge::new();
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=30"), ("surrogate-key", "red")];
    edge.store("/", fields, "old").await;
    edge.clock.advance(Duration::from_secs(10));
    edge.purge(tag("red").softly(true)).await;
    edge.clock.advance(Duration::from_secs(3));
    let response = edge.hit("/", &[]);
    assert_eq!((status(&response).ttl, &response.fields["age"]), (Some(-3), &HeaderValue::from_static("13")));
    assert_eq!(text(response).await.unwrap(), "old");
    edge.exchange().await.respond_whole(200, fields, "new");
    edge.settle().await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "new");
}

#[tokio::test]
async fn a_purge_beats_a_fill_whose_head_is_still_to_come() {
    for at in 0..kinds(&Edge::new()).len() {
        for soft in [false, true] {
            let mut edge = Edge::new();
            let (purge, expected) = kinds(&edge).remove(at);
            let named = format!("{purge} {soft}");
            let first = edge.get("/a", &[]);
            let old = edge.exchange().await;
            edge.purge(purge.softly(soft)).await;
            old.respond_whole(200, TAGGED, "old");
            assert_eq!(text(answer(first).await).await.unwrap(), "old");
            edge.settle().await;
            if !expected[0] {
                assert_eq!(text(edge.hit("/a", &[])).await.unwrap(), "old", "{named}");
                continue;
            }
            let next = edge.get("/a", &[]);
            edge.exchange().await.respond_whole(200, TAGGED, "new");
            assert_eq!(text(answer(next).await).await.unwrap(), "new", "{named}");
            assert_eq!(text(edge.hit("/a", &[])).await.unwrap(), "new", "{named}");
            assert_eq!(edge.cache.store.purges().len(), 0, "{named}");
        }
    }
}

#[tokio::test]
async fn a_purge_beats_a_fill_whose_content_is_still_to_come() {
    for at in 0..kinds(&Edge::new()).len() {
        let mut edge = Edge::new();
        let (purge, expected) = kinds(&edge).remove(at);
        let named = purge.to_string();
        let first = edge.get("/a", &[]);
        let content = edge.exchange().await.respond(200, TAGGED);
        content.send("ol").await;
        let first = answer(first).await;
        edge.purge(purge).await;
        let joins = edge.get("/a", &[]);
        edge.settle().await;
        assert_eq!(edge.metrics.fills.value(), if expected[0] { 2 } else { 1 }, "{named}");
        if expected[0] {
            edge.exchange().await.respond_whole(200, TAGGED, "new");
        }
        content.send("d").await;
        drop(content);
        assert_eq!(text(first).await.unwrap(), "old", "who asked before has what he asked for");
        assert_eq!(text(answer(joins).await).await.unwrap(), if expected[0] { "new" } else { "old" });
        edge.settle().await;
        assert_eq!(
            text(edge.hit("/a", &[])).await.unwrap(),
            if expected[0] { "new" } else { "old" },
            "{named}"
        );
    }
}

/// Of a request that waits for a head nobody knows the tags.
#[tokio::test]
async fn who_waits_for_a_purged_fill_asks_anew() {
    let mut edge = Edge::new();
    let first = edge.get("/a", &[]);
    let old = edge.exchange().await;
    let waits = edge.get("/a", &[]);
    edge.settle().await;
    edge.purge(tag("red")).await;
    let comes = edge.get("/a", &[]);
    edge.settle().await;
    old.respond_whole(200, TAGGED, "old");
    assert_eq!(text(answer(first).await).await.unwrap(), "old");
    edge.exchange().await.respond_whole(200, TAGGED, "new");
    for client in [waits, comes] {
        assert_eq!(text(answer(client).await).await.unwrap(), "new");
    }
    assert_eq!(edge.metrics.fills.value(), 2);
}

#[tokio::test]
async fn a_purged_response_does_not_come_back_by_a_304() {
    let mut edge = Edge::new();
    edge.store("/", TAGGED, "old").await;
    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[]);
    let validation = edge.exchange().await;
    edge.purge(tag("blue")).await;
    validation.respond_whole(304, TAGGED, "");
    answer(client).await;
    assert_eq!(edge.cache.usage().objects, 0);
    // Nor does it stand in for an error.
    edge.store("/", TAGGED, "old").await;
    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[]);
    let validation = edge.exchange().await;
    edge.purge(tag("blue")).await;
    validation.fail();
    assert!(soon(client).await.unwrap().is_err());
}

/// Half of what is stored is purged by each of many purges at once, while
/// everything is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_purges_at_once_count_everything_once() {
    let mut edge = Edge::new();
    for at in 0..300 {
        edge.store(&format!("/{at}"), if at % 2 == 0 { TAGGED } else { PLAIN }, "content").await;
    }
    let purges: Vec<_> = (0..20)
        .map(|at| {
            let purge = if at % 2 == 0 { tag("red") } else { Purge::tags(["c"]).unwrap() };
            let cache = Arc::clone(&edge.cache);
            edge.clients.spawn(async move { cache.purge(purge).await.unwrap() })
        })
        .collect();
    let mut gone = 0;
    for purge in purges {
        gone += counted(&soon(purge).await.unwrap()).0;
        for at in (0..300).step_by(2) {
            assert_eq!(edge.only_if_cached(&format!("/{at}")).await, None);
        }
    }
    assert_eq!(gone, 150);
    assert_eq!(edge.cache.usage().objects, 150);
}

async fn two_tiers(path: &Path) -> Edge {
    let mut edge = Edge::over(path);
    stored(&mut edge).await;
    edge.written(3).await;
    edge
}

#[tokio::test]
async fn every_kind_is_for_the_disk_too() {
    let number = kinds(&Edge::new()).len();
    for at in 0..number {
        let directory = TempDir::new().unwrap();
        let edge = two_tiers(directory.path()).await;
        let (purge, expected) = kinds(&edge).remove(at);
        let named = purge.to_string();
        let gone = expected.iter().filter(|gone| **gone).count() as u64;
        assert_eq!(counted(&edge.purge(purge.clone()).await), (gone, gone), "{named}");
        assert_eq!(edge.cache.usage().disk.unwrap().objects, 3 - gone);
        assert_eq!(counted(&edge.purge(purge).await), (0, 0));
        let edge = edge.restarted(directory.path(), 3).await;
        for (path, gone) in ["/a", "/b", "/c"].into_iter().zip(expected) {
            assert_eq!(edge.only_if_cached(path).await.is_none(), gone, "{named} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_stale_on_the_disk_is_validated() {
    let number = kinds(&Edge::new()).len();
    for at in 0..number {
        let directory = TempDir::new().unwrap();
        let edge = two_tiers(directory.path()).await;
        let (purge, expected) = kinds(&edge).remove(at);
        let (purge, named) = (purge.clone().softly(true), purge.to_string());
        let stale = expected.iter().filter(|stale| **stale).count() as u64;
        assert_eq!(counted(&edge.purge(purge.clone()).await), (stale, stale), "{named}");
        assert_eq!(counted(&edge.purge(purge).await), (0, 0));
        assert_eq!(edge.cache.usage().disk.unwrap().objects, 3);
        let mut edge = edge.restarted(directory.path(), 3).await;
        for (path, stale) in ["/a", "/b", "/c"].into_iter().zip(expected) {
            if !stale {
                assert!(status(&edge.found(path).await).hit, "{named} {path}");
                continue;
            }
            let client = edge.get(path, &[]);
            let validation = edge.exchange().await;
            assert_eq!(validation.req.fields["if-none-match"], "\"1\"", "{named} {path}");
            validation.respond_whole(304, PLAIN, "");
            assert_eq!(text(answer(client).await).await.unwrap(), "content");
        }
    }
}

#[tokio::test]
async fn a_purge_of_everything_is_not_refused_for_others() {
    let mut edge = Edge::new();
    // A fill that has begun before keeps purges under way.
    let client = edge.get("/slow", &[]);
    let content = edge.exchange().await.respond(200, &[("cache-control", "max-age=60")]);
    let response = answer(client).await;
    let mut batch = 0;
    let refused = loop {
        let tags: Vec<_> = (0..200).map(|at| format!("{batch}-{at}")).collect();
        match edge.cache.purge(Purge::tags(&tags).unwrap()).await {
            Ok(_) => batch += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, crate::cache::PurgeError::TooMany) && batch > 1, "{refused:?}");
    for purge in [Purge::everything(), Purge::everything().softly(true)] {
        edge.cache.purge(purge).await.unwrap();
    }
    drop((content, response));
}
