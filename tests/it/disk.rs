//! The disk tier of the running program: it is killed, the disk fails, and no
//! client sees a wrong byte.

mod faults;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::process::Seawall;
use super::support::{eventually, within};

/// An origin server whose resources follow from their path: `/LENGTH/NUMBER`.
struct Origin {
    address: std::net::SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&counter)));
            }
        });
        Self { address, requests }
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>) {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut received).await {
                Ok(1..) => {}
                _ => return,
            }
        };
        let head: Vec<u8> = received.drain(..end).collect();
        let path = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
        requests.fetch_add(1, SeqCst);
        let content = content(&path);
        let mut response = String::from("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n");
        write!(response, "Content-Length: {}\r\n\r\n", content.len()).unwrap();
        if stream.write_all(&[response.as_bytes(), &content].concat()).await.is_err() {
            return;
        }
    }
}

/// The bytes of a resource; no two resources and no two places look alike.
fn content(path: &str) -> Vec<u8> {
    let mut numbers = path.split('/').skip(1).map(|number| number.parse::<u64>().unwrap());
    let (length, seed) = (numbers.next().unwrap(), numbers.next().unwrap());
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut content = vec![0; usize::try_from(length).unwrap()];
    for word in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    content
}

fn tables(origin: &Origin, disk: &Path) -> String {
    let (address, disk) = (origin.address, disk.display());
    format!(
        "[cache]\nmemory = \"16MiB\"\ndisk = {{ path = \"{disk}\", size = \"1GiB\" }}\n\
         [site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n"
    )
}

/// The content of a path and what the cache did, or nothing if the connection
/// broke.
async fn get(to: std::net::SocketAddr, path: &str) -> Option<(Vec<u8>, String)> {
    let mut stream = TcpStream::connect(to).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.ok()?;
    let end = response.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(response[..end].to_vec()).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
    let content = response.split_off(end);
    let status = head.split("cache-status: ").nth(1).unwrap_or_default().split("\r\n").next()?.to_owned();
    (content.len() == length).then_some((content, status))
}

/// Paths of short, middling and long resources.
fn paths() -> Vec<String> {
    let lengths = [700, 40_000, 300_000, 1_500_000].into_iter().cycle();
    lengths.take(120).enumerate().map(|(number, length)| format!("/{length}/{number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_crash_is_there_and_right() {
    let origin = Origin::start().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("cache");
    for round in 0..5_usize {
        let mut seawall = Seawall::start(&tables(&origin, &disk)).await;
        let to = seawall.http;
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let answered = Arc::clone(&answered);
                tokio::spawn(async move {
                    for path in paths().iter().skip(client).step_by(4) {
                        // Once the program is killed there is no answer.
                        let Some((found, _)) = get(to, path).await else { return };
                        assert!(found == content(path), "{path} is wrong in round {round}");
                        answered.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let enough = 20 * (round + 1);
        eventually("requests are answered", || (answered.load(SeqCst) >= enough).then_some(())).await;
        seawall.kill();
        for client in clients {
            within("a client ends", client).await.unwrap();
        }
    }
    let seawall = Seawall::start(&tables(&origin, &disk)).await;
    let before = origin.requests.load(SeqCst);
    let mut hits = 0;
    for path in paths() {
        let (found, status) = within("an answer", get(seawall.http, &path)).await.unwrap();
        assert!(found == content(&path), "{path} is wrong");
        hits += usize::from(status.contains("hit"));
    }
    let fetched = origin.requests.load(SeqCst) - before;
    assert_eq!(hits + fetched, paths().len());
    assert!(hits * 4 >= 80 * 3, "{hits} are still there");
}

#[tokio::test]
async fn a_stop_loses_nothing() {
    let origin = Origin::start().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("cache");
    let mut seawall = Seawall::start(&tables(&origin, &disk)).await;
    for path in paths() {
        get(seawall.http, &path).await.unwrap();
    }
    seawall.terminate();
    assert!(seawall.exit().await.success());
    let seawall = Seawall::start(&tables(&origin, &disk)).await;
    let before = origin.requests.load(SeqCst);
    for path in paths() {
        let (found, status) = get(seawall.http, &path).await.unwrap();
        assert!(found == content(&path) && status.contains("hit"), "{path}: {status}");
    }
    assert_eq!(origin.requests.load(SeqCst), before);
}

#[tokio::test]
async fn the_second_process_goes_without() {
    let origin = Origin::start().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("cache");
    let first = Seawall::start(&tables(&origin, &disk)).await;
    let second = Seawall::start(&tables(&origin, &disk)).await;
    assert!(second.diagnostics().contains("another process uses it"));
    for seawall in [&first, &second] {
        assert!(get(seawall.http, "/700/1").await.unwrap().0 == content("/700/1"));
    }
    assert!(!first.diagnostics().contains("another process"));
}

#[tokio::test]
async fn a_disk_that_is_taken_away_fails_no_request() {
    let origin = Origin::start().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("cache");
    let seawall = Seawall::start(&tables(&origin, &disk)).await;
    for round in 0..3 {
        for path in paths() {
            let (found, _) = within("an answer", get(seawall.http, &path)).await.unwrap();
            assert!(found == content(&path));
        }
        if round == 0 {
            // What is written meanwhile is there anew.
            eventually("the directory is gone", || {
                let _ = std::fs::remove_dir_all(&disk);
                (!disk.exists()).then_some(())
            })
            .await;
        }
    }
    let told = seawall.diagnostics().matches("the disk cache failed").count();
    assert!(told <= 2, "{told} lines in less than a minute");
    let deadline = Duration::from_secs(1);
    assert!(tokio::time::timeout(deadline, get(seawall.http, "/700/999")).await.unwrap().is_some());
}
