//! Records for dns-01 at a real name server, by updates that are signed with a
//! key (RFC 2136, RFC 8945).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seawall::base::{Clock, ManualClock, SystemClock};
use seawall::config::Config;
use tempfile::TempDir;

use super::acme::{Edge, config};
use super::support::eventually;
use super::support::named::{Named, OTHER, SECRET};
use super::support::pebble::Authority;
use super::support::ports::free_address;

/// A wildcard and the name under it, proven by the name server with `dns`, which
/// is asked for aliases, too.
fn wildcard(state: &TempDir, authority: &Authority, named: &Named, name: &str, dns: &str) -> Config {
    let acme = format!(
        "directory = {:?}\nresolver = \"{}\"\ndns = {{ provider = \"rfc2136\", wait = \"0s\", {dns} }}",
        authority.url(),
        named.address
    );
    config(state.path(), &authority.root_file(), &["dns-01"], &acme, [&format!("*.{name}"), name])
}

/// The keys of the config for a key of the server.
fn keys(directory: &Path, named: &Named, key: &str, secret: &str) -> String {
    let file = directory.join("tsig");
    fs::write(&file, secret).unwrap();
    format!("server = \"{}\", key = \"{key}\", secret = {{ file = {file:?} }}", named.address)
}

/// Two records of one name, beside one that is another's.
#[tokio::test]
async fn a_wildcard_is_proven_by_a_name_server() {
    let named = Named::start().await;
    let authority = Authority::prepare(free_address(), free_address());
    let _pebble = authority.start_with(named.address).await;
    // A zone is found, or named; a name may begin one; the record may be elsewhere.
    for (name, record, key, more) in [
        ("wild.example.test", "_acme-challenge.wild.example.test", "seawall", ""),
        ("alias.example.test", "proofs.deep.example.test", "seawall", ""),
        (
            "deep.example.test",
            "_acme-challenge.deep.example.test",
            "seawall-hmac-sha512",
            ", algorithm = \"hmac-sha512\", zone = \"deep.example.test\"",
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let dns = keys(state.path(), &named, key, SECRET) + more;
        let edge = Edge::run(&wildcard(&state, &authority, &named, name, &dns), Arc::new(SystemClock)).await;
        let status = edge.certified().await;
        assert_eq!((status.last_error, edge.metrics.certificate_failures.value()), (None, 0));
        super::support::within("the records are taken away", async {
            while named.values(record).await != [OTHER] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        edge.stop().await;
    }
}

#[tokio::test]
async fn what_a_name_server_refuses_is_told() {
    let named = Named::start().await;
    let authority = Authority::prepare(free_address(), free_address());
    let _pebble = authority.start_with(named.address).await;
    let (now, wild) = (SystemClock.wall(), "wild.example.test");
    for (name, key, secret, at, told) in [
        (wild, "seawall", "b3RoZXI=", now, "the TSIG key \"seawall\" is another one there (BADSIG)"),
        (wild, "nobody", SECRET, now, "it does not know the TSIG key \"nobody\" for hmac-sha256 (BADKEY)"),
        (wild, "reader", SECRET, now, "it answered REFUSED"),
        (wild, "seawall", SECRET, now + Duration::from_secs(3600), "too far apart for TSIG (BADTIME)"),
        (
            "elsewhere.test",
            "seawall",
            SECRET,
            now,
            "no zone was found that has _acme-challenge.elsewhere.test",
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let dns = keys(state.path(), &named, key, secret);
        let config = wildcard(&state, &authority, &named, name, &dns);
        let edge = Edge::run(&config, Arc::new(ManualClock::at(at))).await;
        let error = eventually("the order fails", || edge.status().last_error).await;
        assert!(error.starts_with(&format!("{} could not set a DNS record: ", named.address)), "{error}");
        assert!(error.contains(told) && !error.contains(secret), "{error}");
        edge.stop().await;
    }
    assert_eq!(named.values("_acme-challenge.wild.example.test").await, [OTHER]);
}
