//! Every file of the site comes as it is, and the second time from the cache.

use std::fs;

use super::Edge;
use crate::support::client::{Alpn, Client};
use crate::support::{eventually, site};

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_whole_and_then_a_hit() {
    let root = site::root();
    let pages = site::pages(&root);
    let edge = Edge::start(&root, "").await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let mut client = connect(&edge, alpn).await;
        for page in &pages {
            let res = client.get(&page.path).await;
            let on_disk = fs::read(root.join(&page.path[1..])).unwrap();
            assert_eq!(res.status(), 200, "{} by {alpn:?}", page.path);
            assert!(res.body() == on_disk.as_slice(), "{} by {alpn:?} has other bytes", page.path);
        }
    }
    // nginx logs a request after its last byte has left.
    eventually("the origin servers log", || (edge.origin_requests() >= pages.len()).then_some(())).await;
    let before = edge.origin_requests();
    assert_eq!(before, pages.len(), "the pass by HTTP/2 was answered from the cache");

    for alpn in [Alpn::H1, Alpn::H2] {
        let mut client = connect(&edge, alpn).await;
        for page in &pages {
            let res = client.get(&page.path).await;
            let status = res.headers()["cache-status"].to_str().unwrap();
            assert!(status.starts_with("Seawall; hit"), "{} by {alpn:?}: {status}", page.path);
            assert!(res.headers().contains_key("age"), "{} has no age", page.path);
            assert_eq!(res.body().len() as u64, page.length, "{} by {alpn:?}", page.path);
        }
    }
    assert_eq!(edge.origin_requests(), before, "the origin servers saw nothing of the second pass");
}

async fn connect(edge: &Edge, alpn: Alpn) -> Client {
    Client::connect(edge.seawall.https, &edge.seawall.ca(), "localhost", alpn).await
}
