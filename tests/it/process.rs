//! The program as a process: command line, wrong configurations, signals.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use super::support::origin::{Origin, ok};
use super::support::process::{Seawall, configuration, output};
use super::support::raw::RawClient;
use super::support::{ports, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn site(origin: &Origin) -> String {
    let address = origin.address;
    format!("[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n")
}

fn diagnostics(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn without_arguments_it_explains_itself() {
    let output = output(&[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(diagnostics(&output).contains("Usage"), "{}", diagnostics(&output));
}

#[tokio::test]
async fn the_version_is_the_package_s() {
    let output = output(&["--version"]).await;
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), concat!("seawall ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn every_error_of_a_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seawall.toml");
    let text = "stat_dir = \"/tmp\"\n[limits]\nidle_timeout = 75\n[site.\"a.test\"]\npool = \"nowhere\"\n";
    fs::write(&file, text).unwrap();
    for command in ["check", "run"] {
        let output = output(&[command, "-c", file.to_str().unwrap()]).await;
        let said = diagnostics(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for place in ["seawall.toml:1:1", "seawall.toml:3:16", "seawall.toml:5:8"] {
            assert!(said.contains(place), "{place} is not in\n{said}");
        }
        assert!(said.contains("state_dir"), "a wrong key comes with the right one:\n{said}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_named() {
    let output = output(&["run", "-c", "/nowhere/seawall.toml"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(diagnostics(&output).contains("/nowhere/seawall.toml"), "{}", diagnostics(&output));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, https) = (taken.local_addr().unwrap(), ports::free_address());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seawall.toml");
    let site = "[site.\"site.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\ntls = \"off\"\n";
    fs::write(&file, configuration(directory.path(), http, https, site)).unwrap();
    let output = output(&["run", "-c", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(diagnostics(&output).contains(&http.to_string()), "{}", diagnostics(&output));
}

#[tokio::test]
async fn the_first_signal_finishes_the_answer_under_way() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let mut arrival = origin.next().await;
    arrival.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;

    seawall.terminate();
    seawall.refuses_connections().await;
    arrival.send(" last").await;

    let res = client.response().await;
    assert_eq!((res.status(), res.content.as_slice()), (200, b"first last".as_slice()));
    client.closed().await;
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_answer_that_begins_in_the_drain_closes_its_connection() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = origin.next().await;

    seawall.terminate();
    seawall.refuses_connections().await;
    arrival.answer(ok("", "late")).await;

    let res = client.response().await;
    assert_eq!((res.status(), res.field("connection")), (200, Some("close")));
    client.closed().await;
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_unused_connection_does_not_hold_the_end_up() {
    let origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let client = RawClient::connect(seawall.http).await;
    seawall.terminate();
    client.closed().await;
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_second_signal_ends_at_once() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let held = origin.next().await;
    seawall.terminate();
    seawall.refuses_connections().await;
    seawall.terminate();
    // The drain would take 30 s, longer than any test waits.
    within("the end of the program", seawall.exit()).await;
    drop(held);
}
