//! Origin servers that an operator takes out and back by the command line.

use std::process::Output;

use serde_json::Value;

use crate::support::origin::{Origin, ok};
use crate::support::process::{Seawall, words};
use crate::support::raw::RawClient;

async fn told(seawall: &Seawall, arguments: &[&str]) -> Output {
    seawall.ask("origins", arguments).await
}

async fn state_of(seawall: &Seawall, server: &str) -> String {
    let said = told(seawall, &["--json"]).await;
    let pools: Value = serde_json::from_slice(&said.stdout).unwrap();
    let servers = pools[0]["servers"].as_array().unwrap();
    let server = servers.iter().find(|each| each["label"] == server).unwrap();
    server["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_server_is_drained_disabled_and_enabled() {
    let personal = |content| ok("Cache-Control: no-store\r\n", content);
    let origins = [Origin::answering(personal("one")).await, Origin::answering(personal("two")).await];
    let [one, two] = origins.each_ref().map(|origin| origin.address.to_string());
    let seawall = Seawall::start(&format!(
        "[pool.app]\norigins = [\"{one}\", \"{two}\"]\nbalance = \"round-robin\"\nhealth = false\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n"
    ))
    .await;
    let get = async || {
        let res = RawClient::ask(seawall.http, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        (res.status(), String::from_utf8(res.content).unwrap())
    };
    for (order, state) in [("drain", "draining"), ("disable", "disabled")] {
        let said = told(&seawall, &[order, &one, "--pool", "app"]).await;
        assert_eq!(words(&said), format!("{one} of app is {state}\n"));
        assert_eq!(state_of(&seawall, &one).await, state);
        for _ in 0..4 {
            assert_eq!(get().await, (200, "two".to_owned()));
        }
    }
    told(&seawall, &["disable", &two]).await;
    assert_eq!(get().await.0, 503);
    told(&seawall, &["enable", &one]).await;
    assert_eq!(state_of(&seawall, &one).await, "up");
    assert_eq!(get().await, (200, "one".to_owned()));

    let unknown = told(&seawall, &["drain", &one, "--pool", "other"]).await;
    assert!(!unknown.status.success());
    assert!(words(&unknown).contains("no pool has this server"), "{}", words(&unknown));
}
