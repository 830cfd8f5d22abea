//! Requests that belong to an origin server by what they ask for.

use std::collections::{HashMap, HashSet};

use crate::support::origin::{Origin, ok};
use crate::support::process::Seawall;
use crate::support::raw::RawClient;

/// The path that is asked for, and who answered it.
type Homes = HashMap<String, String>;

async fn homes(seawall: &Seawall) -> Homes {
    let mut homes = HashMap::new();
    for number in 0..40 {
        let path = format!("/{number}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        let res = RawClient::ask(seawall.http, request).await;
        assert_eq!(res.status(), 200);
        homes.insert(path, String::from_utf8(res.content).unwrap());
    }
    homes
}

#[tokio::test]
async fn a_uri_has_a_home_through_a_restart_and_moves_only_if_that_is_lost() {
    let personal = |content| ok("Cache-Control: no-store\r\n", content);
    let origins = [
        Origin::answering(personal("one")).await,
        Origin::answering(personal("two")).await,
        Origin::answering(personal("three")).await,
    ];
    let addresses = origins.each_ref().map(|origin| origin.address.to_string());
    let mut seawall = Seawall::start(&format!(
        "[pool.app]\norigins = {addresses:?}\nbalance = \"hash:uri\"\nhealth = false\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n"
    ))
    .await;
    let whole = homes(&seawall).await;
    assert_eq!(whole.values().collect::<HashSet<_>>().len(), 3);
    seawall.crash_and_restart().await;
    assert_eq!(homes(&seawall).await, whole);
    seawall.ask("origins", &["disable", &addresses[0]]).await;
    for (path, now) in homes(&seawall).await {
        let before = &whole[&path];
        assert!(now != "one" && (now == *before || before == "one"), "{path}: {before}, {now}");
    }
}
