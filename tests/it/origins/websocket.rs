//! WebSocket with a library that is not ours at both ends.

use std::net::TcpStream;
use std::process::Command;

use crate::support::eventually;
use crate::support::ports::free_address;
use crate::support::process::{Running, Seawall, finished, words};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/origins/websocket_peer.py");

#[tokio::test]
async fn messages_pass_both_ways() {
    let address = free_address();
    // The system's Python, which has the library.
    let mut server = Command::new("/usr/bin/python3");
    let _server = Running::spawn(server.args([PEER, "server", &address.port().to_string()]));
    eventually("the server listens", || TcpStream::connect(address).ok()).await;
    let seawall =
        Seawall::start(&format!("[site.\"ws.test\"]\norigins = [\"{address}\"]\nhealth = false\n")).await;
    let mut client = Command::new("/usr/bin/python3");
    client.args([PEER, "client", &seawall.https.port().to_string()]).arg(seawall.ca());
    let said = words(&finished(&mut client).await);
    for expected in ["subprotocol chat", "echoed", "in order True", "pong", "closed 1000"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
