//! Purges of the running program: by the command line and by requests, in both
//! tiers, and for good.

use std::path::Path;

use super::support::origin::Origin;
use super::support::process::{Place, Seawall, command, output, words};
use super::support::raw::{Message, RawClient};

const PAGE: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nSurrogate-Key: page all\r\n\
                    Content-Length: 4\r\n\r\npage";
const TOKEN: &str = "correct-horse-battery";

fn tables(origin: std::net::SocketAddr, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "[cache]\ndisk = {{ path = \"{directory}/cache\", size = \"64MiB\" }}\n\
         purge_token = {{ file = \"{directory}/token\" }}\n\
         [site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n"
    )
}

async fn edge(directory: &Path) -> Seawall {
    std::fs::write(directory.join("token"), format!("{TOKEN}\n")).unwrap();
    let origin = Origin::answering(PAGE).await;
    Seawall::start(&tables(origin.address, directory)).await
}

async fn get(seawall: &Seawall, path: &str) -> String {
    let req = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let res = RawClient::ask(seawall.http, req).await;
    assert_eq!((res.status(), res.content.as_slice()), (200, b"page".as_slice()));
    res.field("cache-status").unwrap().to_owned()
}

/// Stores some pages, and waits until they are on the disk.
async fn stored(seawall: &Seawall, pages: u64) {
    for page in 0..pages {
        assert!(get(seawall, &format!("/{page}")).await.contains("stored"));
    }
    seawall.metric_is("seawall_disk_objects", pages).await;
}

async fn purge(seawall: &Seawall, arguments: &[&str]) -> String {
    let output = seawall.ask("purge", arguments).await;
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

async fn sent(seawall: &Seawall, path: &str, fields: &str) -> Message {
    let req = format!("PURGE {path} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
    RawClient::ask(seawall.http, req).await
}

#[tokio::test]
async fn the_command_line_purges_both_tiers() {
    let directory = tempfile::tempdir().unwrap();
    let seawall = edge(directory.path()).await;
    for (arguments, gone) in [
        (&["http://site.test/0", "site.test/1"][..], 2),
        (&["--prefix", "site.test/0"], 1),
        (&["--host", "site.test"], 3),
        (&["--host", "other.test"], 0),
        (&["--tag", "none", "--tag", "page"], 3),
        (&["--all"], 3),
        (&["--tag", "all", "--soft"], 3),
    ] {
        purge(&seawall, &["--all"]).await;
        stored(&seawall, 3).await;
        let said = purge(&seawall, arguments).await;
        assert_eq!(said, format!("purged {gone} in memory, {gone} on the disk\n"), "{arguments:?}");
        let is_soft = arguments.contains(&"--soft");
        for page in 0..3 {
            let is_gone = page < gone;
            let status = get(&seawall, &format!("/{page}")).await;
            let expected = match (is_gone, is_soft) {
                (false, _) => "hit",
                (true, false) => "fwd=uri-miss",
                (true, true) => "fwd=stale",
            };
            assert!(status.contains(expected), "{arguments:?} /{page}: {status}");
        }
    }
    let json = purge(&seawall, &["--all", "--json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&answer["complete"], &answer["durable"]), (&true.into(), &true.into()));
    seawall.metric_is("seawall_cache_purges_total{kind=\"host\"}", 2).await;
}

#[tokio::test]
async fn what_is_no_purge_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let seawall = edge(directory.path()).await;
    for (arguments, reason) in [
        (&["/x"][..], "`/x` is no URL"),
        (&["--host", "a b"], "`a b` is no host"),
        (&["--tag", " "], "is no tag"),
    ] {
        let output = seawall.ask("purge", arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(words(&output).contains(reason), "{}", words(&output));
    }
    for arguments in [&["purge"][..], &["purge", "--soft"], &["purge", "--all", "a.test/"]] {
        assert_eq!(output(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn requests_purge_with_the_token_only() {
    let directory = tempfile::tempdir().unwrap();
    let seawall = edge(directory.path()).await;
    stored(&seawall, 2).await;
    let (right, wrong) = (format!("Authorization: Bearer {TOKEN}\r\n"), "Authorization: Bearer guess\r\n");
    for fields in ["", wrong] {
        let refused = sent(&seawall, "/0", fields).await;
        assert_eq!((refused.status(), refused.field("www-authenticate")), (401, Some("Bearer")));
        assert!(get(&seawall, "/0").await.contains("hit"));
    }
    let purged = sent(&seawall, "/0", &right).await;
    assert_eq!((purged.status(), purged.field("cache-control")), (200, Some("no-store")));
    let answer: serde_json::Value = serde_json::from_slice(&purged.content).unwrap();
    assert_eq!(answer["purged"], serde_json::json!({ "memory": 1, "disk": 1 }));
    assert!(get(&seawall, "/0").await.contains("fwd=uri-miss"));
    assert!(get(&seawall, "/1").await.contains("hit"));
    let by_tag = sent(&seawall, "/", &format!("{right}Surrogate-Key: page\r\n")).await;
    let answer: serde_json::Value = serde_json::from_slice(&by_tag.content).unwrap();
    assert_eq!(answer["purged"]["memory"], 2);
    let told = seawall.diagnostics() + &seawall.read("access.log");
    assert!(!told.contains(TOKEN), "a token is in a log");
}

#[tokio::test]
async fn a_purge_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut seawall = edge(directory.path()).await;
    for arguments in [&["--tag", "page"][..], &["--all"], &["site.test/0", "site.test/1"]] {
        stored(&seawall, 2).await;
        purge(&seawall, arguments).await;
        seawall.crash_and_restart().await;
        for page in 0..2 {
            let status = get(&seawall, &format!("/{page}")).await;
            assert!(status.contains("fwd=uri-miss"), "{arguments:?} /{page}: {status}");
        }
        purge(&seawall, &["--all"]).await;
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_an_error_of_the_config() {
    let place = Place::new();
    for (written, reason) in [
        ("\"0123456789abcdef\"", "a secret does not stand in the file"),
        ("{ env = \"SEAWALL_NO_SUCH_VARIABLE\" }", "SEAWALL_NO_SUCH_VARIABLE is not in the environment"),
        ("{ file = \"/nonexistent/token\" }", "cannot read /nonexistent/token"),
        ("{ file = \"/dev/null\" }", "shorter than 16 bytes"),
        ("{}", "says nothing"),
        ("{ env = \"A\", file = \"b\" }", "two places for one secret"),
    ] {
        let tables =
            format!("[cache]\npurge_token = {written}\n[site.\"a.test\"]\norigins = [\"127.0.0.1:9\"]\n");
        place.configure(&tables);
        let output = super::support::process::finished(
            command(&["check", "-c"]).arg(place.config()).env_remove("SEAWALL_NO_SUCH_VARIABLE"),
        )
        .await;
        assert_eq!(output.status.code(), Some(1), "{written}");
        assert!(words(&output).contains(reason), "{}", words(&output));
    }
}
