//! A file system that is full, read-only, or fails: real ones, as far as the
//! machine lets a test have them. Requests go on, and the disk is used again by
//! itself once it is well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::support::process::Place;
use super::*;

/// Runs a command and says whether it did what it was to do.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A program whose cache is on a small file system of its own, which nobody
/// else sees and which goes with it.
struct Mounted {
    seawall: Seawall,
    place: PathBuf,
}

impl Mounted {
    /// `None`, and a word, where a test may mount nothing.
    async fn start(origin: &Origin, size: &str) -> Option<Self> {
        if !succeeds(Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])) {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        let place = Place::new();
        let mounted = place.path().join("mounted");
        fs::create_dir(&mounted).unwrap();
        // Little memory, so that there are hits on the disk.
        let tables = tables(origin, &mounted.join("cache")).replace("16MiB", "1MiB");
        place.configure(&tables);
        let mount = format!("mount -t tmpfs -o size={size} none {} && exec \"$@\"", mounted.display());
        let seawall = place.under(&["unshare", "-rm", "sh", "-c", &mount, "sh"]).run().await;
        Some(Self { seawall, place: mounted })
    }

    /// A path on the file system, as one who does not see it gets there.
    fn inside(&self, path: &str) -> PathBuf {
        let root = Path::new("/proc").join(self.seawall.pid().as_raw_pid().to_string()).join("root");
        root.join(self.place.strip_prefix("/").unwrap()).join(path)
    }

    /// Mounts it again, with other options.
    fn remounts(&self, options: &str) -> bool {
        let pid = self.seawall.pid().as_raw_pid().to_string();
        let enter = ["--preserve-credentials", "-U", "-m", "-t", &pid, "mount", "-o"];
        succeeds(Command::new("nsenter").args(enter).arg(format!("remount,{options}")).arg(&self.place))
    }

    /// Asks for something new, which must come whole.
    async fn fetch(&self, number: usize) {
        fetch(&self.seawall, &format!("/40000/{number}")).await;
    }

    async fn metric(&self, name: &str) -> u64 {
        self.seawall.metric(name).await.unwrap()
    }

    /// Asks for new things until they are stored on the disk again.
    async fn is_well_again(&self) {
        let before = self.metric("seawall_disk_writes_total").await;
        let mut number = 5_000;
        while self.metric("seawall_disk_writes_total").await == before {
            self.fetch(number).await;
            number += 1;
        }
    }
}

/// The content of a path, which must be right.
async fn fetch(seawall: &Seawall, path: &str) -> String {
    let (found, status) = within("an answer", get(seawall.http, path)).await.unwrap();
    assert!(found == content(path), "{path} is wrong");
    status
}

/// How often it was told that the disk failed.
fn told(seawall: &Seawall) -> usize {
    seawall.diagnostics().matches("the disk cache failed").count()
}

#[tokio::test]
async fn a_small_file_system_is_used_and_some_of_it_left_to_others() {
    let origin = Origin::start().await;
    let Some(edge) = Mounted::start(&origin, "2m").await else { return };
    for number in 0..120 {
        edge.fetch(number).await;
    }
    // What was fetched last is written behind.
    within("room is made", async { while edge.metric("seawall_disk_evictions_total").await == 0 {} }).await;
    let found = rustix::fs::statvfs(edge.inside("cache")).unwrap();
    let (free, all) = (found.f_bavail, found.f_blocks);
    assert!(free >= all / 20, "{free} of {all} blocks are free");
    assert!(edge.metric("seawall_disk_objects").await > 20, "the rest is used");
    assert_eq!((edge.metric("seawall_disk_errors_total").await, told(&edge.seawall)), (0, 0));
}

#[tokio::test]
async fn a_file_system_that_others_fill_up_costs_no_request() {
    let origin = Origin::start().await;
    let Some(edge) = Mounted::start(&origin, "2m").await else { return };
    for number in 0..10 {
        edge.fetch(number).await;
    }
    let others = edge.inside("others");
    let full = fs::write(&others, vec![0; 4 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    within("it gives way", async {
        let mut number = 100;
        while edge.metric("seawall_disk_errors_total").await == 0 {
            edge.fetch(number).await;
            number += 1;
            // What it gives way with is taken at once.
            let _ = fs::write(&others, vec![0; 4 << 20]);
        }
    })
    .await;
    assert_eq!(told(&edge.seawall), 1);
    fs::remove_file(&others).unwrap();
    within("it is used again", edge.is_well_again()).await;
    assert_eq!(told(&edge.seawall), 1, "one line a minute");
}

#[tokio::test]
async fn a_file_system_that_becomes_read_only_is_read_and_written_again_later() {
    let origin = Origin::start().await;
    let Some(edge) = Mounted::start(&origin, "64m").await else { return };
    // Three times as much as memory holds.
    for number in 0..75 {
        edge.fetch(number).await;
    }
    edge.seawall.metric_is("seawall_disk_writes_total", 75).await;
    // Not while a record is being written.
    eventually("it becomes read-only", || edge.remounts("ro").then_some(())).await;
    within("it is seen", async {
        let mut number = 100;
        while edge.metric("seawall_disk_errors_total").await == 0 {
            edge.fetch(number).await;
            number += 1;
        }
    })
    .await;
    assert_eq!(told(&edge.seawall), 1);
    let before = origin.requests.load(SeqCst);
    for number in 0..75 {
        edge.fetch(number).await;
    }
    assert_eq!(origin.requests.load(SeqCst), before);
    assert!(edge.metric("seawall_disk_hits_total").await > 0, "it is still read");
    assert!(edge.remounts("rw"));
    within("it is used again", edge.is_well_again()).await;
    assert_eq!(told(&edge.seawall), 1, "one line a minute");
}

#[tokio::test]
async fn a_start_on_a_read_only_file_system_serves_what_is_there() {
    let origin = Origin::start().await;
    let Some(mut edge) = Mounted::start(&origin, "64m").await else { return };
    // The file system goes with the program: another one is begun on a copy.
    fetch(&edge.seawall, "/40000/1").await;
    edge.seawall.metric_is("seawall_disk_writes_total", 1).await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    assert!(succeeds(Command::new("cp").arg("-r").args([&edge.inside("cache"), &copy])));
    edge.seawall.kill();
    let place = Place::new();
    let mounted = place.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    place.configure(&tables(&origin, &mounted.join("copy")));
    let (from, to) = (directory.path().display(), mounted.display());
    let mount = format!("mount --bind {from} {to} && mount -o remount,bind,ro {to} && exec \"$@\"");
    let seawall = place.under(&["unshare", "-rm", "sh", "-c", &mount, "sh"]).run().await;
    let before = origin.requests.load(SeqCst);
    assert!(fetch(&seawall, "/40000/1").await.contains("hit"));
    assert_eq!(origin.requests.load(SeqCst), before);
    fetch(&seawall, "/40000/2").await;
    eventually("it is told", || (told(&seawall) == 1).then_some(())).await;
}

/// The calls that read a file return EIO, as libfiu has it.
#[tokio::test]
async fn a_disk_that_cannot_be_read_costs_no_request() {
    let origin = Origin::start().await;
    let place = Place::new();
    let disk = place.path().join("cache");
    let control = place.path().join("fiu");
    place.configure(&tables(&origin, &disk));
    let faults = ["fiu-run", "-x", "-f", control.to_str().unwrap()];
    let mut seawall = place.under(&faults).run().await;
    // Too long for memory to keep what was read.
    let paths: Vec<String> = (0..4).map(|number| format!("/1500000/{number}")).collect();
    let (unread, paths) = paths.split_first().unwrap();
    fetch(&seawall, unread).await;
    for path in paths {
        fetch(&seawall, path).await;
    }
    seawall.metric_is("seawall_disk_writes_total", 4).await;
    seawall.crash_and_restart().await;
    let control = format!("{}-{}", control.display(), seawall.pid().as_raw_pid());
    let command = |what: &str| succeeds(Command::new("fiu-ctrl").args(["-c", what, &control]));
    for path in paths {
        assert!(fetch(&seawall, path).await.contains("hit"));
    }
    forget_pages(&disk);
    assert!(command("enable name=posix/io/rw/pread,failinfo=5"));
    let before = origin.requests.load(SeqCst);
    for path in paths {
        // What the system read ahead was sent before the rest failed: cut, and fetched anew.
        match within("an answer", get(seawall.http, path)).await {
            Some((found, _)) => assert!(found == content(path), "{path} is wrong"),
            None => drop(fetch(&seawall, path).await),
        }
    }
    let fetched = origin.requests.load(SeqCst) - before;
    if fetched == 0 {
        eprintln!("skipped: this file system keeps everything in memory");
        return;
    }
    assert!(seawall.metric("seawall_disk_errors_total").await.unwrap() > 0);
    assert_eq!(told(&seawall), 1);
    assert!(command("disable name=posix/io/rw/pread"));
    within("it is read again", async { while !is_stored(&seawall, unread).await {} }).await;
    assert_eq!(told(&seawall), 1, "one line a minute");
}

/// Says whether a response is there without anything else being asked.
async fn is_stored(seawall: &Seawall, path: &str) -> bool {
    let mut stream = TcpStream::connect(seawall.http).await.unwrap();
    let fields = "Host: site.test\r\nCache-Control: only-if-cached\r\nConnection: close";
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    response.starts_with(b"HTTP/1.1 200") && response.ends_with(&content(path))
}

/// Has nothing of the records in memory.
fn forget_pages(disk: &Path) {
    for leaf in fs::read_dir(disk.join("records")).unwrap() {
        for file in fs::read_dir(leaf.unwrap().path()).unwrap() {
            let Ok(file) = fs::File::open(file.unwrap().path()) else { continue };
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}
