//! `seawall explain` and `seawall cache` against the running program: why, what
//! is stored, and that asking changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use super::support::origin::Origin;
use super::support::process::{Place, Seawall, output, words};
use super::support::raw::RawClient;

/// An origin server whose answers follow from the path; counts what is not a
/// GET.
async fn edge() -> (Seawall, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let mut origin = Origin::start().await;
    let address = origin.address;
    let (requests, others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, counted_others) = (Arc::clone(&requests), Arc::clone(&others));
    tokio::spawn(async move {
        loop {
            let arrival = origin.next().await;
            counted.fetch_add(1, SeqCst);
            counted_others.fetch_add(usize::from(!arrival.request.start.starts_with("GET ")), SeqCst);
            let fields = match arrival.request.start.split(' ').nth(1).unwrap() {
                "/private" => "Cache-Control: private, max-age=60\r\n",
                "/cookie" => "Cache-Control: max-age=60\r\nSet-Cookie: session=secret; HttpOnly\r\n",
                "/nothing" => "",
                _ => {
                    "Cache-Control: max-age=60\r\nVary: Accept-Language\r\nETag: \"1\"\r\nSurrogate-Key: a b\r\n"
                }
            };
            arrival.answer(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 4\r\n\r\npage")).await;
        }
    });
    let tables = format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n\
         cache = {{ key = {{ query = \"sorted\", drop_query = [\"utm_*\"] }} }}\n\
         [[site.\"site.test\".route]]\nmatch = {{ path = \"/api/*\" }}\ncache = false\n\
         [[site.\"site.test\".route]]\nmatch = {{ path = \"/old/*\" }}\nredirect = {{ to = \"/new/{{rest}}\" }}\n"
    );
    (Seawall::start(&tables).await, requests, others)
}

async fn get(seawall: &Seawall, path: &str, fields: &str) -> String {
    let req = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
    RawClient::ask(seawall.http, req).await.field("cache-status").unwrap().to_owned()
}

async fn said(seawall: &Seawall, command: &str, arguments: &[&str]) -> String {
    let output = seawall.ask(command, arguments).await;
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

async fn explained(seawall: &Seawall, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(seawall, "explain", &[&["--json"], arguments].concat()).await).unwrap()
}

#[tokio::test]
async fn what_is_stored_is_told_with_its_variants() {
    let (seawall, requests, _) = edge().await;
    for language in ["de", "en"] {
        get(&seawall, "/page?b=1&a=2", &format!("Accept-Language: {language}\r\n")).await;
    }
    let url = "http://site.test/page?utm_source=mail&b=1&a=2";
    let told =
        explained(&seawall, &[url, "-H", "Accept-Language: de", "-H", "X-Forwarded-Host: evil.test"]).await;
    assert_eq!((&told["site"], &told["route"]), (&json!("site.test"), &json!([3, "every path"])));
    assert_eq!(told["target"], "/page?a=2&b=1");
    assert_eq!(told["key"][3], json!(["query", "a=2&b=1"]));
    assert_eq!(told["dropped_fields"], json!(["x-forwarded-host"]));
    assert!(told["cache_status"].as_str().unwrap().starts_with("Seawall; hit; ttl="));
    let stored = told["stored"].as_array().unwrap();
    assert_eq!(stored.len(), 2);
    let selected: Vec<_> = stored.iter().filter(|stored| stored["selected"] == true).collect();
    assert_eq!(selected.len(), 1);
    assert_eq!(selected[0]["varies_on"], json!([["Accept-Language", "de"]]));
    assert_eq!((&selected[0]["tags"], &selected[0]["tier"]), (&json!(["a", "b"]), &json!("memory")));
    let text = said(&seawall, "explain", &[url, "-H", "Accept-Language: fr"]).await;
    for part in [
        "fwd=vary-miss",
        "query a=2&b=1",
        "for Accept-Language: de",
        "that would be stored, with a lifetime of 60s (max-age)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(requests.load(SeqCst), 3, "two clients, and one explanation that asked");
    assert!(get(&seawall, "/page?a=2&b=1", "Accept-Language: fr\r\n").await.contains("fwd=vary-miss"));
}

#[tokio::test]
async fn each_rule_that_says_no_has_its_line_and_its_remedy() {
    let (seawall, requests, others) = edge().await;
    for (arguments, parts) in [
        (
            &["http://site.test/private"][..],
            &[
                "private, because the origin server sent `Cache-Control: private, max-age=60`",
                "Say public instead",
            ][..],
        ),
        (
            &["http://site.test/cookie"],
            &["set-cookie, because the origin server sent `Set-Cookie: session=...`", "ignore_cookies"],
        ),
        (&["http://site.test/nothing"], &["no-lifetime", "Send Cache-Control: max-age", "default_ttl"]),
        (
            &["http://site.test/page", "-H", "Authorization: Basic c2VjcmV0"],
            &["authorization, because the client sent `Authorization: Basic ...`"],
        ),
        (
            &["http://site.test/api/x"],
            &["fwd=bypass; detail=disabled", "Take `cache = false` from the route."],
        ),
        (&["http://site.test/old/x"], &["308 Permanent Redirect to /new/x"]),
        (&["http://other.test/"], &["no site of this name"]),
        (&["http://site.test/a/%2e%2e/b"], &["bad request: a dot segment"]),
        (&["http://site.test/x", "--no-fetch"], &["fwd=uri-miss", "nothing is stored under this key"]),
    ] {
        let text = said(&seawall, "explain", arguments).await;
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
    }
    assert_eq!((requests.load(SeqCst), others.load(SeqCst)), (5, 0));
    let stat: Value = serde_json::from_str(&said(&seawall, "cache", &["stat", "--json"]).await).unwrap();
    assert_eq!((&stat["usage"]["objects"], &stat["fills"]), (&json!(0), &json!(0)), "nothing was stored");
}

#[tokio::test]
async fn a_config_alone_tells_the_route_and_the_key() {
    let place = Place::new();
    place.configure("[site.\"a.test\"]\norigins = [\"127.0.0.1:9\"]\ncache = { ttl = \"5m\" }\n");
    let config = place.config();
    let output = output(&["explain", "a.test/x?y", "--dry", "-c", config.to_str().unwrap()]).await;
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    for part in ["https://a.test/x?y", "route         1: every path", "query y", "ttl = 300s", "fwd=uri-miss"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("origin server"));
}

#[tokio::test]
async fn the_cache_can_be_looked_through() {
    let (seawall, _, _) = edge().await;
    for path in ["/a", "/b/1", "/b/2"] {
        get(&seawall, path, "").await;
    }
    let list = said(&seawall, "cache", &["ls"]).await;
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains("memory     200") && list.contains("http://site.test/b/2"), "{list}");
    let part = said(&seawall, "cache", &["ls", "--prefix", "http://site.test/b/", "--limit", "1"]).await;
    assert!(part.contains("/b/") && !part.contains("/a") && part.contains("there may be more"), "{part}");
    assert_eq!(said(&seawall, "cache", &["ls", "--host", "other.test"]).await, "nothing is stored\n");
    let shown = said(&seawall, "cache", &["show", "site.test/a"]).await;
    assert!(shown.contains("lifetime 60s (max-age)") && shown.contains("tags a, b"), "{shown}");
    get(&seawall, "/a", "").await;
    let stat = said(&seawall, "cache", &["stat"]).await;
    for part in ["3 objects", "hit 1, miss 3", "hit ratio        25.0 %"] {
        assert!(stat.contains(part), "{part} is not in\n{stat}");
    }
}

#[tokio::test]
async fn what_cannot_be_explained_is_said_so() {
    let (seawall, _, _) = edge().await;
    for (arguments, reason) in [
        (&["ftp://site.test/"][..], "is no URL"),
        (&["http://site.test/", "-H", "no field"], "is no field: write NAME: VALUE"),
        (&["http://site.test/", "-H", "a b: c"], "`a b` is no field"),
    ] {
        let output = seawall.ask("explain", arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(words(&output).contains(reason), "{}", words(&output));
    }
    let output = seawall.ask("cache", &["ls", "--limit", "20000"]).await;
    assert!(words(&output).contains("10000 keys at most"), "{}", words(&output));
}
