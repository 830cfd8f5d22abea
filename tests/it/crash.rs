//! The program is killed again and again, at any moment, while it stores, purges
//! and answers parts from its disk: no client ever sees a wrong byte, nothing
//! that was purged comes back, and most of what was stored is still there.
//!
//! What happens is random; `SEAWALL_SEED` has it happen again, as far as the
//! machine does not take part in it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::support::process::Seawall;
use super::support::within;

/// How often it is killed.
const CRASHES: usize = 6;

/// Clients at a time.
const CLIENTS: u64 = 4;

const RESOURCES: usize = 90;

/// Short, middling and long contents; the last are kept in two slices.
const LENGTHS: [u64; 6] = [700, 40_000, 700, 300_000, 40_000, 1_500_000];
const SLICED: u64 = 9 << 20;
const SLICED_RESOURCES: usize = 2;

/// As many resources have a tag in common.
const TAGS: usize = 9;

/// A resource, which changes when it is purged.
#[derive(Debug)]
struct Resource {
    number: usize,
    length: u64,
    /// The version that the origin server has.
    version: AtomicU64,
    /// The version that a purge made the oldest that may be seen.
    oldest: AtomicU64,
    /// True once a client had all of it.
    was_answered: AtomicBool,
}

impl Resource {
    fn path(&self) -> String {
        format!("/{}", self.number)
    }

    fn tag(&self) -> usize {
        self.number % TAGS
    }

    /// True for the bytes that it has from `first` on; no two places look alike.
    fn has(&self, version: u64, first: u64, bytes: &[u8]) -> bool {
        let (mut at, mut rest) = (first, bytes);
        while !rest.is_empty() {
            let word = self.word(version, at / 8).to_le_bytes();
            let start = usize::try_from(at % 8).unwrap();
            let (head, tail) = rest.split_at(rest.len().min(8 - start));
            if head != &word[start..start + head.len()] {
                return false;
            }
            at += head.len() as u64;
            rest = tail;
        }
        true
    }

    fn content(&self, version: u64) -> Vec<u8> {
        let words = (0..self.length.div_ceil(8)).flat_map(|at| self.word(version, at).to_le_bytes());
        words.take(usize::try_from(self.length).unwrap()).collect()
    }

    fn word(&self, version: u64, at: u64) -> u64 {
        let seed = (self.number as u64 + 1) << 40 | version << 32 | at;
        let mixed = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }
}

/// The resources, the origin server that has them, and what was seen of it.
struct World {
    resources: Vec<Resource>,
    /// Bytes that clients received.
    received: watch::Sender<u64>,
}

impl World {
    fn new() -> Self {
        let lengths = LENGTHS.into_iter().cycle().take(RESOURCES - SLICED_RESOURCES);
        let lengths = lengths.chain(std::iter::repeat_n(SLICED, SLICED_RESOURCES));
        let resource = |(number, length)| Resource {
            number,
            length,
            version: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            was_answered: AtomicBool::new(false),
        };
        let resources = lengths.enumerate().map(resource).collect();
        Self { resources, received: watch::Sender::new(0) }
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> Option<()> {
        let mut received = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut received).await.ok()? == 0 {
                    return None;
                }
            };
            let head = String::from_utf8(received.drain(..end).collect()).unwrap().to_lowercase();
            let number: usize = head.strip_prefix("get /").unwrap().split(' ').next()?.parse().unwrap();
            let resource = &self.resources[number];
            let version = resource.version.load(SeqCst);
            let content = resource.content(version);
            let whole = 0..content.len();
            let tag = format!("\"{version}\"");
            let has_changed = field(&head, "if-range").is_some_and(|asked| asked != tag);
            let part = field(&head, "range").filter(|_| !has_changed).map(|range| {
                let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let last = last.parse().map_or(whole.end, |last: usize| whole.end.min(last + 1));
                first.parse::<usize>().unwrap()..last
            });
            let mut response = match &part {
                Some(part) => {
                    let (first, last, complete) = (part.start, part.end - 1, whole.end);
                    format!(
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{complete}\r\n"
                    )
                }
                None => "HTTP/1.1 200 OK\r\n".to_owned(),
            };
            let sent = &content[part.unwrap_or(whole)];
            write!(response, "Cache-Control: max-age=3600\r\nETag: {tag}\r\nVersion: {version}\r\n").unwrap();
            write!(response, "Surrogate-Key: tag{} all\r\n", resource.tag()).unwrap();
            write!(response, "Content-Length: {}\r\n\r\n", sent.len()).unwrap();
            stream.write_all(&[response.as_bytes(), sent].concat()).await.ok()?;
        }
    }

    /// Asks for some or all of a resource, and looks at every byte; says what the
    /// cache did, or nothing if the connection broke.
    async fn look(&self, to: SocketAddr, number: usize, part: Option<(u64, u64)>) -> Option<String> {
        let resource = &self.resources[number];
        let oldest = resource.oldest.load(SeqCst);
        let mut request = format!("GET /{number} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n");
        if let Some((first, last)) = part {
            write!(request, "Range: bytes={first}-{last}\r\n").unwrap();
        }
        let response = self.ask(to, &format!("{request}\r\n")).await?;
        let end = response.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(response[..end].to_vec()).unwrap().to_lowercase();
        let content = &response[end..];
        let version: u64 = field(&head, "version").unwrap_or_else(|| panic!("{head}")).parse().unwrap();
        assert!(version >= oldest, "version {version} of {number} was purged, {oldest} is the oldest");
        let first = match (part, head.split(' ').nth(1).unwrap()) {
            (_, "200") => 0,
            (Some((first, last)), "206") => {
                let range = format!("bytes {first}-{last}/{}", resource.length);
                assert_eq!(field(&head, "content-range"), Some(&*range), "{head}");
                first
            }
            _ => panic!("{head}"),
        };
        assert!(resource.has(version, first, content), "{number}, {part:?}: a wrong byte after\n{head}");
        let is_whole = field(&head, "content-length").unwrap().parse() == Ok(content.len());
        if is_whole && first == 0 && content.len() as u64 == resource.length {
            resource.was_answered.store(true, SeqCst);
        }
        is_whole.then(|| field(&head, "cache-status").unwrap().to_owned())
    }

    async fn ask(&self, to: SocketAddr, request: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(to).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = Vec::new();
        loop {
            match stream.read_buf(&mut response).await {
                Ok(0) => return Some(response),
                Ok(read) => self.received.send_modify(|received| *received += read as u64),
                // What came before it was killed has to be right, too.
                Err(_) => return Some(response),
            }
        }
    }

    /// Waits until clients have received `more` bytes.
    async fn receives(&self, more: u64) {
        let mut received = self.received.subscribe();
        let enough = *received.borrow() + more;
        received.wait_for(|received| *received >= enough).await.unwrap();
    }

    /// Changes some resources and purges them: from the answer on their older
    /// versions are gone for good.
    async fn purge(&self, to: SocketAddr, number: usize, by_tag: bool) {
        let tag = self.resources[number].tag();
        let named = |resource: &&Resource| resource.number == number || (by_tag && resource.tag() == tag);
        let changed: Vec<_> = self.resources.iter().filter(named).collect();
        let changed: Vec<_> = changed
            .into_iter()
            .map(|resource| (resource, resource.version.fetch_add(1, SeqCst) + 1))
            .collect();
        let path = self.resources[number].path();
        let named = if by_tag { format!("Surrogate-Key: tag{tag}\r\n") } else { String::new() };
        let request = format!(
            "PURGE {path} HTTP/1.1\r\nHost: site.test\r\nAuthorization: Bearer {TOKEN}\r\n{named}\
             Connection: close\r\n\r\n"
        );
        let Some(answer) = self.ask(to, &request).await else { return };
        let answer = String::from_utf8(answer).unwrap();
        if answer.starts_with("HTTP/1.1 20") && answer.contains("\"durable\":true") {
            for (resource, version) in changed {
                resource.oldest.fetch_max(version, SeqCst);
                resource.was_answered.store(false, SeqCst);
            }
        }
    }
}

const TOKEN: &str = "correct-horse-battery";

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn tables(origin: SocketAddr, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "[cache]\nmemory = \"16MiB\"\ndisk = {{ path = \"{directory}/cache\", size = \"1GiB\" }}\n\
         purge_token = {{ file = \"{directory}/token\" }}\n\
         [site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n"
    )
}

/// Asks for this and that.
async fn client(world: Arc<World>, to: SocketAddr, mut random: fastrand::Rng, stop: Arc<AtomicBool>) {
    while !stop.load(SeqCst) {
        let number = random.usize(..RESOURCES);
        let length = world.resources[number].length;
        let part = (random.u8(..4) == 0).then(|| {
            let first = random.u64(..length);
            (first, random.u64(first..length.min(first + 1_000_000)))
        });
        world.look(to, number, part).await;
    }
}

/// Purges this and that.
async fn purger(world: Arc<World>, to: SocketAddr, mut random: fastrand::Rng) {
    loop {
        world.receives(random.u64(..20_000_000)).await;
        world.purge(to, random.usize(..RESOURCES), random.u8(..3) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_killed_at_any_moment_and_nothing_is_wrong() {
    let seed = std::env::var("SEAWALL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SEAWALL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = Arc::new(World::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = listener.local_addr().unwrap();
    let served = Arc::clone(&world);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&served).serve(stream));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), TOKEN).unwrap();
    let mut seawall = Seawall::start(&tables(origin, directory.path())).await;
    for _ in 0..CRASHES {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(client(Arc::clone(&world), seawall.http, random.fork(), Arc::clone(&stop)));
        }
        let purger = tokio::spawn(purger(Arc::clone(&world), seawall.http, random.fork()));
        within("clients receive something", world.receives(random.u64(10_000..60_000_000))).await;
        seawall.kill();
        stop.store(true, SeqCst);
        while let Some(ended) = within("a client ends", clients.join_next()).await {
            ended.unwrap();
        }
        purger.abort();
        seawall.crash_and_restart().await;
    }
    let (mut answered, mut kept) = (0, 0);
    for resource in &world.resources {
        let was_answered = resource.was_answered.load(SeqCst);
        let status = within("an answer", world.look(seawall.http, resource.number, None)).await.unwrap();
        answered += usize::from(was_answered);
        kept += usize::from(was_answered && status.contains("hit"));
    }
    eprintln!("{kept} of {answered} are still there");
    assert!(kept * 4 >= answered * 3, "{kept} of {answered} are still there");
}
