//! The memory that the running program takes for what it keeps.

use std::fs;

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::support::origin::{Origin, ok};
use super::support::process::{Seawall, words};
use super::support::raw::RawClient;
use super::support::within;

const CLIENTS: usize = 8;

const LENGTH: usize = 4 << 10;

/// As nginx answers for a file.
fn response() -> String {
    let fields = "Server: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 08:00:00 GMT\r\nContent-Type: text/html\r\n\
                  Last-Modified: Fri, 20 Nov 2026 08:00:00 GMT\r\nETag: \"656a0f00-1000\"\r\n\
                  Cache-Control: max-age=3600\r\nAccept-Ranges: bytes\r\n";
    ok(fields, &"x".repeat(LENGTH))
}

/// Has the program keep a response for each of these numbers.
async fn fill(seawall: &Seawall, numbers: std::ops::Range<usize>) {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (to, numbers) = (seawall.http, numbers.clone());
            tokio::spawn(async move {
                let stream = TcpStream::connect(to).await.unwrap();
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                for number in numbers.skip(client).step_by(CLIENTS) {
                    let path = format!("/objects/{number}.html");
                    let req =
                        Request::get(path).header(HOST, "site.test").body(Empty::<Bytes>::new()).unwrap();
                    let res = within("an answer", sender.send_request(req)).await.unwrap();
                    assert_eq!(res.status(), 200);
                    res.into_body().collect().await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// Bytes that the program counts, and that it has.
async fn memory(seawall: &Seawall) -> (u64, u64) {
    let counted = seawall.metric("seawall_cache_bytes").await.unwrap();
    let path = format!("/proc/{}/status", seawall.pid().as_raw_pid());
    let status = fs::read_to_string(path).unwrap();
    let kib = status.split("VmRSS:").nth(1).unwrap().split_whitespace().next().unwrap();
    (counted, kib.parse::<u64>().unwrap() << 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_takes_the_memory_that_is_counted_for_it() {
    let origin = Origin::answering(response()).await;
    let tables = format!(
        "cache.memory = \"64MiB\"\n\
         [site.\"site.test\"]\norigins = [\"{}\"]\nhealth = false\ntls = \"off\"\n",
        origin.address
    );
    let seawall = Seawall::start(&tables).await;
    // What it needs for itself, for connections, threads and the access log.
    for _ in 0..12 {
        fill(&seawall, 0..1_000).await;
    }
    let (counted_before, has_before) = memory(&seawall).await;
    fill(&seawall, 1_000..12_000).await;
    let (counted, has) = memory(&seawall).await;
    let (counted, has) = (counted - counted_before, has - has_before);
    assert!(counted > 11_000 * LENGTH as u64, "all of them are kept: {counted}");
    let off = counted.abs_diff(has) * 100 / counted;
    assert!(off <= 15, "{has} bytes of memory for {counted} that are counted: {off} % off");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_gives_way_where_memory_is_short() {
    let origin = Origin::answering(response()).await;
    let tables = |limits: &str| {
        format!(
            "cache.memory = \"80MiB\"\n{limits}\n\
             [site.\"site.test\"]\norigins = [\"{}\"]\nhealth = false\ntls = \"off\"\n",
            origin.address
        )
    };
    let seawall = Seawall::start(&tables("")).await;
    fill(&seawall, 0..12_000).await;
    let (counted_before, has_before) = memory(&seawall).await;
    assert!(
        counted_before > 12_000 * LENGTH as u64 && has_before > 64 << 20,
        "{counted_before} {has_before}"
    );

    seawall.place.configure(&tables("limits.memory = \"64MiB\""));
    let said = seawall.ask("reload", &[]).await;
    assert!(said.status.success(), "{}", words(&said));
    within("room", async {
        while memory(&seawall).await.0 > counted_before / 4 * 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within("an answer", async {
        loop {
            let res =
                RawClient::ask(seawall.http, "GET /objects/1.html HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
            match res.status() {
                200 => break,
                status => assert_eq!(status, 503),
            }
        }
    })
    .await;
    assert_eq!(seawall.metric("seawall_memory_limit_bytes").await, Some(64 << 20));
    assert!(seawall.metric("seawall_memory_used_bytes").await.unwrap() > 1 << 20);
}
