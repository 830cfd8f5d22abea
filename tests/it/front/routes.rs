//! Sites by alias and wildcard, and what routes do: redirects, field edits,
//! cache rules.

use super::{Origin, Seawall, edge_before, ok};
use crate::support::origin::FixedOrigin;
use crate::support::raw::{Message, RawClient};

async fn ask(seawall: &Seawall, host: &str, target: &str) -> Message {
    let req = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    RawClient::ask(seawall.http, req).await
}

/// The site `site.test` with `keys` and routes before an origin server that
/// answers `fields`.
async fn site(keys: &str, fields: &str) -> (Seawall, FixedOrigin) {
    let origin = Origin::answering(ok(fields, "hello")).await;
    let address = origin.address;
    let seawall = Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n{keys}"
    ))
    .await;
    (seawall, origin)
}

#[tokio::test]
async fn a_site_answers_to_its_aliases_and_wildcards() {
    let keys = "aliases = [\"www.site.test\", \"*.site.test\"]\n";
    let (seawall, _origin) = site(keys, "Cache-Control: no-store\r\n").await;
    for (host, status) in [
        ("site.test", 200),
        ("WWW.site.test", 200),
        ("any.site.test", 200),
        ("a.b.site.test", 404),
        ("test", 404),
    ] {
        assert_eq!(ask(&seawall, host, "/").await.status(), status, "{host}");
    }
}

#[tokio::test]
async fn an_alias_can_lead_to_the_main_name() {
    let keys = "aliases = [\"www.site.test\"]\nredirect_aliases = true\n";
    let (seawall, origin) = site(keys, "").await;
    let res = ask(&seawall, "www.site.test", "/a?b").await;
    assert_eq!((res.status(), res.field("location")), (308, Some("http://site.test/a?b")));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_route_can_redirect() {
    let keys = "[[site.\"site.test\".route]]\nmatch = { path = \"/old/*\" }\n\
                redirect = { to = \"/new/{rest}{query}\", status = 301 }\n";
    let (seawall, origin) = site(keys, "Cache-Control: no-store\r\n").await;
    let res = ask(&seawall, "site.test", "/old/a%20b?c=d").await;
    assert_eq!((res.status(), res.field("location")), (301, Some("/new/a%20b?c=d")));
    assert_eq!(origin.requests(), 0);
    assert_eq!(ask(&seawall, "site.test", "/older").await.status(), 200);
}

#[tokio::test]
async fn a_route_edits_fields_both_ways() {
    let mut origin = Origin::start().await;
    let address = origin.address;
    let seawall = Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n\
         [[site.\"site.test\".route]]\nmatch = {{ path = \"/api/*\", method = [\"GET\"] }}\n\
         request_fields = {{ set = {{ X-Edge = \"seawall\" }}, remove = [\"X-Debug\"] }}\n\
         response_fields = {{ set = {{ X-Frame-Options = \"DENY\" }}, remove = [\"Server\"] }}\n"
    ))
    .await;
    let mut client = RawClient::connect(seawall.http).await;
    // A client's Connection does not take away what the route sets.
    client.send("GET /api/x HTTP/1.1\r\nHost: site.test\r\nConnection: X-Edge\r\nX-Debug: 1\r\n\r\n").await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.field("x-edge"), Some("seawall"));
    assert_eq!(arrival.request.field("x-debug"), None);
    arrival.answer(ok("Server: secret/1.0\r\nCache-Control: no-store\r\n", "")).await;
    let res = client.response().await;
    assert_eq!((res.field("x-frame-options"), res.field("server")), (Some("DENY"), None));
}

#[tokio::test]
async fn a_route_says_what_the_cache_may_do() {
    let keys = "[[site.\"site.test\".route]]\nmatch = { path = \"*.css\" }\ncache = { ttl = \"1h\" }\n\
                [[site.\"site.test\".route]]\nmatch = { path = \"/api/*\" }\ncache = false\n";
    let (seawall, origin) = site(keys, "").await;
    for (target, second) in [("/a.css", "hit"), ("/page", "fwd=uri-miss"), ("/api/x", "fwd=bypass")] {
        ask(&seawall, "site.test", target).await;
        let res = ask(&seawall, "site.test", target).await;
        let status = res.field("cache-status").unwrap();
        assert!(status.contains(second), "{target}: {status}");
    }
    assert_eq!(origin.requests(), 5);
}

#[tokio::test]
async fn what_two_servers_could_read_in_two_ways_is_refused() {
    let origin = Origin::answering(ok("", "hello")).await;
    let seawall = edge_before(origin.address, "").await;
    for target in ["/a/../b", "/a/%2e%2e/b", "/a%00b", "/a%zz"] {
        assert_eq!(ask(&seawall, "site.test", target).await.status(), 400, "{target}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_would_take_two_routes_is_refused() {
    let keys = "[[site.\"site.test\".route]]\nmatch = { path = \"/admin/*\" }\n\
                redirect = { to = \"/login\" }\n";
    let (seawall, origin) = site(keys, "").await;
    for (target, status) in [
        ("/admin/x", 308),
        ("/admin/%78", 308),
        ("/%61dmin/x", 400),
        ("/admin%2Fx", 400),
        ("/a%20b%2Fc%78", 200),
    ] {
        assert_eq!(ask(&seawall, "site.test", target).await.status(), status, "{target}");
    }
    assert_eq!(origin.requests(), 1);
}
