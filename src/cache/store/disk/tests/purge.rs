//! What is removed does not come back: not from the queue, not from the disk.

use super::*;

#[tokio::test]
async fn a_removed_key_is_gone_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/gone", b"content").await;
    tier.store("/kept", b"content").await;
    let tier = tier.reopened(directory.path());
    // Before the directory was read, perhaps.
    tier.generations.advance(&key("/gone"));
    assert_eq!(tier.disk.remove(&key("/gone")).await.unwrap(), 1);
    assert_eq!(tier.disk.remove(&key("/gone")).await.unwrap(), 0);
    assert!(tier.find("/gone").await.is_empty());
    let tier = tier.reopened(directory.path());
    assert!(tier.find("/gone").await.is_empty());
    assert_eq!(tier.find("/kept").await.len(), 1);
}

#[tokio::test]
async fn a_purge_of_everything_is_for_good() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    for round in 0..3 {
        tier.store("/", b"content").await;
        tier.store("/long", &content(round, 2 << 20)).await;
        let found = tier.find("/long").await;
        let (reading, _) = tier.disk.load(&found[0]).await.unwrap();
        tier.generations.advance_all();
        assert_eq!(tier.disk.clear().unwrap(), 2);
        assert_eq!((tier.disk.usage().objects, tier.disk.usage().bytes), (0, 0));
        assert!(tier.find("/").await.is_empty());
        assert!(read(reading).await.unwrap() == content(round, 2 << 20), "who reads it goes on");
    }
    tier.store("/new", b"content").await;
    let tier = tier.reopened(directory.path());
    assert!(tier.find("/").await.is_empty());
    assert_eq!(tier.find("/new").await.len(), 1);
    let purged = || {
        fs::read_dir(directory.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("purged-"))
    };
    until(|| purged().count() == 0);
}

#[tokio::test]
async fn an_invalidation_beats_a_write_that_waits() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let head = tier.head("", &[]);
    for all in [false, true] {
        let key = key("/");
        // No writer has its turn until the key is invalidated.
        let turns = tier.disk.writers.clone().acquire_many_owned(2).await.unwrap();
        tier.begin(key.clone(), &head, StoredBody::Memory("old".into()));
        if all {
            tier.generations.advance_all();
            tier.disk.clear().unwrap();
        } else {
            tier.generations.advance(&key);
            tier.disk.remove(&key).await.unwrap();
        }
        drop(turns);
        tier.settle().await;
        assert!(tier.find("/").await.is_empty());
        assert!(tier.files(directory.path()).is_empty());
    }
}

#[tokio::test]
async fn the_later_one_wins_whichever_is_written_first() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let head = tier.head("", &[]);
    let storing = |text: &'static str| tier.storing(key("/"), &head, StoredBody::Memory(text.into()));
    assert!(tier.disk.write(&storing("later"), 8).unwrap());
    assert!(!tier.disk.write(&storing("earlier"), 7).unwrap());
    assert_eq!(tier.content("/").await.unwrap().unwrap(), "later");
}

/// Writers, purges and lookups at once: whatever is found is whole, and after
/// the last purge nothing is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purge_holds_against_a_crowd() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let path = |at: u64| format!("/{}", at % 7);
    for round in 0..200 {
        let key = key(&path(round));
        let head = tier.head("", &[]);
        let body = StoredBody::Memory(content(round, 10_000).into());
        tier.begin(key.clone(), &head, body);
        match round % 10 {
            3 => {
                tier.generations.advance(&key);
                tier.disk.remove(&key).await.unwrap();
                assert!(tier.find(&path(round)).await.is_empty());
            }
            9 => {
                tier.generations.advance_all();
                tier.disk.clear().unwrap();
                for at in 0..7 {
                    assert!(tier.find(&path(at)).await.is_empty());
                }
            }
            _ => {
                if let Some(found) = tier.content(&path(round + 1)).await {
                    assert_eq!(found.unwrap().len(), 10_000);
                }
            }
        }
    }
    tier.settle().await;
    assert!(tier.files(directory.path()).is_empty());
    assert_eq!((tier.disk.usage().objects, tier.disk.usage().bytes), (0, 0));
    assert_eq!(tier.metrics.disk_errors.value(), 0, "nothing failed on the way");
}
