//! Headless Chromium before the edge: HTTP/2, no complaint, and a second visit
//! that the origin servers do not notice.

use super::Edge;
use crate::support::chromium::{Chromium, Load, Loaded};
use crate::support::client::{Alpn, Client};
use crate::support::site;

const PAGE: &str = "/library/json.html";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_loads_over_h2_and_again_from_the_cache() {
    let edge = Edge::start(&site::root(), "").await;
    let client = Client::connect(edge.seawall.https, &edge.seawall.ca(), "localhost", Alpn::H2).await;
    let mut chromium = Chromium::start(&client.certificate).await;
    let url = format!("https://localhost:{}{PAGE}", edge.seawall.https.port());

    let tab = chromium.tab().await;
    let first = chromium.open(&tab, &url).await;
    assert_sound(&first);
    assert!(first.responses.iter().any(|response| response.url == url), "{first:#?}");
    assert!(first.responses.len() > 3, "a page with styles and scripts: {first:#?}");

    let reload = chromium.reload(&tab).await;
    assert_sound(&reload);
    for response in &reload.responses {
        assert!(response.from_own_cache || is_from_cache(response), "{response:#?}");
    }

    // A tab with a cache of its own has to ask the edge for all of it.
    let before = edge.origin_requests();
    let other = chromium.tab().await;
    let second = chromium.open(&other, &url).await;
    assert_sound(&second);
    assert!(second.responses.iter().all(is_hit), "{second:#?}");
    assert!(second.responses.iter().filter(|response| !response.from_own_cache).count() > 3, "{second:#?}");
    assert_eq!(edge.origin_requests(), before, "the origin servers saw nothing of the second visit");
}

fn assert_sound(load: &Load) {
    assert!(load.complaints.is_empty(), "{:#?}", load.complaints);
    for response in &load.responses {
        assert_eq!(response.status, 200, "{response:#?}");
        assert!(response.from_own_cache || response.protocol == "h2", "{response:#?}");
    }
}

fn is_hit(response: &Loaded) -> bool {
    response.cache_status.as_deref().is_some_and(|status| status.starts_with("Seawall; hit"))
}

/// A reload asks for the page itself with `max-age=0`: an edge may validate it.
fn is_from_cache(response: &Loaded) -> bool {
    let validated = |status: &str| status.contains("fwd-status=304");
    is_hit(response) || response.cache_status.as_deref().is_some_and(validated)
}
