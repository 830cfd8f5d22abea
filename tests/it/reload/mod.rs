//! Another config while the program runs: what is under way ends as it began,
//! what comes next is served as the new one says, and a wrong one changes nothing.

mod files;
mod listeners;
mod load;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::Duration;

use http::StatusCode;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::acme_server::{AcmeServer, Options};
use crate::support::client::{Alpn, Client};
use crate::support::origin::{Origin, ok};
use crate::support::process::{Place, Seawall, words};
use crate::support::raw::RawClient;
use crate::support::slow_file::SlowFile;
use crate::support::websocket::tunnel;
use crate::support::{eventually, ports, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A site without TLS before one origin server.
fn site(origin: SocketAddr) -> String {
    format!("[site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n")
}

/// What is not stored, so that every request goes to an origin server.
fn personal(content: &str) -> String {
    ok("Cache-Control: no-store\r\n", content)
}

/// Has `seawall` go on with `tables`; what it said to that.
async fn reload(seawall: &Seawall, tables: &str) -> Output {
    seawall.place.configure(tables);
    seawall.ask("reload", &[]).await
}

/// The same, which must come into force.
async fn reloaded(seawall: &Seawall, tables: &str) -> String {
    let output = reload(seawall, tables).await;
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

async fn content(seawall: &Seawall) -> String {
    let res = RawClient::ask(seawall.http, GET).await;
    assert_eq!(res.status(), 200);
    String::from_utf8(res.content).unwrap()
}

async fn generation(seawall: &Seawall) -> u64 {
    let said = seawall.ask("status", &["--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    status["generation"].as_u64().unwrap()
}

#[tokio::test]
async fn the_next_request_of_a_connection_is_served_as_the_new_config_says() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let seawall = Seawall::start(&site(origins[0].address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    assert_eq!(client.response().await.content, b"old");

    let said = reloaded(&seawall, &site(origins[1].address)).await;
    assert!(said.contains(&format!("~ site site.test: origins +{}", origins[1].address)), "{said}");
    client.send(GET).await;
    assert_eq!(client.response().await.content, b"new");
    assert_eq!(generation(&seawall).await, 2);
    seawall.metric_is("seawall_config_generation", 2).await;
}

#[tokio::test]
async fn an_answer_under_way_ends_as_it_began() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let mut arrival = old.next().await;
    arrival.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;

    reloaded(&seawall, &site(new.address)).await;
    assert_eq!(content(&seawall).await, "new");
    arrival.send(" last").await;
    assert_eq!(client.response().await.content, b"first last");
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_gets_it_from_where_it_was_sent() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nonce").await;
    let arrival = old.next().await;

    reloaded(&seawall, &site(new.address)).await;
    arrival.answer(personal("done")).await;
    assert_eq!(client.response().await.content, b"done");
    assert_eq!(new.requests(), 0);
}

#[tokio::test]
async fn a_tunnel_outlives_the_site_it_leads_to() {
    let mut origin = Origin::start().await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let (client, mut server) = tunnel(&seawall, &mut origin).await;
    let mut client = client.into_stream();

    reloaded(&seawall, &site(origin.address).replace("site.test", "other.test")).await;
    assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 404);
    for _ in 0..2 {
        let mut received = [0; 4];
        client.write_all(b"ping").await.unwrap();
        within("a message", server.read_exact(&mut received)).await.unwrap();
        assert_eq!(&received, b"ping");
        server.write_all(b"pong").await.unwrap();
        within("a message", client.read_exact(&mut received)).await.unwrap();
        assert_eq!(&received, b"pong");
    }
}

#[tokio::test]
async fn a_wrong_config_names_its_place_and_changes_nothing() {
    let origin = Origin::answering(personal("as before")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let wrong = site(origin.address).replace("site.test", "other.test").replace("health", "helth");
    let output = reload(&seawall, &wrong).await;
    assert_eq!(output.status.code(), Some(1));
    let said = words(&output);
    assert!(said.contains("seawall.toml:8:1\n"), "{said}");
    assert!(said.contains("helth") && said.contains("health"), "{said}");
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
    seawall.metric_is("seawall_reloads_failed_total", 1).await;

    // The signal says it in the log.
    seawall.signal(Signal::HUP);
    eventually("the log says why", || seawall.diagnostics().contains("seawall.toml:8:1").then_some(())).await;
    seawall.metric_is("seawall_reloads_failed_total", 2).await;
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
}

#[tokio::test]
async fn an_edge_that_drains_takes_no_other_config() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = old.next().await;
    assert!(seawall.ask("drain", &[]).await.status.success());
    eventually("it drains", || std::net::TcpStream::connect(seawall.http).err()).await;

    let output = reload(&seawall, &site(new.address)).await;
    assert!(!output.status.success() && words(&output).contains("draining"), "{}", words(&output));
    assert_eq!(generation(&seawall).await, 1);
    arrival.answer(personal("old")).await;
    assert_eq!(client.response().await.content, b"old");
}

#[tokio::test]
async fn an_edge_that_is_told_to_end_during_a_reload_listens_no_more() {
    let mut origin = Origin::start().await;
    let mut seawall = Seawall::start(&site(origin.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = origin.next().await;

    let slow = SlowFile::of_site("slow.test", &seawall.directory().join("state"));
    let another = site(origin.address).replace("site.test", "slow.test").replace("off", "internal");
    seawall.place.configure(&(site(origin.address) + &another));
    seawall.signal(Signal::HUP);
    let waits = slow.is_read().await;
    seawall.terminate();
    eventually("it drains", || seawall.diagnostics().contains("draining").then_some(())).await;
    drop(waits);
    seawall.refuses_connections().await;

    arrival.answer(personal("whole")).await;
    assert_eq!(client.response().await.content, b"whole");
    assert_eq!(seawall.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_new_site_has_its_certificate_and_connections_that_are_there_stay() {
    let origin = Origin::answering(personal("hello")).await;
    let address = origin.address;
    let internal = |names: &[&str]| -> String {
        let site = |name| {
            format!("[site.\"{name}\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n")
        };
        names.iter().map(site).collect()
    };
    let seawall = Seawall::start(&internal(&["one.test"])).await;
    let mut before = Client::connect(seawall.https, &seawall.ca(), "one.test", Alpn::H2).await;
    assert_eq!(before.get("/").await.status(), 200);
    let said = reloaded(&seawall, &internal(&["one.test", "two.test"])).await;
    assert!(said.contains("+ site two.test"), "{said}");
    let mut new = Client::connect(seawall.https, &seawall.ca(), "two.test", Alpn::H1).await;
    assert_eq!(new.get("/").await.status(), 200);
    let mut again = Client::connect(seawall.https, &seawall.ca(), "one.test", Alpn::H2).await;
    assert_eq!(again.certificate, before.certificate, "what is stored is used again");
    assert_eq!(
        (before.get("/").await.status(), again.get("/").await.status()),
        (StatusCode::OK, StatusCode::OK)
    );
}

#[tokio::test]
async fn a_plan_tells_what_a_reload_would_change_and_changes_nothing() {
    let origin = Origin::answering(personal("hello")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let plan = async || words(&seawall.ask("plan", &[]).await);
    assert_eq!(plan().await, "nothing changes\n");
    let other = site(origin.address).replace("site.test", "other.test");
    seawall.place.configure(&format!("limits.body = \"1MiB\"\n{other}"));
    let said = plan().await;
    for line in ["+ site other.test", "- site site.test", "~ limits: body"] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("hello".to_owned(), 1));
    seawall.place.configure("nonsense = 1\n");
    let output = seawall.ask("plan", &[]).await;
    assert!(!output.status.success() && words(&output).contains("nonsense"), "{}", words(&output));
}

#[tokio::test]
async fn what_only_a_start_changes_is_said() {
    let origin = Origin::answering(personal("hello")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    seawall.place.configure(&site(origin.address));
    let text = fs::read_to_string(seawall.place.config()).unwrap().replace("workers = 2", "workers = 1");
    fs::write(seawall.place.config(), text).unwrap();
    let expected = "! only from the next start on: workers";
    assert!(words(&seawall.ask("plan", &[]).await).contains(expected));
    assert!(words(&seawall.ask("reload", &[]).await).contains(expected));
    assert!(words(&seawall.ask("plan", &[]).await).contains(expected), "it is still to come");
}

#[tokio::test]
async fn what_is_stored_and_what_was_done_by_hand_stays() {
    let cached = Origin::answering(ok("Cache-Control: max-age=600\r\n", "stored")).await;
    let other = Origin::answering(ok("", "other")).await;
    let address = cached.address;
    let tables = |further: &str| {
        format!(
            "[pool.app]\norigins = [\"{address}\", \"{}\"]\nhealth = false\n{further}\n\
             [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n",
            other.address
        )
    };
    let seawall = Seawall::start(&tables("")).await;
    let drained = seawall.ask("origins", &["drain", &other.address.to_string()]).await;
    assert!(drained.status.success(), "{}", words(&drained));
    assert_eq!(content(&seawall).await, "stored");
    for further in ["", "balance = \"round-robin\"\nslow_start = \"5s\"", "timeouts.connect = \"1s\""] {
        reloaded(&seawall, &format!("limits.body = \"1MiB\"\n{}", tables(further))).await;
        assert_eq!(content(&seawall).await, "stored");
        assert!(words(&seawall.ask("origins", &[]).await).contains("draining"), "{further}");
        // Nor is it asked for what is not stored.
        let res = RawClient::ask(seawall.http, GET.replace("/ ", &format!("/{} ", further.len()))).await;
        assert_eq!(res.content, b"stored");
    }
    assert_eq!((cached.requests(), other.requests()), (4, 0));
}
