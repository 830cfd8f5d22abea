//! A tier that is full, a disk that is full, and one that fails.

use super::*;

#[tokio::test]
async fn it_never_takes_more_than_it_was_given() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::sized(directory.path(), 1 << 20);
    for seed in 0..100 {
        tier.store(&format!("/{seed}"), &content(seed, 30_000)).await;
        assert!(tier.disk.usage().bytes <= 1 << 20);
    }
    let files = tier.files(directory.path());
    let on_disk: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(on_disk <= 1 << 20);
    assert_eq!(files.len() as u64, tier.disk.usage().objects);
    assert!(files.len() > 25, "{} is too few", files.len());
    assert_eq!(tier.metrics.disk_evictions.value(), 100 - files.len() as u64);
    tier.store("/too-large", &content(1, 600_000)).await;
    assert!(tier.find("/too-large").await.is_empty());
}

#[tokio::test]
async fn it_is_emptied_a_little_further_than_it_has_to() {
    let directory = TempDir::new().unwrap();
    let size = 64 << 20;
    let tier = Tier::sized(directory.path(), size);
    let mut last = 0;
    let mut freed = Vec::new();
    for seed in 0..200 {
        tier.store(&format!("/{seed}"), &content(seed, 500_000)).await;
        let evicted = tier.metrics.disk_evictions.value();
        if evicted > last {
            freed.push(evicted - last);
            assert!(tier.disk.usage().bytes <= size / 256 * 252, "down to the low watermark");
        }
        last = evicted;
    }
    assert!(freed.len() > 10 && freed.iter().all(|records| *records > 1), "{freed:?}");
}

#[tokio::test]
async fn what_is_used_stays() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::sized(directory.path(), 1 << 20);
    tier.store("/used", &content(1, 30_000)).await;
    for seed in 0..200 {
        tier.store(&format!("/{seed}"), &content(seed, 30_000)).await;
        assert!(tier.content("/used").await.is_some(), "after {seed} others");
    }
}

#[tokio::test]
async fn a_smaller_size_is_kept_from_the_next_write_on() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    for seed in 0..50 {
        tier.store(&format!("/{seed}"), &content(seed, 30_000)).await;
    }
    tier.end();
    let tier = Tier::sized(directory.path(), 1 << 19);
    until(|| tier.disk.usage().objects == 50);
    tier.store("/new", b"content").await;
    assert!(tier.disk.usage().bytes <= 1 << 19);
    assert!(tier.content("/new").await.is_some());
}

#[tokio::test]
async fn a_disk_that_fails_is_let_alone_and_tried_again() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/before", b"content").await;
    let new = directory.path().join("new");
    let aside = directory.path().join("aside");
    // Where records are begun is gone: every write fails.
    fs::rename(&new, &aside).unwrap();
    fs::remove_dir(&aside).unwrap();
    tier.store("/lost", b"content").await;
    assert_eq!(tier.metrics.disk_errors.value(), 1);
    tier.store("/lost", b"content").await;
    assert_eq!(tier.metrics.disk_errors.value(), 1, "it rests");
    assert!(tier.find("/lost").await.is_empty());
    assert!(tier.content("/before").await.is_some(), "reading goes on");
    tier.clock.advance(Duration::from_secs(2));
    tier.store("/lost", b"content").await;
    assert_eq!(tier.metrics.disk_errors.value(), 2, "it is tried again");
}

#[tokio::test]
async fn what_cannot_wait_is_not_written() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    let turns = tier.disk.writers.clone().acquire_many_owned(2).await.unwrap();
    let (head, large) = (tier.head("", &[]), content(1, 30 << 20));
    for path in ["/1", "/2", "/3"] {
        let body = StoredBody::Memory(large.clone().into());
        tier.begin(key(path), &head, body);
    }
    drop(turns);
    tier.settle().await;
    assert_eq!(tier.metrics.disk_writes_dropped.value(), 1);
    assert_eq!(tier.disk.usage().objects, 2);
}
