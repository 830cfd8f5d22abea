//! What makes two requests one for the cache, and what must not: queries in
//! normal form, fields that no client may send, variants, and pages that are
//! asked for as if they were files.

use crate::support::origin::{FixedOrigin, Origin, ok};
use crate::support::process::{Place, Seawall};
use crate::support::raw::{Message, RawClient};

/// The site `site.test` with `keys` before an origin server that answers
/// `fields`.
async fn site(keys: &str, fields: &str) -> (Seawall, FixedOrigin) {
    let origin = Origin::answering(ok(fields, "hello")).await;
    (edge_before(&origin.address.to_string(), keys).await, origin)
}

async fn edge_before(origin: &str, keys: &str) -> Seawall {
    Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n{keys}"
    ))
    .await
}

async fn get(seawall: &Seawall, target: &str, fields: &str) -> Message {
    let req = format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
    RawClient::ask(seawall.http, req).await
}

fn cache_status(res: &Message) -> &str {
    res.field("cache-status").unwrap()
}

#[tokio::test]
async fn the_normal_form_is_forwarded_and_the_target_logged_as_received() {
    let mut origin = Origin::start().await;
    let keys = "cache = { key = { query = \"sorted\", drop_query = [\"utm_*\"] } }\n";
    let seawall = edge_before(&origin.address.to_string(), keys).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("GET /x?b=1&utm_source=mail&a=2 HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.start, "GET /x?a=2&b=1 HTTP/1.1");
    arrival.answer(ok("Cache-Control: max-age=60\r\n", "hello")).await;
    client.response().await;

    let res = get(&seawall, "/x?utm_medium=web&a=2&b=1", "").await;
    assert!(cache_status(&res).contains("hit"), "{}", cache_status(&res));
    let records = seawall.access_records(2).await;
    let targets: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    assert_eq!(targets, ["/x?b=1&utm_source=mail&a=2", "/x?utm_medium=web&a=2&b=1"]);
}

#[tokio::test]
async fn no_page_is_stored_that_is_asked_for_as_a_file() {
    let keys = "[[site.\"site.test\".route]]\nmatch = { path = \"*.css\" }\n\
                cache = { ttl = \"1h\", ignore_cookies = true }\n";
    let fields = "Content-Type: text/html\r\nCache-Control: public, max-age=60\r\n";
    let (seawall, _origin) = site(keys, fields).await;
    for target in
        ["/account/x.css", "/account;x.css", "/account%2Fx.css", "/account%0Ax.css", "/account/x.CSS?y"]
    {
        let victim = get(&seawall, target, "Cookie: session=secret\r\n").await;
        assert!(cache_status(&victim).contains("detail=deception"), "{target}: {}", cache_status(&victim));
        let attacker = get(&seawall, target, "").await;
        assert!(!cache_status(&attacker).contains("hit"), "{target}: {}", cache_status(&attacker));
    }
    let page = get(&seawall, "/page", "Cookie: session=secret\r\n").await;
    assert!(cache_status(&page).contains("stored"), "{}", cache_status(&page));
}

#[tokio::test]
async fn what_no_client_may_send_makes_no_variants_and_is_counted() {
    let fields = "Cache-Control: max-age=60\r\nVary: X-Forwarded-Host, X-Original-URL\r\n";
    let (seawall, origin) = site("", fields).await;
    for number in 0..5 {
        let sent = format!("X-Forwarded-Host: {number}.test\r\nX-Original-URL: /{number}\r\n");
        get(&seawall, "/x", &sent).await;
    }
    assert_eq!(seawall.metric("seawall_fields_dropped_total").await, Some(10));
    assert_eq!(seawall.metric("seawall_cache_objects").await, Some(1));
    let before = origin.requests();
    assert!(cache_status(&get(&seawall, "/x", "").await).contains("hit"));
    assert_eq!(origin.requests(), before);
}

/// What `Connection` names does not reach the origin server: a response that was chosen
/// without it is none of those that were asked for with it.
#[tokio::test]
async fn what_connection_takes_away_selects_nothing() {
    let (seawall, origin) = site("", "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n").await;
    get(&seawall, "/x", "Accept-Language: de\r\nConnection: Accept-Language\r\n").await;
    let german = get(&seawall, "/x", "Accept-Language: de\r\n").await;
    assert!(!cache_status(&german).contains("hit"), "{}", cache_status(&german));
    assert!(cache_status(&get(&seawall, "/x", "").await).contains("hit"));
    assert_eq!(origin.requests(), 2);
}

/// A load balancer may pass on what its clients say of the host.
#[tokio::test]
async fn a_host_that_a_trusted_proxy_names_is_part_of_the_key() {
    let origin = Origin::answering(ok("Cache-Control: max-age=60\r\n", "hello")).await;
    let mut place = Place::new();
    place.listen = "trusted_proxies = [\"127.0.0.1\"]".into();
    place.configure(&format!(
        "[site.\"site.test\"]\norigins = [\"{}\"]\nhealth = false\ntls = \"off\"\n",
        origin.address
    ));
    let seawall = place.run().await;
    for (host, requests) in [("evil.test", 1), ("site.test", 2), ("evil.test", 2)] {
        get(&seawall, "/x", &format!("X-Forwarded-Host: {host}\r\n")).await;
        assert_eq!(origin.requests(), requests, "{host}");
    }
    let plain = get(&seawall, "/x", "").await;
    assert!(!cache_status(&plain).contains("hit"), "{}", cache_status(&plain));
}

#[tokio::test]
async fn a_field_that_the_site_passes_on_is_part_of_the_key() {
    let keys = "forward_fields = [\"X-Forwarded-Prefix\"]\n";
    let (seawall, origin) = site(keys, "Cache-Control: max-age=60\r\n").await;
    for (prefix, requests) in [("/a", 1), ("/b", 2), ("/a", 2)] {
        get(&seawall, "/x", &format!("X-Forwarded-Prefix: {prefix}\r\n")).await;
        assert_eq!(origin.requests(), requests, "{prefix}");
    }
}

#[tokio::test]
async fn no_key_has_more_than_32_variants() {
    let (seawall, origin) = site("", "Cache-Control: max-age=60\r\nVary: X-Kind\r\n").await;
    for kind in 0..50 {
        get(&seawall, "/x", &format!("X-Kind: {kind}\r\n")).await;
    }
    assert_eq!(seawall.metric("seawall_cache_objects").await, Some(32));
    for (kind, requests) in [(49, 50), (18, 50), (17, 51)] {
        get(&seawall, "/x", &format!("X-Kind: {kind}\r\n")).await;
        assert_eq!(origin.requests(), requests, "{kind}");
    }
}
