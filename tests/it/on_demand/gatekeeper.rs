//! The server of the user's that says which hosts may have a certificate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// It, and what it was asked.
pub(super) struct Gatekeeper {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    /// How often for each host.
    times: HashMap<String, usize>,
    /// The answer for hosts under `allowed.test`; for all others it is 403, and none
    /// at all for those under `slow.test`.
    status: Option<u16>,
    connections: usize,
}

impl Gatekeeper {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<Asked>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(Self::answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    async fn answer(stream: TcpStream, state: Arc<Mutex<Asked>>) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
                return;
            }
            let host = line.strip_prefix("GET /allowed?domain=").unwrap();
            let host = host.strip_suffix(" HTTP/1.1\r\n").unwrap().to_owned();
            let status = {
                let mut state = state.lock().unwrap();
                *state.times.entry(host.clone()).or_default() += 1;
                if host.ends_with("allowed.test") { state.status.unwrap_or(200) } else { 403 }
            };
            while stream.read_line(&mut line).await.unwrap() > 2 {}
            if host.ends_with("slow.test") {
                std::future::pending::<()>().await;
            }
            let head = format!("HTTP/1.1 {status} As It Is\r\nContent-Length: 5\r\n\r\nwhat?");
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }

    pub(super) fn asked(&self, host: &str) -> usize {
        self.state.lock().unwrap().times.get(host).copied().unwrap_or_default()
    }

    pub(super) fn asked_in_all(&self) -> usize {
        self.state.lock().unwrap().times.values().sum()
    }

    pub(super) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// What it answers for the hosts that it knows.
    pub(super) fn says(&self, status: u16) {
        self.state.lock().unwrap().status = Some(status);
    }
}
