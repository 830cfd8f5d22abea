//! Files that are not what was written: never a wrong byte, never a failed
//! start.

use super::*;

/// What may happen to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(usize),
    Zero(usize),
    Cut(usize),
}

impl Damage {
    fn all(length: usize, step: usize) -> impl Iterator<Item = Self> {
        let places = (0..length).step_by(step).chain([length - 1]);
        places.flat_map(|at| [Self::Flip(at), Self::Zero(at), Self::Cut(at)])
    }

    fn done_to(self, record: &[u8]) -> Vec<u8> {
        let mut bytes = record.to_vec();
        match self {
            Self::Flip(at) => bytes[at] ^= 0x10,
            Self::Zero(at) => bytes[at..record.len().min(at + 512)].fill(0),
            Self::Cut(at) => bytes.truncate(at),
        }
        bytes
    }
}

async fn survives(length: usize, step: usize) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    let whole = content(9, length);
    tier.store("/", &whole).await;
    let file = tier.files(path).remove(0);
    let record = fs::read(&file).unwrap();
    let leaf =
        Leaf(u16::from_str_radix(file.parent().unwrap().file_name().unwrap().to_str().unwrap(), 16).unwrap());
    for damage in Damage::all(record.len(), step) {
        fs::write(&file, damage.done_to(&record)).unwrap();
        tier.disk.index.add_read(leaf, &tier.disk.directory.records().list(leaf, |_| false).unwrap());
        match tier.content("/").await {
            None => {}
            Some(Err(_)) => assert!(length > 1 << 20, "{damage:?} is seen before anything is sent"),
            Some(Ok(_)) => panic!("{damage:?} was not seen"),
        }
        assert!(!file.exists(), "{damage:?} is still there");
        assert_eq!(tier.disk.usage().objects, 0);
    }
    assert!(tier.metrics.disk_damaged.value() > 0);
    assert_eq!(tier.metrics.disk_errors.value(), 0);
    tier.store("/", &whole).await;
    assert!(tier.content("/").await.unwrap().unwrap() == whole);
}

#[tokio::test]
async fn small_records() {
    survives(3 << 10, 7).await;
    survives(100 << 10, 1 << 10).await;
    survives(300 << 10, 1 << 10).await;
}

#[tokio::test]
async fn a_record_that_is_read_as_it_is_sent() {
    survives((1 << 20) + 10_000, 1 << 10).await;
}

#[tokio::test]
async fn foreign_files_are_cleared_away() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let tier = Tier::open(path);
    tier.store("/", b"content").await;
    let ours = tier.files(path).remove(0);
    tier.end();
    let leaf = ours.parent().unwrap();
    let other =
        |last: &str| leaf.join(format!("{}{last}", &ours.file_name().unwrap().to_str().unwrap()[..48]));
    fs::write(leaf.join("index.html"), "<p>").unwrap();
    fs::write(leaf.join(format!("{}.tmp", ours.file_name().unwrap().to_str().unwrap())), "x").unwrap();
    fs::copy(&ours, other("f")).unwrap();
    fs::write(other("e"), "").unwrap();
    std::os::unix::fs::symlink(&ours, other("d")).unwrap();
    fs::create_dir(other("c")).unwrap();
    fs::write(path.join("new/7"), "half").unwrap();
    fs::create_dir_all(path.join("purged-3/abc")).unwrap();
    let tier = Tier::open(path);
    let found = tier.find("/").await;
    assert_eq!(found.len(), 1, "the copy under another name is not taken");
    assert_eq!(tier.content("/").await.unwrap().unwrap(), "content");
    let left: Vec<_> = fs::read_dir(leaf).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(left.iter().all(|file| *file == ours || *file == other("c")), "{left:?}");
    assert_eq!(fs::read_dir(path.join("new")).unwrap().count(), 0);
    until(|| !path.join("purged-3").exists());
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_miss() {
    let directory = TempDir::new().unwrap();
    let tier = Tier::open(directory.path());
    tier.store("/", b"content").await;
    fs::remove_file(&tier.files(directory.path())[0]).unwrap();
    assert!(tier.content("/").await.is_none());
    assert_eq!(tier.disk.usage().objects, 0);
    assert_eq!(tier.metrics.disk_errors.value(), 0);
}
