//! Responses that are kept in slices.

use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::model::DiskConfig;
use crate::fields::range::{ByteRange, Resolved};
use crate::policy::SURROGATE_KEY;

/// Bytes of a slice in these tests.
const SLICE: usize = 64 << 10;
/// Bytes of a content: the last slice is shorter.
const LENGTH: usize = 5 * SLICE + 1000;
const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

/// Bytes of which no two places look alike.
fn content(seed: u64) -> Bytes {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..LENGTH.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(LENGTH).collect()
}

/// An edge over a disk with small slices.
fn over(path: &Path) -> Edge {
    let disk = Some(DiskConfig { path: path.to_owned(), size: 1 << 30 });
    let config =
        CacheConfig { memory: 64 << 20, max_object: 4 * SLICE as u64, disk, tags_field: SURROGATE_KEY };
    for _ in 0..1_000_000 {
        let edge = Edge::with_slices(&config, SLICE as u64);
        if edge.cache.usage().disk.is_some() {
            // Until then lookups wait for threads, and clients come in no order.
            while !edge.cache.store.is_disk_read() {
                std::thread::yield_now();
            }
            return edge;
        }
        std::thread::yield_now();
    }
    panic!("the directory is still in use");
}

async fn restarted(edge: Edge, path: &Path) -> Edge {
    edge.at_rest().await;
    let passed = edge.clock.wall();
    drop(edge);
    let next = over(path);
    next.clock.advance(passed.duration_since(next.clock.wall()).unwrap());
    next
}

async fn bytes(response: impl Into<Box<Response>>) -> Result<Bytes, BodyError> {
    Ok(soon(response.into().body.collect()).await?.to_bytes())
}

fn slice(number: usize) -> Range<usize> {
    number * SLICE..((number + 1) * SLICE).min(LENGTH)
}

impl Edge {
    /// Waits until every task has ended that the cache has begun.
    pub(super) async fn at_rest(&self) {
        soon(async {
            while self.cache.tasks.running() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Has all of `content` stored under `/`.
    async fn fill(&mut self, content: &Bytes) {
        let client = self.get("/", &[]);
        self.exchange().await.respond_bytes(200, FRESH, content.clone());
        assert!(bytes(answer(client).await).await.unwrap() == content);
        self.at_rest().await;
    }

    /// Deletes what the disk has of a slice.
    fn evict(&self, path: &Path, length: usize) -> usize {
        let mut evicted = 0;
        for leaf in std::fs::read_dir(path.join("records")).unwrap() {
            for file in std::fs::read_dir(leaf.unwrap().path()).unwrap() {
                let file = file.unwrap();
                let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
                if (length..length + 512).contains(&size) {
                    std::fs::remove_file(file.path()).unwrap();
                    evicted += 1;
                }
            }
        }
        evicted
    }
}

impl Exchange {
    fn respond_bytes(self, status: u16, fields: &[(&'static str, &str)], bytes: Bytes) {
        let length = bytes.len().to_string();
        let fields = [fields, &[("content-length", length.as_str())]].concat();
        let _ = self.answer.send(Ok(Self::response(status, &fields, Body::Full(bytes))));
    }

    /// The range it asks for.
    fn range(&self) -> Range<usize> {
        let asked = ByteRange::parse(self.req.fields["range"].as_bytes()).unwrap();
        let Resolved::Part { first, last } = asked.within(LENGTH as u64) else { panic!("outside") };
        usize::try_from(first).unwrap()..usize::try_from(last).unwrap() + 1
    }

    /// Answers with the range it asks for of the content with the tag "1".
    fn respond_part(self, content: &Bytes) {
        assert_eq!(self.req.fields["if-range"], "\"1\"");
        let part = self.range();
        let range = format!("bytes {}-{}/{LENGTH}", part.start, part.end - 1);
        let fields = [("etag", "\"1\""), ("content-range", range.as_str())];
        self.respond_bytes(206, &fields, content.slice(part));
    }
}

#[tokio::test]
async fn a_large_response_is_kept_in_slices_and_answers_ranges() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    assert_eq!(edge.cache.usage().disk.unwrap().objects, 7, "the head and six slices");
    assert_eq!(edge.cache.budget.taken(), 0);
    for restart in [false, true] {
        if restart {
            edge = restarted(edge, directory.path()).await;
        }
        let response = edge.ask_and_wait(Method::GET, "/", &[]).await.unwrap();
        assert!(status(&response).hit);
        assert_eq!(response.fields["content-length"], LENGTH.to_string());
        assert!(bytes(response).await.unwrap() == whole);
        for (asked, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=-1", LENGTH - 1..LENGTH),
            ("bytes=65535-65536", SLICE - 1..SLICE + 1),
            ("bytes=100000-300000", 100_000..300_001),
            ("bytes=327680-", 5 * SLICE..LENGTH),
        ] {
            let response = edge.ask_and_wait(Method::GET, "/", &[("range", asked)]).await.unwrap();
            assert_eq!(response.status, 206);
            let range = format!("bytes {}-{}/{LENGTH}", part.start, part.end - 1);
            assert_eq!(response.fields["content-range"], range);
            assert!(bytes(response).await.unwrap() == whole.slice(part), "{asked}");
        }
        let head = edge.ask_and_wait(Method::HEAD, "/", &[]).await.unwrap();
        assert_eq!(head.fields["content-length"], LENGTH.to_string());
        let same = edge.ask_and_wait(Method::GET, "/", &[("if-none-match", "\"1\"")]).await.unwrap();
        assert_eq!(same.status, 304);
        let outside = edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=999999-")]).await.unwrap();
        assert_eq!(outside.status, 416);
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_part_that_is_not_there_is_fetched_by_slices() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    // The client leaves after the first bytes, and so nothing more is fetched.
    let client = edge.get("/", &[]);
    let coming =
        edge.exchange().await.respond(200, &[FRESH, &[("content-length", &LENGTH.to_string())]].concat());
    coming.send(whole.slice(..100)).await;
    drop(answer(client).await);
    coming.send(whole.slice(100..SLICE + 100)).await;
    soon(coming.0.closed()).await;
    edge.at_rest().await;

    let range = edge.get("/", &[("range", "bytes=200000-200001")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.range(), slice(3));
    exchange.respond_part(&whole);
    let part = answer(range).await;
    assert_eq!(status(&part).fwd, Some(crate::fields::cache_status::ForwardReason::Partial));
    assert!(bytes(part).await.unwrap() == whole.slice(200_000..200_002));
    edge.at_rest().await;

    let all = edge.get("/", &[]);
    let all = edge.clients.spawn(async move { bytes(answer(all).await).await });
    for number in [1, 2, 4, 5] {
        let exchange = edge.exchange().await;
        assert_eq!(exchange.range(), slice(number));
        exchange.respond_part(&whole);
    }
    assert!(soon(all).await.unwrap().unwrap() == whole);
    edge.at_rest().await;
    assert!(bytes(edge.ask_and_wait(Method::GET, "/", &[]).await.unwrap()).await.unwrap() == whole);
    assert!(edge.is_idle());
}

/// What comes first is passed on as it is; from then on slices are fetched.
#[tokio::test]
async fn a_range_of_what_is_large_begins_its_slices() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    let client = edge.get("/", &[("range", "bytes=200000-200001")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.range(), 200_000..200_002);
    let range = format!("bytes 200000-200001/{LENGTH}");
    let fields = [FRESH, &[("content-range", range.as_str())]].concat();
    exchange.respond_bytes(206, &fields, whole.slice(200_000..200_002));
    let part = answer(client).await;
    assert!(status(&part).stored && bytes(part).await.unwrap() == whole.slice(200_000..200_002));
    edge.at_rest().await;

    let client = edge.get("/", &[("range", "bytes=200000-200009")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.range(), slice(3));
    exchange.respond_part(&whole);
    assert!(bytes(answer(client).await).await.unwrap() == whole.slice(200_000..200_010));
    edge.at_rest().await;
    let mut edge = restarted(edge, directory.path()).await;
    let again = edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=200005-200009")]).await.unwrap();
    assert!(status(&again).hit && bytes(again).await.unwrap() == whole.slice(200_005..200_010));
    assert!(edge.is_idle());
}

/// Its head is put anew on the disk, and still says where the content is.
#[tokio::test]
async fn a_soft_purge_keeps_the_slices() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    for softly in [true, true] {
        edge.cache.purge(crate::cache::Purge::everything().softly(softly)).await.unwrap();
        edge = restarted(edge, directory.path()).await;
        let client = edge.get("/", &[]);
        let validation = edge.exchange().await;
        assert_eq!(validation.req.fields["if-none-match"], "\"1\"");
        validation.respond_whole(304, FRESH, "");
        assert!(bytes(answer(client).await).await.unwrap() == whole);
        edge.at_rest().await;
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_fill_that_is_cut_is_completed_from_the_slice_on() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    let client = edge.get("/", &[]);
    let coming =
        edge.exchange().await.respond(200, &[FRESH, &[("content-length", &LENGTH.to_string())]].concat());
    let client = edge.clients.spawn(async move { bytes(answer(client).await).await });
    coming.send(whole.slice(..2 * SLICE + 5)).await;
    coming.cut().await;
    for number in 2..6 {
        let exchange = edge.exchange().await;
        assert_eq!(exchange.range(), slice(number));
        exchange.respond_part(&whole);
    }
    assert!(soon(client).await.unwrap().unwrap() == whole, "the client has not noticed");
    assert_eq!(edge.metrics.fills_failed.value(), 1);
}

#[tokio::test]
async fn what_has_changed_is_never_mixed() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let (whole, other) = (content(1), content(2));
    let client = edge.get("/", &[]);
    let coming =
        edge.exchange().await.respond(200, &[FRESH, &[("content-length", &LENGTH.to_string())]].concat());
    let client = edge.clients.spawn(async move { bytes(answer(client).await).await });
    coming.send(whole.slice(..2 * SLICE + 5)).await;
    coming.cut().await;
    // After its first byte the client can only be cut.
    let changed: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"2\"")];
    edge.exchange().await.respond_bytes(200, changed, other.clone());
    assert!(soon(client).await.unwrap().is_err());
    edge.at_rest().await;
    // What was kept is void.
    let client = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    exchange.respond_bytes(200, changed, other.clone());
    assert!(bytes(answer(client).await).await.unwrap() == other);
    edge.at_rest().await;

    // Before its first byte the client gets what there is now.
    assert!(edge.evict(directory.path(), LENGTH % SLICE) > 0);
    let edge = &mut restarted_without_waiting(edge, directory.path()).await;
    let client = edge.get("/", &[("range", "bytes=-10")]);
    edge.exchange().await.respond_bytes(200, FRESH, whole.clone());
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["range"], "bytes=-10", "nothing is stored any more");
    exchange.respond_whole(206, &[("content-range", "bytes 1-2/3")], "xy");
    assert_eq!(text(answer(client).await).await.unwrap(), "xy");
}

async fn restarted_without_waiting(edge: Edge, path: &Path) -> Edge {
    restarted(edge, path).await
}

#[tokio::test]
async fn a_crowd_on_one_slice_makes_one_request() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    assert_eq!(edge.evict(directory.path(), LENGTH % SLICE), 1);
    let mut edge = restarted(edge, directory.path()).await;
    let clients: Vec<_> = (0..100).map(|_| edge.get("/", &[("range", "bytes=-500")])).collect();
    let exchange = edge.exchange().await;
    edge.settle().await;
    assert_eq!(exchange.range(), slice(5));
    exchange.respond_part(&whole);
    for client in clients {
        assert!(bytes(answer(client).await).await.unwrap() == whole.slice(LENGTH - 500..));
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_slow_follower_reads_from_the_disk() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    let coming = exchange.respond(200, &[FRESH, &[("content-length", &LENGTH.to_string())]].concat());
    let [one, other] = clients;
    let (one, other) = (answer(one).await, answer(other).await);
    // Both had to ask the disk first, and either may have come back sooner.
    let (leader, mut slow) = if status(&one).collapsed { (other, one) } else { (one, other) };
    assert!(status(&slow).collapsed && !status(&leader).collapsed);
    coming.send(whole.slice(..10)).await;
    assert_eq!(chunk(&mut slow).await.unwrap().unwrap(), whole.slice(..10));
    coming.send(whole.slice(10..)).await;
    drop(coming);
    assert!(bytes(leader).await.unwrap() == whole);
    edge.at_rest().await;
    assert!(bytes(slow).await.unwrap() == whole.slice(10..));
    assert!(edge.is_idle());
    assert_eq!(edge.cache.budget.taken(), 0);
}

#[tokio::test]
async fn a_damaged_slice_is_fetched_again() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    let mut damaged = 0;
    for leaf in std::fs::read_dir(directory.path().join("records")).unwrap() {
        for file in std::fs::read_dir(leaf.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            if bytes.len() > SLICE {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 5);
    let client = edge.get("/", &[]);
    let client = edge.clients.spawn(async move { bytes(answer(client).await).await });
    for number in 0..5 {
        let exchange = edge.exchange().await;
        assert_eq!(exchange.range(), slice(number));
        exchange.respond_part(&whole);
    }
    assert!(soon(client).await.unwrap().unwrap() == whole);
    assert_eq!(edge.metrics.disk_damaged.value(), 5);
}

#[tokio::test]
async fn a_server_without_ranges_sends_the_whole_again() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    assert_eq!(edge.evict(directory.path(), LENGTH % SLICE), 1);
    let mut edge = restarted(edge, directory.path()).await;
    let client = edge.get("/", &[]);
    let client = edge.clients.spawn(async move { bytes(answer(client).await).await });
    edge.exchange().await.respond_bytes(200, FRESH, whole.clone());
    assert!(soon(client).await.unwrap().unwrap() == whole);
    edge.at_rest().await;
    assert!(edge.is_idle());
    assert_eq!(edge.cache.usage().disk.unwrap().objects, 7);
}

#[tokio::test]
async fn what_is_freshened_keeps_its_slices_and_what_is_changed_by_a_write_loses_them() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    edge.clock.advance(Duration::from_secs(100));
    let client = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["if-none-match"], "\"1\"");
    exchange.respond_whole(304, &[("cache-control", "max-age=1000"), ("etag", "\"1\"")], "");
    assert!(bytes(answer(client).await).await.unwrap() == whole);
    edge.clock.advance(Duration::from_secs(100));
    let mut edge = restarted(edge, directory.path()).await;
    assert!(bytes(edge.ask_and_wait(Method::GET, "/", &[]).await.unwrap()).await.unwrap() == whole);
    assert!(edge.is_idle());

    let write = edge.clients.spawn(edge.ask(edge.request(Method::PUT, "/", &[])));
    edge.exchange().await.respond_whole(204, &[], "");
    answer(write).await;
    // The same tag, but nothing that was kept is believed any more.
    let client = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    let other = content(2);
    exchange.respond_bytes(200, FRESH, other.clone());
    assert!(bytes(answer(client).await).await.unwrap() == other);
    edge.at_rest().await;
    assert!(bytes(edge.ask_and_wait(Method::GET, "/", &[]).await.unwrap()).await.unwrap() == other);
}

#[tokio::test]
async fn what_has_no_strong_validator_is_not_kept_in_slices() {
    for fields in [
        &[("cache-control", "max-age=60")][..],
        &[("cache-control", "max-age=60"), ("etag", "W/\"1\"")],
        &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("accept-ranges", "none")],
    ] {
        let directory = TempDir::new().unwrap();
        let mut edge = over(directory.path());
        let whole = content(1);
        let client = edge.get("/", &[]);
        edge.exchange().await.respond_bytes(200, fields, whole.clone());
        let response = answer(client).await;
        assert_eq!(status(&response).detail, Some("too-large"));
        assert!(bytes(response).await.unwrap() == whole);
        edge.at_rest().await;
        assert_eq!(edge.cache.usage().disk.unwrap().objects, 0);
    }
}

#[tokio::test]
async fn an_origin_server_that_fails_costs_no_stored_slice() {
    let directory = TempDir::new().unwrap();
    let mut edge = over(directory.path());
    let whole = content(1);
    edge.fill(&whole).await;
    assert_eq!(edge.evict(directory.path(), LENGTH % SLICE), 1);
    let mut edge = restarted(edge, directory.path()).await;
    let client = edge.get("/", &[("range", "bytes=-1")]);
    edge.exchange().await.fail();
    assert!(matches!(soon(client).await.unwrap(), Err(Failure::Fetch { .. })));
    let client = edge.get("/", &[("range", "bytes=-1")]);
    edge.exchange().await.respond_whole(503, &[], "");
    assert!(matches!(soon(client).await.unwrap(), Err(Failure::Fetch { .. })));
    let only =
        edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=-1"), ("cache-control", "only-if-cached")]);
    assert!(matches!(only.await, Err(Failure::OnlyIfCached)));
    let part = edge.ask_and_wait(Method::GET, "/", &[("range", "bytes=0-9")]).await.unwrap();
    assert!(bytes(part).await.unwrap() == whole.slice(..10));
    assert!(edge.is_idle());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ranges_of_slices_that_come_and_go_are_what_they_were(
        reads in prop::collection::vec((0..LENGTH, 0..2 * SLICE, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let mut edge = over(directory.path());
            let whole = content(3);
            edge.fill(&whole).await;
            for (first, length, evict) in reads {
                if evict {
                    edge.evict(directory.path(), SLICE);
                }
                let last = (first + length).min(LENGTH - 1);
                let range = format!("bytes={first}-{last}");
                let client = edge.get("/", &[("range", &range)]);
                let mut client = edge.clients.spawn(async move { bytes(answer(client).await).await });
                let read = loop {
                    tokio::select! {
                        read = &mut client => break read.unwrap().unwrap(),
                        exchange = edge.exchanges.recv() => exchange.unwrap().respond_part(&whole),
                    }
                };
                assert!(read == whole.slice(first..=last));
                edge.at_rest().await;
            }
        });
    }
}
