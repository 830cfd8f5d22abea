//! What keeps a new process from taking over changes nothing for the running one.

use std::fs;

use super::*;
use crate::support::acme_server::with_unwritable_certificate;
use crate::support::process::{command, finished, output};

/// Has a new process try to take over, which must fail and say so.
async fn refused(seawall: &mut Seawall, why: &str) {
    let before = seawall.pid();
    let output = seawall.upgrade().await;
    assert!(!output.status.success() && words(&output).contains(why), "{}", words(&output));
    assert_eq!(status(seawall).await["pid"], before.as_raw_nonzero().get());
}

#[tokio::test]
async fn one_that_does_not_start_leaves_the_running_one_serving() {
    let (mut seawall, origin) = edge().await;
    let good = tables(&seawall.place, origin.address);
    assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 200);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (config, why) in [
        (good.replace("origins", "orgins"), "seawall.toml:"),
        (format!("admin.metrics = \"{}\"\n{good}", taken.local_addr().unwrap()), "taken"),
        (good.replace("tls = \"internal\"", "tls = { cert = \"none.pem\", key = \"none.pem\" }"), "none.pem"),
    ] {
        seawall.place.configure(&config);
        refused(&mut seawall, why).await;
        let res = RawClient::ask(seawall.http, GET).await;
        assert!(res.field("cache-status").unwrap().contains("hit"), "{why}");
    }
    // The disk tier is the running one's again, and goes to the next one that starts.
    let purge = seawall.ask("purge", &["--all"]).await;
    assert!(words(&purge).contains("1 in memory, 1 on the disk"), "{}", words(&purge));
    assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 200);
    seawall.place.configure(&good);
    upgraded(&mut seawall).await;
    assert!(RawClient::ask(seawall.http, GET).await.field("cache-status").unwrap().contains("hit"));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn what_stands_where_the_admin_socket_is_to_be_stays() {
    let (mut seawall, _origin) = edge().await;
    let config = seawall.place.config();
    let [before, file, another] =
        ["admin.sock", "file", "another.sock"].map(|name| seawall.directory().join(name));
    fs::write(&file, "precious").unwrap();
    let _another = std::os::unix::net::UnixListener::bind(&another).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    for (socket, why) in [(&file, "is no socket"), (&another, "another seawall runs already")] {
        let [before, socket] = [&before, socket].map(|path| path.display().to_string());
        fs::write(&config, text.replace(&before, &socket)).unwrap();
        let output = output(&["upgrade", "--socket", &before]).await;
        assert!(!output.status.success() && words(&output).contains(why), "{}", words(&output));
    }
    fs::write(&config, &text).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(status(&seawall).await["pid"], seawall.pid().as_raw_nonzero().get());
    upgraded(&mut seawall).await;

    // A name that is free is taken, and the one before given up.
    let free = seawall.directory().join("free.sock");
    let [old, new] = [&before, &free].map(|path| path.display().to_string());
    fs::write(&config, text.replace(&old, &new)).unwrap();
    let output = output(&["upgrade", "--socket", &old]).await;
    assert!(output.status.success(), "{}", words(&output));
    eventually("the old name goes", || (!before.exists()).then_some(())).await;
    assert_ne!(status(&seawall).await["pid"], seawall.pid().as_raw_nonzero().get());
    assert!(seawall.ask("drain", &[]).await.status.success());
    eventually("the new name goes", || (!free.exists()).then_some(())).await;
}

#[tokio::test]
async fn what_was_not_started_from_a_config_is_not_taken_over_from() {
    let (seawall, _origin) = edge().await;
    let config = seawall.place.config();
    let alone = finished(&mut command(&["run", "-c", config.to_str().unwrap(), "--take-over"])).await;
    assert!(!alone.status.success() && words(&alone).contains("nothing is there to take over from"));
}

/// A new process would have nothing but a self-signed one.
#[tokio::test]
async fn a_certificate_in_memory_only_keeps_the_process_that_has_it() {
    let (authority, mut seawall, in_the_way) = with_unwritable_certificate().await;
    refused(&mut seawall, "a certificate is in memory only").await;
    // Whoever is killed leaves that to the next process.
    assert!(in_the_way.with_extension("order.json").exists());

    fs::remove_dir(&in_the_way).unwrap();
    upgraded(&mut seawall).await;
    let output = seawall.ask("certs", &["--json"]).await;
    let certificates: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(certificates[0]["not_after"].is_string(), "{certificates}");
    assert_eq!(authority.orders().len(), 1);
}

#[tokio::test]
async fn a_draining_edge_is_not_taken_over_from() {
    let (mut seawall, _origin, mut client, arrival) = edge_with_request().await;
    seawall.terminate();
    seawall.refuses_connections().await;
    refused(&mut seawall, "draining").await;
    arrival.answer(ok("", "hello")).await;
    assert_eq!(client.response().await.status(), 200);
}
