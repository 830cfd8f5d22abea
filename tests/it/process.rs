//! The program as a process: what signals do to it, and what a crash leaves.

use std::fs;

use rustix::process::{Signal, kill_process};

use super::support::acme_server::with_unwritable_certificate;
use super::support::client::{Alpn, Client};
use super::support::origin::{Origin, ok};
use super::support::process::{Place, Seawall, words};
use super::support::raw::RawClient;
use super::support::slow_file::SlowFile;
use super::support::{eventually, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn site(origin: &Origin) -> String {
    let address = origin.address;
    format!("[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n")
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

#[tokio::test]
async fn the_first_signal_after_a_drain_was_asked_for_cuts_nothing() {
    let mut origin = Origin::start().await;
    for is_upgrade in [false, true] {
        let mut seawall = Seawall::start(&site(&origin)).await;
        let mut client = RawClient::connect(seawall.http).await;
        client.send(GET).await;
        let arrival = origin.next().await;
        let draining = seawall.pid();
        let output = if is_upgrade { seawall.upgrade().await } else { seawall.ask("drain", &[]).await };
        assert!(output.status.success(), "{}", words(&output));
        kill_process(draining, Signal::TERM).unwrap();
        let said = "another signal ends it at once";
        eventually("the signal is heard", || seawall.diagnostics().contains(said).then_some(())).await;
        arrival.answer(ok("", "whole")).await;
        let res = client.response().await;
        assert_eq!((res.status(), res.content.as_slice()), (200, b"whole".as_slice()));
        assert_eq!(seawall.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_second_signal_after_a_drain_was_asked_for_ends_at_once() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let held = origin.next().await;
    assert!(seawall.ask("drain", &[]).await.status.success());
    seawall.terminate();
    let said = "another signal ends it at once";
    eventually("the signal is heard", || seawall.diagnostics().contains(said).then_some(())).await;
    seawall.terminate();
    assert_eq!(seawall.exit().await.code(), Some(1));
    drop(held);
}

#[tokio::test]
async fn a_signal_during_the_start_ends_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let slow = SlowFile::of_site("site.test", &place.path().join("state"));
        place.configure("[site.\"site.test\"]\norigins = [\"127.0.0.1:9\"]\ntls = \"internal\"\n");
        let mut seawall = place.begin();
        let waits = slow.is_read().await;
        seawall.signal(signal);
        assert_eq!(seawall.exit().await.code(), Some(0));
        let said = seawall.diagnostics();
        assert!(said.contains("ended by a signal before it served"), "{said}");
        drop(waits);
    }
}

#[tokio::test]
async fn signals_that_end_other_programs_gracefully_do_so_or_nothing() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(&origin)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = origin.next().await;
    seawall.signal(Signal::USR2);
    eventually("the signal is heard", || seawall.diagnostics().contains("`seawall upgrade`").then_some(()))
        .await;
    seawall.signal(Signal::QUIT);
    seawall.refuses_connections().await;
    arrival.answer(ok("", "whole")).await;
    let res = client.response().await;
    assert_eq!((res.status(), res.content.as_slice()), (200, b"whole".as_slice()));
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test]
async fn over_http2_too_the_answer_under_way_is_finished() {
    let mut origin = Origin::start().await;
    let address = origin.address;
    let mut seawall = Seawall::start(&format!(
        "[site.\"localhost\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n"
    ))
    .await;
    let mut client = Client::connect(seawall.https, &seawall.ca(), "localhost", Alpn::H2).await;
    let get = async {
        let res = client.get("/").await;
        (client, res)
    };
    let drain = async {
        let arrival = origin.next().await;
        seawall.terminate();
        seawall.refuses_connections().await;
        arrival.answer(ok("", "late")).await;
    };
    let ((client, res), ()) = tokio::join!(get, drain);
    assert_eq!((res.status().as_u16(), &res.body()[..]), (200, b"late".as_slice()));
    // The client keeps its connection; the drain would take 30 s.
    assert_eq!(seawall.exit().await.code(), Some(0));
    drop(client);
}

#[tokio::test]
async fn what_does_not_end_in_the_drain_is_cut() {
    let mut origin = Origin::start().await;
    let config = format!("limits.drain_timeout = \"1s\"\n{}", site(&origin));
    let mut seawall = Seawall::start(&config).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let held = origin.next().await;
    seawall.terminate();
    client.closed().await;
    assert_eq!(seawall.exit().await.code(), Some(0));
    assert!(seawall.read("stderr").contains("the drain took too long"), "{}", seawall.read("stderr"));
    drop(held);
}

#[tokio::test]
async fn after_a_crash_it_starts_again_in_the_same_place() {
    let origin = Origin::answering(ok("", "hello")).await;
    let internal = format!("[site.\"site.test\"]\norigins = [\"{}\"]\nhealth = false\n", origin.address);
    let mut seawall = Seawall::start(&internal).await;
    let ca = fs::read(seawall.ca()).unwrap();
    seawall.crash_and_restart().await;
    assert_eq!(fs::read(seawall.ca()).unwrap(), ca);
    let status = seawall.ask("status", &[]).await;
    assert!(status.status.success(), "the admin socket of the dead one is replaced: {}", words(&status));
}

#[tokio::test]
async fn what_could_not_be_written_is_written_at_the_end() {
    let (_authority, mut seawall, file) = with_unwritable_certificate().await;
    fs::remove_dir(&file).unwrap();
    seawall.terminate();
    assert_eq!(seawall.exit().await.code(), Some(0));
    let pem = fs::read_to_string(&file).unwrap();
    assert!(pem.contains("PRIVATE KEY") && pem.contains("CERTIFICATE"));
    assert!(!file.with_extension("order.json").exists());
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_opened_anew() {
    let origin = Origin::answering(ok("", "hello")).await;
    let address = origin.address;
    let seawall = Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n"
    ))
    .await;
    let get = async |path: &str| {
        let mut client = RawClient::connect(seawall.http).await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), 200);
    };
    get("/before").await;
    seawall.access_records(1).await;
    let (log, moved) = (seawall.directory().join("access.log"), seawall.directory().join("access.log.1"));
    fs::rename(&log, &moved).unwrap();
    seawall.signal(Signal::HUP);
    eventually("a new log", || log.exists().then_some(())).await;
    get("/after").await;
    assert_eq!(seawall.access_records(1).await[0]["path"], "/after");
    let moved = fs::read_to_string(&moved).unwrap();
    assert!(moved.contains("/before") && !moved.contains("/after"), "{moved}");
}
