//! Clients that stay with their origin server: by a cookie that is the edge's
//! own, seen by no cache and no origin server.

use std::net::SocketAddr;

use crate::support::origin::{Origin, ok};
use crate::support::process::Seawall;
use crate::support::raw::{Message, RawClient};

/// The site `site.test` in cleartext before a sticky pool.
async fn edge_before(origins: &[SocketAddr]) -> Seawall {
    let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
    Seawall::start(&format!(
        "[cache]\ndefault_ttl = \"1h\"\n\
         [pool.app]\norigins = {origins:?}\nbalance = \"sticky:server\"\nhealth = false\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n"
    ))
    .await
}

async fn get(seawall: &Seawall, cookies: &str) -> Message {
    RawClient::ask(seawall.http, request(cookies)).await
}

fn request(cookies: &str) -> String {
    let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {cookies}\r\n") };
    format!("GET / HTTP/1.1\r\nHost: site.test\r\n{cookies}\r\n")
}

#[tokio::test]
async fn a_client_stays_with_its_server_through_a_restart() {
    let personal = |content| ok("Cache-Control: no-store\r\n", content);
    let origins = [Origin::answering(personal("one")).await, Origin::answering(personal("two")).await];
    let addresses = origins.each_ref().map(|origin| origin.address);
    let mut seawall = edge_before(&addresses).await;
    let first = get(&seawall, "").await;
    let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for address in addresses {
        assert!(!cookie.contains(&address.port().to_string()), "{cookie}");
    }
    let stays = async |seawall: &Seawall| {
        for _ in 0..8 {
            let res = get(seawall, &format!("a=1; {cookie}")).await;
            assert_eq!((res.field("set-cookie"), &res.content), (None, &first.content));
        }
    };
    stays(&seawall).await;
    seawall.crash_and_restart().await;
    stays(&seawall).await;
    let forged = get(&seawall, "server=0123456789abcdef").await;
    assert!(forged.field("set-cookie").is_some());
}

#[tokio::test]
async fn the_cookie_is_the_edge_s_own() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&[origin.address]).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(request("server=0123456789abcdef; a=1")).await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.field("cookie"), Some("a=1"));
    arrival.answer(ok("Set-Cookie: a=2\r\n", "")).await;
    let res = client.response().await;
    let cookies = res.all("set-cookie");
    assert_eq!((cookies.len(), cookies[0]), (2, "a=2"));
    assert!(cookies[1].starts_with("server=") && cookies[1].ends_with("; Path=/; HttpOnly; SameSite=Lax"));
}

/// A response that is kept for others never carries a cookie for one client,
/// nor does the cookie keep it from being stored.
#[tokio::test]
async fn what_is_stored_goes_out_without_the_cookie() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&[origin.address]).await;
    let mut client = RawClient::connect(seawall.http).await;
    // It states no lifetime: for a request with cookies it would not be stored.
    client.send(request("server=0123456789abcdef")).await;
    origin.next().await.answer(ok("", "whole")).await;
    let filled = client.response().await;
    assert!(filled.field("cache-status").unwrap().contains("stored"), "{filled:?}");
    assert_eq!(filled.field("set-cookie"), None);
    client.send(request("server=0123456789abcdef")).await;
    let hit = client.response().await;
    assert!(hit.field("cache-status").unwrap().contains("hit"), "{hit:?}");
    assert_eq!(hit.field("set-cookie"), None);
}

/// What a 304 confirms was kept for others before.
#[tokio::test]
async fn what_is_confirmed_goes_out_without_the_cookie() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&[origin.address]).await;
    let mut client = RawClient::connect(seawall.http).await;
    let fields = "Cache-Control: no-cache, max-age=60\r\nETag: \"a\"\r\n";
    client.send(request("")).await;
    origin.next().await.answer(ok(fields, "whole")).await;
    assert_eq!(client.response().await.field("set-cookie"), None);
    client.send(request("")).await;
    origin.next().await.answer(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")).await;
    let confirmed = client.response().await;
    assert_eq!((confirmed.content.as_slice(), confirmed.field("set-cookie")), (&b"whole"[..], None));
}
