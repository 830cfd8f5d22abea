//! What is known at the start: what a stop wrote down, else nothing; and
//! requests wait for neither.

use super::super::name::{KeyId, Name};
use super::*;
use crate::cache::store::purges::{Order, Selector, Tier as Of};

const INDEX: &str = "index";

impl Tier {
    /// Ends as a process does that is stopped.
    async fn stop(self) {
        self.read();
        self.disk.close().await;
        self.end();
    }

    fn is_read(&self, path: &str) -> bool {
        self.disk.index.is_read(KeyId::of(&key(path)).leaf())
    }

    async fn invalidate(&self, path: &str) -> u64 {
        self.generations.advance(&key(path));
        self.disk.remove(&key(path)).await.unwrap()
    }
}

/// A directory with records under these paths, left by a stop.
async fn stopped(path: &Path, paths: &[&str]) {
    let tier = Tier::open(path);
    for name in paths {
        tier.store(name, name.as_bytes()).await;
    }
    tier.stop().await;
}

#[tokio::test]
async fn after_a_stop_everything_is_known_at_once() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    for seed in 0..50 {
        tier.store(&format!("/{seed}"), &content(seed, 10_000)).await;
    }
    for _ in 0..2 {
        tier.content("/7").await.unwrap().unwrap();
    }
    let usage = tier.disk.usage();
    tier.stop().await;
    let tier = Tier::unread(path);
    assert_eq!(tier.disk.usage(), usage);
    assert!(!path.join(INDEX).exists(), "it is of one moment");
    for seed in 0..50 {
        assert!(tier.content(&format!("/{seed}")).await.unwrap().unwrap() == content(seed, 10_000));
    }
    assert!(tier.find("/none").await.is_empty());
    assert!(!tier.is_read("/7") && !tier.is_read("/none"), "nobody asked the directory");
    let found = tier.find("/7").await;
    assert!(tier.disk.load(&found[0]).await.unwrap().1, "how often it was used is known, too");
    let tier = tier.reopened(path);
    tier.read();
    assert_eq!(tier.disk.usage(), usage, "after a crash the directory says it");
}

#[tokio::test]
async fn a_start_does_not_wait_for_what_there_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    let (head, since) = (tier.head("", &[("cache-control", "max-age=60")]), "content");
    for number in 0..20_000 {
        let storing = tier.storing(key(&format!("/{number}")), &head, StoredBody::Memory(since.into()));
        assert!(tier.disk.write(&storing, number + 1).unwrap());
    }
    tier.end();
    // Killed: a lookup reads the one leaf that it needs.
    let tier = Tier::unread(path);
    assert_eq!(tier.content("/12345").await.unwrap().unwrap(), "content");
    let read = (0..LEAVES).filter(|leaf| tier.disk.index.is_read(Leaf(*leaf))).count();
    assert_eq!(read, 1);
    assert!(tier.disk.usage().objects < 40);
    let tier = tier.reopened(path);
    tier.read();
    assert_eq!(tier.disk.usage().objects, 20_000);
    tier.stop().await;
    // Stopped: it needs none.
    let tier = Tier::unread(path);
    assert_eq!(tier.disk.usage().objects, 20_000);
    assert_eq!(tier.content("/12345").await.unwrap().unwrap(), "content");
    assert!((0..LEAVES).all(|leaf| !tier.disk.index.is_read(Leaf(leaf))));
}

#[tokio::test]
async fn what_is_gone_is_a_miss_and_counts_no_more() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    stopped(path, &["/kept", "/gone", "/gone-too"]).await;
    let index = fs::read(path.join(INDEX)).unwrap();
    let tier = Tier::open(path);
    for gone in ["/gone", "/gone-too"] {
        assert_eq!(tier.invalidate(gone).await, 1);
    }
    tier.end();
    // One that was written before: as if the start had not taken it away.
    fs::write(path.join(INDEX), &index).unwrap();
    let tier = Tier::unread(path);
    assert_eq!(tier.disk.usage().objects, 3);
    assert!(tier.content("/gone").await.is_none());
    assert_eq!(tier.disk.usage().objects, 2);
    assert_eq!(tier.content("/kept").await.unwrap().unwrap(), "/kept");
    tier.end();
    fs::write(path.join(INDEX), &index).unwrap();
    let tier = Tier::open(path);
    tier.read();
    assert_eq!(tier.disk.usage().objects, 1);
    assert_eq!(tier.metrics.disk_errors.value() + tier.metrics.disk_damaged.value(), 0);
}

#[tokio::test]
async fn what_the_file_does_not_have_is_found_by_those_who_must_not_miss_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    stopped(path, &[]).await;
    let empty = fs::read(path.join(INDEX)).unwrap();
    let tier = Tier::open(path);
    let tagged = tier.head("", &[("cache-control", "max-age=60"), ("surrogate-key", "a")]);
    tier.store_head("/tagged", &tagged, b"content").await;
    for name in ["/found", "/invalidated"] {
        tier.store(name, b"content").await;
    }
    tier.end();
    fs::write(path.join(INDEX), &empty).unwrap();
    let tier = Tier::unread(path);
    assert!(tier.content("/found").await.is_none());
    assert_eq!(tier.invalidate("/invalidated").await, 1, "it does not come back later");
    let order = Order { selectors: [Selector::Tag((*b"a").into())].into(), stale_from: None };
    let entered = tier.generations.purges.enter(order.clone(), &[Of::Memory]).unwrap();
    tier.disk.purge(entered.epoch, order).await.unwrap();
    until(|| tier.generations.purges.unswept(Of::Disk).is_empty());
    assert_eq!((tier.disk.usage().objects, tier.files(path).len()), (1, 1));
    assert_eq!(tier.content("/found").await.unwrap().unwrap(), "content");
}

#[tokio::test]
async fn a_file_that_is_not_what_was_written_is_not_believed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    stopped(path, &["/1", "/2"]).await;
    let index = path.join(INDEX);
    let whole = fs::read(&index).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    damages.push([&whole[..], b"x"].concat());
    damages.push(vec![0; whole.len()]);
    for damage in damages {
        fs::write(&index, damage).unwrap();
        let tier = Tier::unread(path);
        assert_eq!(tier.disk.usage().objects, 0);
        assert_eq!(tier.content("/1").await.unwrap().unwrap(), "/1");
        assert!(!index.exists());
        tier.end();
    }
    for foreign in [&|| std::os::unix::fs::symlink("/etc/passwd", &index).unwrap(), &|| {
        fs::remove_file(&index).unwrap();
        fs::create_dir(&index).unwrap();
    }] as [&dyn Fn(); 2]
    {
        foreign();
        let tier = Tier::open(path);
        tier.read();
        assert_eq!(tier.disk.usage().objects, 2);
        tier.stop().await;
    }
}

/// What the purges were is not known: then no record is trusted, whatever the
/// index says.
#[tokio::test]
async fn it_does_not_bring_back_what_is_not_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    stopped(path, &["/"]).await;
    fs::remove_file(path.join("purges")).unwrap();
    let tier = Tier::unread(path);
    assert_eq!(tier.disk.usage().objects, 0);
    assert!(tier.content("/").await.is_none());
}

/// The directory is read while records come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_changes_while_the_directory_is_read_is_not_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let paths: Vec<String> = (0..200).map(|number| format!("/{number}")).collect();
    stopped(path, &paths.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for round in 0..5 {
        let tier = Tier::open(path);
        let of =
            |which: usize| paths.iter().enumerate().filter(move |(number, _)| (number + round) % 3 == which);
        // First all of these: keys may share a counter of invalidations.
        for (_, name) in of(0) {
            tier.invalidate(name).await;
        }
        for (_, name) in of(1) {
            let body = StoredBody::Memory(content(1, 100 * (round + 1)).into());
            tier.begin(key(name), &tier.head("", &[]), body);
        }
        tier.settle().await;
        tier.read();
        for which in 0..2 {
            for (_, name) in of(which) {
                assert_eq!(tier.find(name).await.len(), which, "{name} in round {round}");
            }
        }
        let there: Vec<Name> = tier.disk.index.listed().unwrap().iter().map(|listed| listed.name).collect();
        assert_eq!(there.len(), tier.files(path).len());
        tier.stop().await;
    }
}
