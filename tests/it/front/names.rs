//! Which site a request is for: Host, absolute targets, SNI, the redirect to
//! https.

use super::{Origin, Seawall, edge, edge_before, ok};
use crate::support::client::{Alpn, Client};
use crate::support::ports::free_address;
use crate::support::raw::RawClient;

#[tokio::test]
async fn an_unknown_host_reaches_nobody() {
    let (seawall, origin) = edge("").await;
    let res = RawClient::ask(seawall.http, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!(res.status(), 404);
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn an_absolute_target_is_taken_apart() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("GET http://SITE.test:80/a?b HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.start, "GET /a?b HTTP/1.1");
    assert_eq!(arrival.request.field("host"), Some("site.test"));
    arrival.answer(ok("", "")).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn the_host_is_passed_on_in_normal_form() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    for (written, normal) in
        [("SITE.Test.", "site.test"), ("site.test:80", "site.test"), ("site.test:81", "site.test:81")]
    {
        let mut client = RawClient::connect(seawall.http).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {written}\r\n\r\n")).await;
        let arrival = origin.next().await;
        assert_eq!(arrival.request.field("host"), Some(normal), "{written}");
        arrival.answer(ok("Cache-Control: no-store\r\n", "")).await;
        client.response().await;
    }
}

#[tokio::test]
async fn cleartext_is_redirected_to_https() {
    let origin = Origin::answering(ok("", "hello")).await;
    let address = origin.address;
    let seawall = Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n"
    ))
    .await;
    let res = RawClient::ask(seawall.http, "GET /a%20b?c=d HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(res.status(), 308);
    let location = res.field("location").unwrap();
    assert!(location.starts_with("https://site.test") && location.ends_with("/a%20b?c=d"), "{location}");
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_connection_for_one_site_does_not_serve_another() {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    let address = origin.address;
    let seawall = Seawall::start(&format!(
        "[pool.app]\norigins = [\"{address}\"]\nhealth = false\n\
         [site.\"one.test\"]\npool = \"app\"\ntls = \"internal\"\naliases = [\"www.one.test\"]\n\
         [site.\"other.test\"]\npool = \"app\"\ntls = \"internal\"\n"
    ))
    .await;
    for alpn in [Alpn::H1, Alpn::H2] {
        for (host, status) in
            [("one.test", 200), ("www.one.test", 200), ("other.test", 421), ("nobody.test", 421)]
        {
            let mut client = Client::connect(seawall.https, &seawall.ca(), "one.test", alpn).await;
            let res = client.get_of(host, "/").await.unwrap();
            // A host of no site may be called unknown as well as misdirected.
            let unknown = host == "nobody.test" && res.status() == 404;
            assert!(unknown || res.status() == status, "{host} by {alpn:?}: {}", res.status());
        }
    }
    assert_eq!(origin.requests(), 4);
}

/// RFC 6797 s7.1: browsers may get to know of it by any response.
#[tokio::test]
async fn browsers_are_told_to_come_by_https_whatever_the_answer() {
    let origin = Origin::answering(ok("", "hello")).await;
    let (address, dead) = (origin.address, free_address());
    let seawall = Seawall::start(&format!(
        r#"
[site."one.test"]
aliases = ["alias.one.test"]
redirect_aliases = true
origins = ["{address}"]
hsts = true
[[site."one.test".route]]
match = {{ path = "/old/*" }}
redirect = {{ to = "/new/{{rest}}" }}
[site."dead.test"]
origins = ["{dead}"]
health = false
hsts = true
[site."other.test"]
origins = ["{address}"]
"#
    ))
    .await;
    for (host, path, status, is_told) in [
        ("one.test", "/", 200, true),
        ("one.test", "/old/x", 308, true),
        ("alias.one.test", "/", 308, true),
        ("dead.test", "/", 502, true),
        ("other.test", "/", 200, false),
    ] {
        for alpn in [Alpn::H1, Alpn::H2] {
            let res = Client::connect(seawall.https, &seawall.ca(), host, alpn).await.get(path).await;
            assert_eq!(res.status(), status, "{host}{path}");
            let told = res.headers().get("strict-transport-security");
            let expected = is_told.then_some("max-age=63072000; includeSubDomains");
            assert_eq!(told.map(|told| told.to_str().unwrap()), expected, "{host}{path}");
        }
    }
    let res = RawClient::ask(seawall.http, "GET / HTTP/1.1\r\nHost: one.test\r\n\r\n").await;
    assert_eq!((res.status(), res.field("strict-transport-security")), (308, None));
}
