//! Real nginx that are stopped and started while clients ask.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::nginx::Nginx;
use crate::support::process::Seawall;
use crate::support::raw::RawClient;
use crate::support::{eventually, within};

const GET: &str = "GET /page HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// Two nginx with one page, and the edge before them, which stores nothing.
async fn edge(root: &std::path::Path) -> (Seawall, [Nginx; 2]) {
    fs::write(root.join("page"), "hello").unwrap();
    let origins = [Nginx::start(root).await, Nginx::start(root).await];
    let [one, other] = origins.each_ref().map(|origin| origin.address);
    let seawall = Seawall::start(&format!(
        r#"
[pool.app]
origins = ["{one}", "{other}"]
balance = "round-robin"
health = {{ path = "/page", every = "1s", timeout = "1s", fall = 2 }}
eject = {{ for = "500ms" }}
slow_start = "0s"
[site."site.test"]
pool = "app"
tls = "off"
cache = false
"#
    ))
    .await;
    (seawall, origins)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_while_servers_are_stopped_and_started_in_turn() {
    let root = tempfile::tempdir().unwrap();
    let (seawall, mut origins) = edge(root.path()).await;
    let (answered, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (answered, is_over, to) = (Arc::clone(&answered), Arc::clone(&is_over), seawall.http);
            tokio::spawn(async move {
                let mut client = RawClient::connect(to).await;
                while !is_over.load(SeqCst) {
                    client.send(GET).await;
                    let res = client.response().await;
                    assert_eq!((res.status(), res.content.as_slice()), (200, &b"hello"[..]));
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for turn in 0..4 {
        let origin = &mut origins[turn % 2];
        origin.kill();
        let before = answered.load(SeqCst);
        eventually("others are asked", || (answered.load(SeqCst) > before + 200).then_some(())).await;
        origin.start_again().await;
        // More than its checks can be.
        let before = origin.requests().len();
        eventually("it is asked again", || (origin.requests().len() > before + 50).then_some(())).await;
    }
    is_over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_a_second_after_its_start_when_all_were_down() {
    let root = tempfile::tempdir().unwrap();
    let (seawall, mut origins) = edge(root.path()).await;
    let status = async || RawClient::ask(seawall.http, GET).await.status();
    assert_eq!(status().await, 200);
    origins.iter_mut().for_each(Nginx::kill);
    let all_down = async || {
        let said = seawall.ask("origins", &["--json"]).await;
        let said = String::from_utf8(said.stdout).unwrap();
        said.matches("\"state\":\"down\"").count() == 2
    };
    within("all are down", async { while !all_down().await {} }).await;
    let _ = status().await;
    assert_eq!(status().await, 503);
    origins[1].start_again().await;
    let is_back = async { while status().await != 200 {} };
    // A second, and half of one for a machine that is busy.
    tokio::time::timeout(Duration::from_millis(1_500), is_back).await.expect("it is back");
}
