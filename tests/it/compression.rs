//! Compression at the edge, as curl and browsers see it.

use std::process::Command;

use super::support::origin::Origin;
use super::support::process::{Seawall, finished};
use super::support::raw::{Message, RawClient};

fn page() -> String {
    (0..800).map(|line| format!("<p>line {line} of a page that is worth compressing</p>\n")).collect()
}

async fn edge(compress: &str) -> (Seawall, String) {
    let page = page();
    let origin = Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Type: text/html\r\nETag: \"1\"\r\n\
         Content-Length: {}\r\n\r\n{page}",
        page.len()
    ))
    .await;
    let address = origin.address;
    let tables = format!(
        "[cache]\n{compress}\n[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n"
    );
    (Seawall::start(&tables).await, page)
}

async fn get(seawall: &Seawall, accepted: &str) -> Message {
    let req = format!("GET / HTTP/1.1\r\nHost: site.test\r\nAccept-Encoding: {accepted}\r\n\r\n");
    RawClient::ask(seawall.http, req).await
}

#[tokio::test]
async fn every_client_gets_the_coding_that_it_likes() {
    let (seawall, page) = edge("").await;
    let first = get(&seawall, "gzip").await;
    assert_eq!(
        (first.field("content-encoding"), first.field("vary")),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    let status = first.field("cache-status").unwrap();
    assert!(status.contains("fwd=uri-miss") && status.contains("stored"), "{status}");
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, br", Some("br")),
        ("gzip;q=0.8, br;q=0.2", Some("gzip")),
        ("deflate", None),
        ("", None),
    ] {
        let res = get(&seawall, accepted).await;
        assert_eq!(res.field("content-encoding"), coding, "{accepted}");
        assert_eq!(res.field("vary"), Some("Accept-Encoding"));
        assert_eq!(res.field("etag"), Some(if coding.is_some() { "W/\"1\"" } else { "\"1\"" }));
        assert!(res.field("cache-status").unwrap().contains("hit"));
        assert_eq!(res.content.len() < page.len() / 2, coding.is_some());
    }
    seawall.metric_is("seawall_cache_encodings_total", 3).await;
}

/// A decoder that is not ours reads it.
#[tokio::test]
async fn curl_reads_what_is_compressed() {
    let (seawall, page) = edge("").await;
    get(&seawall, "").await;
    let to = format!("http://{}/", seawall.http);
    for accepted in ["gzip", "gzip, br"] {
        let accepted = format!("Accept-Encoding: {accepted}");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--compressed", "--max-time", "10", "--noproxy", "*"]);
        let read = finished(curl.args(["-H", "Host: site.test", "-H", &accepted, &to])).await;
        assert!(read.status.success() && read.stdout == page.as_bytes(), "{accepted}");
    }
    let encodings = seawall.metric("seawall_cache_encodings_total").await;
    assert!(encodings.is_some_and(|encodings| encodings >= 1));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let (seawall, page) = edge("compress = false").await;
    for _ in 0..2 {
        let res = get(&seawall, "gzip, br").await;
        assert_eq!((res.field("content-encoding"), res.field("vary")), (None, None));
        assert_eq!(res.content, page.as_bytes());
    }
}
