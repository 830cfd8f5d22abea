//! The disk tier on real files. What is written behind is waited for.

mod damage;
mod journal;
mod purge;
mod room;
mod start;
mod together;

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use super::name::{LEAVES, Leaf};
use super::{Disk, Found, Ground, Storing};
use crate::base::{Clock, ManualClock, Tasks};
use crate::cache::store::StoredBody;
use crate::cache::store::generations::Generations;
use crate::config::model::DiskConfig;
use crate::exchange::{Body, BodyError};
use crate::policy::{CacheKey, CacheRules, RequestHead, SURROGATE_KEY, StoredHead, Timing};
use crate::telemetry::Metrics;

/// A disk tier in a directory, and what it stands on.
struct Tier {
    disk: Arc<Disk>,
    generations: Arc<Generations>,
    metrics: Arc<Metrics>,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

impl Tier {
    fn open(path: &Path) -> Self {
        Self::sized(path, 1 << 30)
    }

    fn sized(path: &Path, size: u64) -> Self {
        // A thread of the one before may still be letting go of the directory.
        for _ in 0..10_000 {
            if let Some(tier) = Self::try_open(path, size) {
                return tier;
            }
            std::thread::yield_now();
        }
        panic!("the directory cannot be used");
    }

    fn try_open(path: &Path, size: u64) -> Option<Self> {
        Self::opened(path, size, Disk::open)
    }

    /// One that does not find out what is in the directory by itself.
    fn unread(path: &Path) -> Self {
        Self::opened(path, 1 << 30, |config, ground| Disk::take_over(config, ground).ok()).unwrap()
    }

    fn opened(
        path: &Path,
        size: u64,
        open: impl FnOnce(&DiskConfig, &Ground<'_>) -> Option<Arc<Disk>>,
    ) -> Option<Self> {
        let (generations, metrics) =
            (Arc::new(Generations::new(SURROGATE_KEY)), Arc::new(Metrics::default()));
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        let tasks = Tasks::new();
        let dyn_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let ground = Ground {
            generations: &generations,
            queue: 64 << 20,
            clock: &dyn_clock,
            tasks: &tasks,
            metrics: &metrics,
        };
        let config = DiskConfig { path: path.to_owned(), size };
        let disk = open(&config, &ground)?;
        Some(Self { disk, generations, metrics, clock, tasks })
    }

    /// Waits until the directory was read.
    fn read(&self) {
        until(|| self.disk.is_read());
    }

    /// Ends as a process does that is killed: nothing is written at the end.
    fn end(self) {
        let left = Arc::downgrade(&self.disk);
        drop(self);
        until(|| left.strong_count() == 0);
    }

    fn reopened(self, path: &Path) -> Self {
        self.end();
        Self::open(path)
    }

    fn head(&self, accept: &str, fields: &[(&'static str, &str)]) -> Arc<StoredHead> {
        let request = field_map(&[("accept", accept)]);
        let now = self.clock.wall();
        Arc::new(StoredHead::new(
            &RequestHead::new(&Method::GET, "/", &request),
            StatusCode::OK,
            field_map(fields),
            Timing { request: now, response: now },
            &CacheRules::default(),
        ))
    }

    /// Stores and waits until it is done.
    async fn store(&self, path: &str, content: &[u8]) {
        self.store_head(path, &self.head("", &[("cache-control", "max-age=60")]), content).await;
    }

    async fn store_head(&self, path: &str, head: &Arc<StoredHead>, content: &[u8]) {
        let key = key(path);
        let body = StoredBody::Memory(Bytes::copy_from_slice(content));
        self.begin(key, head, body);
        self.settle().await;
    }

    fn storing(&self, key: CacheKey, head: &Arc<StoredHead>, body: StoredBody) -> Storing {
        let since = self.generations.of(&key);
        let epoch = since.epoch();
        Storing { key, head: Arc::clone(head), body, since, epoch, instead: None }
    }

    /// Stores and does not wait.
    fn begin(&self, key: CacheKey, head: &Arc<StoredHead>, body: StoredBody) {
        self.disk.store(self.storing(key, head, body));
    }

    async fn settle(&self) {
        soon(async {
            while self.tasks.running() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn find(&self, path: &str) -> Vec<Found> {
        soon(self.disk.find(&key(path))).await
    }

    /// The content of what is stored, if it can be read.
    async fn content(&self, path: &str) -> Option<Result<Bytes, BodyError>> {
        let found = self.find(path).await;
        let (body, _) = self.disk.load(found.first()?).await?;
        Some(read(body).await)
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for leaf in fs::read_dir(path.join("records")).unwrap() {
            files.extend(fs::read_dir(leaf.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        files.sort();
        files
    }
}

async fn read(body: StoredBody) -> Result<Bytes, BodyError> {
    match body {
        StoredBody::Memory(bytes) => Ok(bytes),
        StoredBody::File(body) => Ok(Body::boxed(body.read()).collect().await?.to_bytes()),
        StoredBody::Sliced(sliced) => panic!("in slices: {sliced:?}"),
    }
}

fn key(path: &str) -> CacheKey {
    CacheKey::new(format!("https\0example.test\0{path}").as_bytes())
}

fn field_map(fields: &[(&'static str, &str)]) -> HeaderMap {
    let lines = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    lines.collect()
}

/// Bytes of which no two places look alike.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never came")
}

fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000_000 {
        if done() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it never came");
}

#[tokio::test]
async fn what_is_stored_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/cache");
    let tier = Tier::open(&path);
    let lengths = [0, 1, 1000, 60 << 10, 70 << 10, 256 << 10, 1 << 20, (1 << 20) + 1, 3_000_000];
    for (seed, length) in lengths.into_iter().enumerate() {
        tier.store(&format!("/{seed}"), &content(seed as u64, length)).await;
    }
    let head = tier.head("text/html", &[("vary", "accept"), ("etag", "\"1\"")]);
    tier.store_head("/varies", &head, b"html").await;
    assert!(tier.find("/none").await.is_empty());
    let usage = tier.disk.usage();
    assert_eq!(usage.objects, 10);
    let tier = tier.reopened(&path);
    for (seed, length) in lengths.into_iter().enumerate() {
        let found = tier.content(&format!("/{seed}")).await.unwrap().unwrap();
        assert!(found == content(seed as u64, length), "{length} bytes");
    }
    let found = tier.find("/varies").await;
    assert_eq!(found[0].head.to_parts(), head.to_parts());
    assert!(tier.find("/none").await.is_empty());
    until(|| tier.disk.usage() == usage);
    assert_eq!(tier.metrics.disk_damaged.value(), 0);
}

#[tokio::test]
async fn only_its_owner_may_look() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("cache");
    let tier = Tier::open(&path);
    tier.store("/", b"content").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let file = &tier.files(&path)[0];
    for private in [&path, &path.join("new"), &path.join("records"), file.parent().unwrap()] {
        assert_eq!(mode(private), 0o700, "{private:?}");
    }
    assert_eq!((mode(file), mode(&path.join("CACHEDIR.TAG"))), (0o600, 0o600));
    assert_eq!(fs::read_dir(path.join("new")).unwrap().count(), 0);
}

#[tokio::test]
async fn two_processes_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    assert!(Tier::try_open(directory.path(), 1 << 30).is_none());
    tier.reopened(directory.path()).end();
}

#[tokio::test]
async fn a_directory_of_others_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let precious = directory.path().join("new/precious");
    fs::create_dir(precious.parent().unwrap()).unwrap();
    fs::write(&precious, "x").unwrap();
    assert!(Tier::try_open(directory.path(), 1 << 30).is_none());
    fs::write(directory.path().join("CACHEDIR.TAG"), "Signature: of somebody else").unwrap();
    assert!(Tier::try_open(directory.path(), 1 << 30).is_none());
    assert!(precious.exists());
    assert!(Tier::try_open(&precious, 1 << 30).is_none(), "it is a file");
}

#[tokio::test]
async fn a_new_version_takes_the_place_of_the_old_one_and_readers_go_on() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let (old, new) = (content(1, 2 << 20), content(2, 3 << 20));
    tier.store("/", &old).await;
    let found = tier.find("/").await;
    let (body, _) = tier.disk.load(&found[0]).await.unwrap();
    tier.store("/", &new).await;
    assert!(read(body).await.unwrap() == old);
    assert!(tier.content("/").await.unwrap().unwrap() == new);
    assert_eq!((tier.disk.usage().objects, tier.files(directory.path()).len()), (1, 1));
}

#[tokio::test]
async fn variants_stand_beside_each_other_up_to_a_number() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    for variant in 0..40 {
        let head = tier.head(&format!("type/{variant}"), &[("vary", "accept")]);
        tier.store_head("/", &head, b"content").await;
    }
    assert_eq!(tier.find("/").await.len(), 32);
    assert_eq!(tier.files(directory.path()).len(), 32);
    let last = tier.head("type/39", &[("vary", "accept")]);
    tier.disk.forget(&key("/"), &last).await;
    assert_eq!(tier.find("/").await.len(), 31);
}

#[tokio::test]
async fn a_new_head_goes_over_the_same_content() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let long = content(1, 2 << 20);
    tier.store("/", &long).await;
    let found = tier.find("/").await;
    let (body, _) = tier.disk.load(&found[0]).await.unwrap();
    let fresh = tier.head("", &[("cache-control", "max-age=3600"), ("x", "new and longer")]);
    let storing = Storing { instead: Some(found[0].id()), ..tier.storing(key("/"), &fresh, body) };
    tier.disk.store(storing.clone());
    tier.settle().await;
    // What it was made of is gone now.
    assert!(!tier.disk.write(&storing, u64::MAX).unwrap());
    drop(storing);
    let tier = tier.reopened(directory.path());
    assert_eq!(tier.find("/").await[0].head.to_parts(), fresh.to_parts());
    assert!(tier.content("/").await.unwrap().unwrap() == long);
}

#[tokio::test]
async fn a_part_is_read_without_the_rest() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let long = content(1, 5 << 18);
    tier.store("/", &long).await;
    let found = tier.find("/").await;
    // What is not asked for may be damaged.
    let file = fs::OpenOptions::new().write(true).open(&tier.files(directory.path())[0]).unwrap();
    let length = file.metadata().unwrap().len();
    std::os::unix::fs::FileExt::write_at(&file, b"damage", length - 6).unwrap();
    let (StoredBody::File(body), _) = tier.disk.load(&found[0]).await.unwrap() else { panic!() };
    for (first, last) in [(0, 0), (5, 1 << 18), ((1 << 18) - 1, 1 << 18), (1 << 18, (1 << 20) - 1)] {
        let part = Body::boxed(body.clone().read_part(first, last)).collect().await.unwrap().to_bytes();
        let range = usize::try_from(first).unwrap()..=usize::try_from(last).unwrap();
        assert!(part == long[range], "{first}-{last}");
    }
}

#[tokio::test]
async fn the_second_use_is_told() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/", b"content").await;
    let found = tier.find("/").await;
    let mut used = Vec::new();
    for _ in 0..3 {
        used.push(tier.disk.load(&found[0]).await.unwrap().1);
    }
    assert_eq!(used, [false, true, true]);
}
