//! Headless Chromium, led over the DevTools protocol: what it loaded, how, and
//! what it complained about.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::process::Running;
use super::{eventually, within};

const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--remote-debugging-port=0",
];

/// A running browser with an empty profile.
pub(crate) struct Chromium {
    process: Running,
    profile: TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    events: Vec<Value>,
}

/// A tab that shares no cache with another one.
pub(crate) struct Tab(String);

/// What one load of a page brought.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Every response of it.
    pub(crate) responses: Vec<Loaded>,
    /// Errors of scripts, of the console and of the network.
    pub(crate) complaints: Vec<String>,
    from_memory: Vec<String>,
}

/// A response as the browser saw it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) url: String,
    pub(crate) status: u64,
    /// As ALPN names it.
    pub(crate) protocol: String,
    /// True if it never left the browser.
    pub(crate) from_own_cache: bool,
    pub(crate) cache_status: Option<String>,
}

impl Chromium {
    /// Starts it; it accepts `certificate` from whoever presents it.
    pub(crate) async fn start(certificate: &CertificateDer<'_>) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--ignore-certificate-errors-spki-list={}", public_key_digest(certificate)))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(File::create(profile.path().join("stderr")).unwrap());
        let process = Running::spawn(&mut command);
        let endpoint = eventually("Chromium listens", || {
            let text = fs::read_to_string(profile.path().join("DevToolsActivePort")).ok()?;
            let (port, path) = text.split_once('\n')?;
            let address = SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?));
            path.starts_with("/devtools/").then(|| format!("ws://{address}{}", path.trim_end()))
        })
        .await;
        let (socket, _) = within("a DevTools connection", connect_async(endpoint)).await.unwrap();
        Self { process, profile, socket, last_id: 0, events: Vec::new() }
    }

    /// Opens an empty tab.
    pub(crate) async fn tab(&mut self) -> Tab {
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let about = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = self.call(None, "Target.createTarget", about).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", attach).await;
        let tab = Tab(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Network.enable", "Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(Some(&tab), domain, json!({})).await;
        }
        self.call(Some(&tab), "Page.setLifecycleEventsEnabled", json!({ "enabled": true })).await;
        tab
    }

    /// Goes to `url` and waits until the network is idle.
    pub(crate) async fn open(&mut self, tab: &Tab, url: &str) -> Load {
        self.events.clear();
        let navigated = self.call(Some(tab), "Page.navigate", json!({ "url": url })).await;
        assert!(navigated["errorText"].is_null(), "{url}: {}", navigated["errorText"]);
        self.load(tab).await
    }

    /// Does what the reload button does.
    pub(crate) async fn reload(&mut self, tab: &Tab) -> Load {
        self.events.clear();
        self.call(Some(tab), "Page.reload", json!({})).await;
        self.load(tab).await
    }

    /// The value of `expression` in the page, once `until` takes it.
    pub(crate) async fn evaluate(
        &mut self,
        tab: &Tab,
        expression: &str,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        within(expression, async {
            loop {
                let evaluate = json!({ "expression": expression, "returnByValue": true });
                let value =
                    self.call(Some(tab), "Runtime.evaluate", evaluate).await["result"]["value"].take();
                if until(&value) {
                    return value;
                }
            }
        })
        .await
    }

    /// Shows the tab as a screen of so many pixels does.
    pub(crate) async fn resize(&mut self, tab: &Tab, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 0, "mobile": true });
        self.call(Some(tab), "Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// What the page complained about since it was loaded.
    pub(crate) async fn complaints(&mut self, tab: &Tab) -> Vec<String> {
        // Its answer comes after all that the page said before.
        self.call(Some(tab), "Runtime.evaluate", json!({ "expression": "0" })).await;
        self.seen(tab).complaints
    }

    async fn load(&mut self, tab: &Tab) -> Load {
        while !is_idle(&self.events, tab) {
            let event = self.receive().await;
            self.events.push(event);
        }
        self.seen(tab)
    }

    fn seen(&mut self, tab: &Tab) -> Load {
        let mut load = Load::default();
        for event in self.events.drain(..).filter(|event| event["sessionId"] == *tab.0) {
            load.add(event["method"].as_str().unwrap_or_default(), &event["params"]);
        }
        load
    }

    async fn call(&mut self, tab: Option<&Tab>, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(Tab(session)) = tab {
            message["sessionId"] = json!(session);
        }
        within("DevTools", self.socket.send(Message::text(message.to_string()))).await.unwrap();
        loop {
            let mut answer = self.receive().await;
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    async fn receive(&mut self) -> Value {
        let message = within("an event of Chromium", self.socket.next()).await.unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap_or_default()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Before its profile is removed.
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default());
        }
    }
}

impl Load {
    fn add(&mut self, method: &str, params: &Value) {
        match method {
            "Network.requestServedFromCache" => self.from_memory.extend(request_id(params)),
            "Network.responseReceived" => {
                let from_memory = request_id(params).is_some_and(|id| self.from_memory.contains(&id));
                self.responses.push(Loaded::of(&params["response"], from_memory));
            }
            // Said also of content that a script has read to its end.
            "Network.loadingFailed" if params["canceled"] == true => {}
            "Network.loadingFailed" => self.complaints.push(params.to_string()),
            "Runtime.exceptionThrown" => self.complaints.push(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.complaints.push(params["args"].to_string());
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Loaded {
    fn of(response: &Value, from_memory: bool) -> Self {
        let fields = response["headers"].as_object();
        let cache_status = fields.and_then(|fields| {
            let (_, value) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("cache-status"))?;
            value.as_str().map(str::to_owned)
        });
        Self {
            url: response["url"].as_str().unwrap_or_default().to_owned(),
            status: response["status"].as_u64().unwrap_or_default(),
            protocol: response["protocol"].as_str().unwrap_or_default().to_owned(),
            from_own_cache: from_memory || response["fromDiskCache"] == true,
            cache_status,
        }
    }
}

fn request_id(params: &Value) -> Option<String> {
    params["requestId"].as_str().map(str::to_owned)
}

/// True once the newest document of the tab has loaded and asks for no more.
fn is_idle(events: &[Value], Tab(session): &Tab) -> bool {
    let of_tab = events.iter().filter(|event| event["sessionId"] == **session);
    let mut loader = None;
    for event in of_tab {
        let params = &event["params"];
        if event["method"] == "Page.frameNavigated" && params["frame"]["parentId"].is_null() {
            loader = params["frame"]["loaderId"].as_str();
        }
        let idle = event["method"] == "Page.lifecycleEvent" && params["name"] == "networkIdle";
        if idle && loader.is_some() && params["loaderId"].as_str() == loader {
            return true;
        }
    }
    false
}

/// SHA-256 of the subject public key, in base64, as Chromium names keys.
fn public_key_digest(certificate: &CertificateDer<'_>) -> String {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let sha256 = suite.tls13().unwrap().common.hash_provider;
    base64(sha256.hash(certificate.public_key().raw).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}
