//! `seawall demo` in a browser: the page works under its own strict policy, and
//! shows hits, the balancing and the WebSocket.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::chromium::Chromium;
use crate::support::client::{Alpn, Client};
use crate::support::process::{Running, command};
use crate::support::{eventually, ports};

/// A running demo, its output in a temporary directory.
struct Demo {
    _process: Running,
    directory: TempDir,
    https: SocketAddr,
}

impl Demo {
    /// Starts it with its ports as flags and waits until it says what to open.
    async fn start() -> Self {
        let (http, https) = (ports::free_address(), ports::free_address());
        let directory = tempfile::tempdir().unwrap();
        let ports = [http.port().to_string(), https.port().to_string()];
        let mut command = command(&["demo", "--http-port", &ports[0], "--https-port", &ports[1]]);
        command.arg("--state-dir").arg(directory.path());
        command.stdout(File::create(directory.path().join("stdout")).unwrap()).stderr(Stdio::null());
        let demo = Self { _process: Running::spawn(&mut command), directory, https };
        eventually("the demo says what to open", || demo.said("Ctrl-C").then_some(())).await;
        demo
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("stdout")).unwrap_or_default()
    }

    fn said(&self, words: &str) -> bool {
        self.output().contains(words)
    }

    /// The file that its curl lines name as the CA.
    fn ca(&self) -> String {
        let output = self.output();
        let (_, rest) = output.split_once("--cacert ").unwrap();
        rest.split_whitespace().next().unwrap().trim_matches('\'').to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_edge_does() {
    let demo = Demo::start().await;
    let client = Client::connect(demo.https, demo.ca().as_ref(), "localhost", Alpn::H2).await;
    let mut chromium = Chromium::start(&client.certificate).await;
    let tab = chromium.tab().await;
    let load = chromium.open(&tab, &format!("https://localhost:{}/", demo.https.port())).await;
    assert!(load.complaints.is_empty(), "{:#?}", load.complaints);
    assert!(load.responses.iter().all(|response| response.protocol == "h2"), "{:#?}", load.responses);
    let protocol = "document.querySelector('#protocol').textContent";
    chromium.evaluate(&tab, protocol, |text| *text == "This page came over HTTP/2.").await;

    let hits = "document.querySelectorAll('#assets .hit').length";
    chromium.evaluate(&tab, hits, |hits| *hits == 5).await;
    let click = "document.querySelector('#ask').click(), \
                 [...document.querySelectorAll('#origins progress')].filter(({value}) => value > 0).length";
    chromium.evaluate(&tab, click, |answered| *answered == 3).await;
    let send =
        "document.querySelector('#socket button').click(), document.querySelector('#echo').textContent";
    chromium.evaluate(&tab, send, says("Ahoy (")).await;
    let load = "document.querySelector('#load').click(), document.querySelector('#loaded').textContent";
    chromium.evaluate(&tab, load, says("5.0 MiB in")).await;
    let wait = "document.querySelector('#wait').click(), document.querySelector('#trickle').textContent";
    chromium.evaluate(&tab, wait, says("30 %")).await;
    chromium.evaluate(&tab, wait, says("Done: the first piece after")).await;
    assert_eq!(chromium.complaints(&tab).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_fit_a_phone() {
    let demo = Demo::start().await;
    let client = Client::connect(demo.https, demo.ca().as_ref(), "localhost", Alpn::H2).await;
    let mut chromium = Chromium::start(&client.certificate).await;
    let tab = chromium.tab().await;
    chromium.resize(&tab, 390, 844).await;
    for path in ["", "about.html"] {
        let url = format!("https://localhost:{}/{path}", demo.https.port());
        let load = chromium.open(&tab, &url).await;
        assert!(load.complaints.is_empty(), "{:#?}", load.complaints);
        chromium.evaluate(&tab, "document.documentElement.scrollWidth", |width| *width == 390).await;
    }
}

fn says(words: &'static str) -> impl Fn(&Value) -> bool {
    move |text| text.as_str().is_some_and(|text| text.starts_with(words))
}
