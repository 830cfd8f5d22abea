//! A real name server, BIND, that takes updates which are signed. It is the
//! primary of `example.test` and of `deep.example.test`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::process::Running;
use super::{eventually, ports};

/// The key that may change TXT records.
pub(crate) const SECRET: &str = "c2Vhd2FsbCB0ZXN0cyBzaWduIHdpdGggdGhpcyBrZXk=";

/// What is there before anything is changed, of the names that end so.
pub(crate) const OTHER: &str = "another's";

/// A running name server.
pub(crate) struct Named {
    _process: Running,
    _directory: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Named {
    /// Runs it and waits until it listens. It knows the keys `seawall`, by each
    /// algorithm `seawall-ALGORITHM`, and `reader`, which may change nothing.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = ports::free_address();
        for (zone, records) in zones() {
            fs::write(directory.path().join(zone), records).unwrap();
        }
        let config = directory.path().join("named.conf");
        fs::write(&config, configuration(directory.path(), address)).unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("named");
        command.arg("-g").arg("-c").arg(&config).args(["-n", "1"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let mut process = Running::spawn(&mut command);
        eventually("named listens", || {
            if let Some(status) = process.0.try_wait().unwrap() {
                panic!("named ended with {status}: {}", fs::read_to_string(&log).unwrap());
            }
            let is_running = fs::read_to_string(&log).unwrap().contains(" running");
            is_running.then(|| TcpStream::connect(address).ok()).flatten()
        })
        .await;
        Self { _process: process, _directory: directory, address }
    }

    /// The values of the TXT record of a name.
    pub(crate) async fn values(&self, name: &str) -> Vec<String> {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::TXT));
        let question = question.to_vec().unwrap();
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&[&(question.len() as u16).to_be_bytes(), &question[..]].concat()).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        let answers = Message::from_vec(&answer).unwrap().answers;
        let mut values: Vec<_> = answers
            .iter()
            .filter(|record| record.record_type() == RecordType::TXT)
            .map(|record| record.data.to_string())
            .collect();
        values.sort();
        values
    }
}

/// The files of the zones. That of the root has it ask nobody else; an alias that
/// leads from one zone into another is followed by who answers for others only.
fn zones() -> [(&'static str, String); 3] {
    let zone = |origin: &str, own: &str| {
        format!(
            "$TTL 60\n$ORIGIN {origin}\n@ SOA ns admin 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n{own}"
        )
    };
    let text = format!("TXT \"{OTHER}\"\n");
    let aliases = "_acme-challenge.alias CNAME next\nnext CNAME proofs.deep\n";
    [
        ("root", zone(".", "")),
        ("example.test", zone("example.test.", &format!("_acme-challenge.wild {text}{aliases}"))),
        ("deep.example.test", zone("deep.example.test.", &format!("_acme-challenge {text}proofs {text}"))),
    ]
}

fn configuration(directory: &Path, address: SocketAddr) -> String {
    let (directory, port) = (directory.display(), address.port());
    let mut keys = vec![("seawall".to_owned(), "hmac-sha256"), ("reader".to_owned(), "hmac-sha256")];
    keys.extend(["hmac-sha384", "hmac-sha512"].map(|algorithm| (format!("seawall-{algorithm}"), algorithm)));
    let grants: String = keys
        .iter()
        .filter(|(name, _)| name != "reader")
        .map(|(name, _)| format!("grant {name} zonesub TXT; "))
        .collect();
    let keys: String = keys
        .iter()
        .map(|(name, algorithm)| format!("key {name} {{ algorithm {algorithm}; secret \"{SECRET}\"; }};\n"))
        .collect();
    let zones = ["example.test", "deep.example.test"].map(|name| {
        format!(
            "zone \"{name}\" {{ type primary; file \"{directory}/{name}\"; update-policy {{ {grants}}}; }};\n"
        )
    });
    let zones = zones.concat();
    format!(
        r#"options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    allow-recursion {{ 127.0.0.1; }};
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
}};
controls {{ }};
{keys}{zones}zone "." {{ type primary; file "{directory}/root"; }};
"#
    )
}
