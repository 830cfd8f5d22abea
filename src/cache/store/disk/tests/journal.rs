//! Purges that are cut off: the next process knows of them, or keeps nothing.

use super::*;
use crate::cache::store::purges::{Order, Selector, Tier as Of};

fn order(what: Selector, stale_from: Option<SystemTime>) -> Order {
    Order { selectors: [what].into(), stale_from }
}

fn prefix(path: &str) -> Selector {
    Selector::Prefix(key(path).as_bytes().into())
}

impl Tier {
    /// Purges, and is killed before any record was gone through.
    async fn cut_off(self, orders: &[Order], path: &Path) -> Self {
        self.disk.sweeps.store(true, std::sync::atomic::Ordering::SeqCst);
        for order in orders {
            let entered = self.generations.purges.enter(order.clone(), &[Of::Memory]).unwrap();
            self.disk.purge(entered.epoch, order.clone()).await.unwrap();
        }
        let files = self.files(path);
        self.end();
        assert!(!files.is_empty() && files.iter().all(|file| file.exists()));
        Self::open(path)
    }

    /// Has everything fail that is noted from now on.
    fn take_journal_away(&self, path: &Path) {
        fs::remove_file(path.join("purges")).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.join("purges")).unwrap();
    }

    /// The head that counts for what is found.
    async fn counts(&self, path: &str) -> Option<Arc<StoredHead>> {
        let found = self.find(path).await.pop()?;
        self.generations.purges.head(key(path).as_bytes(), &found.head, found.epoch)
    }

    fn swept(&self) {
        until(|| self.generations.purges.unswept(Of::Disk).is_empty());
    }
}

#[tokio::test]
async fn a_purge_goes_on_after_a_crash() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    let tagged = tier.head("", &[("cache-control", "max-age=60"), ("surrogate-key", "a b")]);
    for (name, head) in [("/gone/1", None), ("/gone/2", None), ("/tagged", Some(&tagged)), ("/kept", None)] {
        let plain = tier.head("", &[("cache-control", "max-age=60")]);
        tier.store_head(name, head.unwrap_or(&plain), b"content").await;
    }
    let now = tier.clock.wall();
    let orders = [order(prefix("/gone/"), None), order(Selector::Tag((*b"b").into()), Some(now))];
    let tier = tier.cut_off(&orders, path).await;
    // At once, whether a record was gone through by now or not.
    assert!(tier.counts("/gone/1").await.is_none());
    assert!(!tier.counts("/tagged").await.unwrap().is_fresh(now));
    assert!(tier.counts("/kept").await.unwrap().is_fresh(now));
    tier.swept();
    assert_eq!(tier.files(path).len(), 2);
    assert_eq!(tier.metrics.purged.value(), 3);
    let tier = tier.reopened(path);
    assert_eq!(tier.generations.purges.len(), 0, "it was left out of the journal");
    assert!(!tier.find("/tagged").await[0].head.is_fresh(now));
    assert!(tier.content("/tagged").await.unwrap().unwrap() == b"content"[..]);
}

/// A record that was asked for before a purge and is published after the tier was gone
/// through for it is deleted then, unless the process is killed in between.
#[tokio::test]
async fn a_purge_is_noted_as_long_as_what_it_covers_may_be_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    tier.store("/", b"content").await;
    let file = tier.files(path).pop().unwrap();
    let record = fs::read(&file).unwrap();
    let (order, asked) = (order(prefix("/"), None), tier.generations.of(&key("/other")));
    let entered = tier.generations.purges.enter(order.clone(), &[Of::Memory]).unwrap();
    tier.disk.purge(entered.epoch, order).await.unwrap();
    // To its end, after which the journal was written anew.
    until(|| !tier.disk.sweeps.load(std::sync::atomic::Ordering::SeqCst));
    assert!(!file.exists());
    fs::write(&file, &record).unwrap();
    drop(asked);
    let tier = tier.reopened(path);
    assert!(tier.counts("/").await.is_none());
    tier.swept();
    until(|| !file.exists());
    // Nothing is under way any more, and the next that is written sees it.
    tier.store("/", b"new").await;
    let tier = tier.reopened(path);
    assert_eq!(tier.generations.purges.len(), 0);
    assert_eq!(tier.find("/").await.len(), 1);
}

#[tokio::test]
async fn epochs_are_not_begun_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut tier = Tier::open(path);
    for round in 0..5 {
        tier.store("/", b"content").await;
        let epoch = tier.find("/").await[0].epoch;
        let order = order(prefix("/"), None);
        let entered = tier.generations.purges.enter(order.clone(), &[Of::Memory]).unwrap();
        assert!(entered.epoch > epoch, "{round}");
        // It is carried out and leaves nothing, or is cut off.
        if round % 2 == 0 {
            tier.disk.purge(entered.epoch, order).await.unwrap();
            tier.swept();
            assert!(tier.find("/").await.is_empty());
            tier.store("/", b"content").await;
        }
        tier = tier.reopened(path);
    }
}

#[tokio::test]
async fn a_purge_that_was_not_noted_to_its_end_was_never_answered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    tier.store("/a", b"content").await;
    let whole = fs::read(path.join("purges")).unwrap();
    let tier = tier.cut_off(&[order(prefix("/"), None)], path).await;
    tier.end();
    let noted = fs::read(path.join("purges")).unwrap();
    // Or it was carried out by now, and only its epoch is left.
    assert!(noted.len() >= whole.len());
    for end in [&b"\x20\0\0\0\xdf\xff\xff\xff12345678torn"[..], b"\x20\0", &[0; 100]] {
        fs::write(path.join("purges"), [&whole[..], end].concat()).unwrap();
        let tier = Tier::open(path);
        assert_eq!(tier.generations.purges.len(), 0);
        tier.store("/b", b"content").await;
        let tier = tier.cut_off(&[order(prefix("/none"), None)], path).await;
        tier.swept();
        assert_eq!(tier.find("/b").await.len(), 1);
        tier.end();
    }
}

#[tokio::test]
async fn without_knowing_the_purges_nothing_is_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let journal = path.join("purges");
    let damages: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&journal).unwrap(),
        &|| fs::write(&journal, "").unwrap(),
        &|| {
            let mut bytes = fs::read(&journal).unwrap();
            bytes[12] ^= 1;
            fs::write(&journal, bytes).unwrap();
        },
        &|| {
            fs::remove_file(&journal).unwrap();
            fs::create_dir(&journal).unwrap();
            fs::remove_dir(&journal).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", &journal).unwrap();
        },
    ];
    for (at, damage) in damages.into_iter().enumerate() {
        let tier = Tier::open(path);
        tier.store("/", b"content").await;
        tier.end();
        damage();
        let tier = Tier::open(path);
        assert!(tier.find("/").await.is_empty(), "{at}");
        assert!(tier.files(path).is_empty(), "{at}");
        tier.store("/", b"content").await;
        let tier = tier.reopened(path);
        assert_eq!(tier.find("/").await.len(), 1, "{at}");
        tier.end();
    }
}

#[tokio::test]
async fn a_purge_that_cannot_be_noted_says_so_and_is_carried_out() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    tier.store("/", b"content").await;
    tier.take_journal_away(path);
    let order = order(prefix("/"), None);
    let entered = tier.generations.purges.enter(order.clone(), &[Of::Memory]).unwrap();
    assert!(tier.disk.purge(entered.epoch, order).await.is_err());
    tier.swept();
    assert!(tier.files(path).is_empty());
}

#[tokio::test]
async fn no_record_is_written_in_an_epoch_that_may_be_begun_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    tier.store("/", b"content").await;
    assert_eq!(tier.files(path).len(), 1);
    // More purges than were set apart, none of which could be noted.
    for _ in 0..2000 {
        let entered =
            tier.generations.purges.enter(order(prefix("/x"), None), &[Of::Memory, Of::Disk]).unwrap();
        tier.generations.purges.swept(entered.epoch, Of::Disk);
    }
    tier.take_journal_away(path);
    tier.store("/later", b"content").await;
    assert_eq!(tier.files(path).len(), 1);
}
