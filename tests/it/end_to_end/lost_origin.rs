//! Origin servers die: one under load, and no client notices; all, and what is
//! stored is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::Edge;
use crate::support::client::{Alpn, Client};
use crate::support::nginx::Nginx;
use crate::support::{eventually, site, within};

const CLIENTS: usize = 8;
const REQUESTS_EACH: usize = 150;
const SMALL: u64 = 8 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_an_origin_server_is_killed() {
    let root = site::root();
    // Small answers: one that has begun is whole already when the kill comes.
    let mut pages = site::pages(&root);
    pages.retain(|page| page.length <= SMALL);
    assert!(!pages.is_empty());
    let pages = Arc::new(pages);
    let route = "[[site.\"localhost\".route]]\nmatch = { path = \"/*\" }\ncache = false\n";
    let mut edge = Edge::start(&root, route).await;
    let answered = Arc::new(AtomicUsize::new(0));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (pages, answered) = (Arc::clone(&pages), Arc::clone(&answered));
            let (to, ca) = (edge.seawall.https, edge.seawall.ca());
            let alpn = if number % 2 == 0 { Alpn::H1 } else { Alpn::H2 };
            tokio::spawn(async move {
                let mut client = Client::connect(to, &ca, "localhost", alpn).await;
                for page in pages.iter().cycle().skip(number).take(REQUESTS_EACH) {
                    let res = client.get(&page.path).await;
                    assert_eq!(res.status(), 200, "{} by {alpn:?}", page.path);
                    assert_eq!(res.body().len() as u64, page.length, "{} by {alpn:?}", page.path);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();

    let half = CLIENTS * REQUESTS_EACH / 2;
    eventually("half of the requests", || (answered.load(SeqCst) >= half).then_some(())).await;
    let taken: Vec<usize> = edge.origins.iter().map(|origin| origin.requests().len()).collect();
    edge.origins[0].kill();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(answered.load(SeqCst), CLIENTS * REQUESTS_EACH);
    assert!(taken.iter().all(|requests| *requests > 0), "both took their share before: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_page_outlives_all_origin_servers() {
    let root = site::root();
    let page = site::pages(&root).remove(0);
    let mut edge = Edge::start(&root, "cache = { ttl = \"1s\", force = true }").await;
    let mut client = Client::connect(edge.seawall.https, &edge.seawall.ca(), "localhost", Alpn::H2).await;
    let whole = client.get(&page.path).await;
    assert_eq!(whole.status(), 200);
    edge.origins.iter_mut().for_each(Nginx::kill);

    within("the end of its lifetime", async {
        loop {
            let res = client.get(&page.path).await;
            assert_eq!((res.status(), res.body()), (whole.status(), whole.body()));
            let status = res.headers()["cache-status"].to_str().unwrap();
            if status.ends_with("detail=stale-if-error") {
                return;
            }
            assert!(status.starts_with("Seawall; hit"), "{status}");
        }
    })
    .await;
    assert_eq!(client.get("/what-is-not-stored").await.status(), 502);
}
