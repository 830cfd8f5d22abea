//! The TXT records that dns-01 looks for (RFC 8555 s8.4), set and taken away by
//! a program or a server of the user's, a name server or a provider. The first
//! two are asked as lego asks its hooks `exec` and `httpreq`, so that what is
//! there can be used.

mod alias;
mod exchange;
#[cfg(feature = "dns-providers")]
mod provider;
mod server;
mod signature;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::transport::Transport;
use crate::base::Clock;
use crate::certs::dns_error::DnsError;
use crate::certs::error::CertError;
use crate::config::model::{DnsMeans, DnsProvider, DnsRecords};

/// Nobody takes longer to set or take away a record.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long the last words of a program that has ended are listened for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// So many bytes of what a program complains of are told.
const COMPLAINT: u64 = 1 << 10;

/// Sets records.
#[derive(Debug)]
pub(super) struct Records {
    config: DnsRecords,
    /// The DNS server that is asked, where it is not that of the system.
    resolver: Option<SocketAddr>,
    transport: Arc<Transport>,
    clock: Arc<dyn Clock>,
    standing: Arc<StandingRecords>,
}

/// The records that stand, each by name and value with the count of orders that need
/// it: an order that is taken up after a reload has the same as before. Locked while
/// one is changed, one after another: a name and its wildcard have the same name, and
/// hooks read what is there before they change it.
#[derive(Debug, Default)]
pub(super) struct StandingRecords(tokio::sync::Mutex<HashMap<(String, String), usize>>);

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Set it beside what is there.
    Add,
    /// Take it away, and leave what else is there.
    Remove,
}

/// The change as lego's hooks name it.
fn action(change: Change) -> &'static str {
    match change {
        Change::Add => "present",
        Change::Remove => "cleanup",
    }
}

impl Records {
    /// As the config says.
    pub(super) fn new(
        config: &DnsRecords,
        resolver: Option<SocketAddr>,
        transport: &Arc<Transport>,
        clock: &Arc<dyn Clock>,
        standing: &Arc<StandingRecords>,
    ) -> Self {
        Self {
            config: config.clone(),
            resolver,
            transport: Arc::clone(transport),
            clock: Arc::clone(clock),
            standing: Arc::clone(standing),
        }
    }

    /// For how long a record spreads before it is looked for.
    pub(super) fn wait(&self) -> Duration {
        self.config.wait
    }

    /// Sets the record that proves `name`, and returns its own name. Cancel safe,
    /// but for the record.
    pub(super) async fn set(&self, name: &str, value: &str) -> Result<String, CertError> {
        let mut record = format!("_acme-challenge.{}", name.trim_start_matches("*."));
        // A program or a server of the user's knows by itself where its records are.
        if matches!(self.config.by, DnsMeans::Server(_) | DnsMeans::Provider(_)) {
            record = alias::end_of(self.resolver, record).await;
        }
        let mut standing = self.standing.0.lock().await;
        self.ask(Change::Add, &record, value).await?;
        *standing.entry((record.clone(), value.to_owned())).or_default() += 1;
        Ok(record)
    }

    /// Takes a value of a record away again, once no other order needs it.
    pub(super) async fn take_away(&self, record: &str, value: &str) -> Result<(), CertError> {
        let mut standing = self.standing.0.lock().await;
        if let Entry::Occupied(mut orders) = standing.entry((record.to_owned(), value.to_owned())) {
            *orders.get_mut() -= 1;
            if *orders.get() > 0 {
                return Ok(());
            }
            orders.remove();
        }
        self.ask(Change::Remove, record, value).await
    }

    async fn ask(&self, change: Change, name: &str, value: &str) -> Result<(), CertError> {
        let record = format!("{name}.");
        match &self.config.by {
            DnsMeans::Exec(path) => {
                let ran = tokio::time::timeout(DEADLINE, run(path, change, &record, value)).await;
                let ran = ran.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                ran.map_err(|source| CertError::DnsProgram { path: path.clone(), source })
            }
            DnsMeans::Webhook(webhook) => {
                let path = format!("/{}", action(change));
                let content = serde_json::json!({ "fqdn": record, "value": value }).to_string();
                let asked = self.transport.post(webhook, &path, content, DEADLINE).await;
                asked.map_err(|source| CertError::DnsWebhook { server: server_of(&webhook.url), source })
            }
            DnsMeans::Server(server) => {
                in_time(&server.address, server::change(server, &self.clock, change, name, value)).await
            }
            DnsMeans::Provider(by) => {
                in_time(by.name, at_provider(by, self.resolver, change, name, value)).await
            }
        }
    }
}

/// The scheme, host and port of a URL.
fn server_of(url: &str) -> String {
    let Ok(url) = url.parse::<http::Uri>() else { return "a webhook".to_owned() };
    let host_and_port = url.authority().map_or("", |it| it.as_str().rsplit('@').next().unwrap_or_default());
    format!("{}://{host_and_port}", url.scheme_str().unwrap_or_default())
}

async fn in_time(by: &str, changed: impl Future<Output = Result<(), DnsError>>) -> Result<(), CertError> {
    let changed = tokio::time::timeout(DEADLINE, changed).await.unwrap_or(Err(DnsError::Deadline));
    changed.map_err(|source| CertError::Dns { by: by.to_owned(), source })
}

#[cfg(feature = "dns-providers")]
async fn at_provider(
    by: &DnsProvider,
    resolver: Option<SocketAddr>,
    change: Change,
    name: &str,
    value: &str,
) -> Result<(), DnsError> {
    provider::change(by, resolver, change, name, value).await
}

#[cfg(not(feature = "dns-providers"))]
async fn at_provider(
    _: &DnsProvider,
    _: Option<SocketAddr>,
    _: Change,
    _: &str,
    _: &str,
) -> Result<(), DnsError> {
    Err(DnsError::NoProviders)
}

/// The name, which is complete.
fn named(text: &str) -> Result<Name, DnsError> {
    let mut name =
        Name::from_ascii(text).map_err(|source| DnsError::Name { text: text.to_owned(), source })?;
    name.set_fqdn(true);
    Ok(name)
}

/// Runs the program; it is killed if the answer is dropped.
async fn run(path: &Path, change: Change, record: &str, value: &str) -> io::Result<()> {
    let mut command = Command::new(path);
    command.args([action(change), record, value]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn()?;
    let stderr = running.stderr.take();
    let mut complaint = Vec::new();
    let status = {
        let mut listen = pin!(async {
            let Some(stderr) = stderr else { return };
            let mut stderr = stderr.take(COMPLAINT);
            let _heard = stderr.read_to_end(&mut complaint).await;
            // What else it says must not hold it up.
            let _heard = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        });
        tokio::select! {
            status = running.wait() => {
                // What it has started may go on, and hold its end of the pipe.
                let _rest = tokio::time::timeout(LAST_WORDS, &mut listen).await;
                status?
            }
            () = &mut listen => running.wait().await?,
        }
    };
    if status.success() {
        return Ok(());
    }
    let complaint: String =
        String::from_utf8_lossy(&complaint).chars().filter(|character| !character.is_control()).collect();
    Err(io::Error::other(format!("{status}: {}", complaint.trim())))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::base::SystemClock;
    use crate::config::model::{Secret, Webhook};

    fn made(config: &DnsRecords) -> Records {
        made_beside(config, &Arc::default())
    }

    fn made_beside(config: &DnsRecords, standing: &Arc<StandingRecords>) -> Records {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let transport = Arc::new(Transport::new(None, Arc::clone(&clock)).unwrap());
        Records::new(config, None, &transport, &clock, standing)
    }

    fn program(directory: &Path, text: &str) -> Records {
        let path = directory.join("hook");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let config = DnsRecords { by: DnsMeans::Exec(path), wait: Duration::ZERO };
        made(&config)
    }

    #[tokio::test]
    async fn a_server_is_told_what_to_do_and_may_refuse() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/dns", listener.local_addr().unwrap());
        let token = Some(Secret::new(b"0123456789abcdef"));
        let by = DnsMeans::Webhook(Webhook { url: url.clone(), token });
        let records = made(&DnsRecords { by, wait: Duration::ZERO });
        for (status, is_done) in [("204 No Content", true), ("403 Forbidden", false)] {
            let answer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"}") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                String::from_utf8(asked).unwrap()
            };
            let (set, asked) = tokio::join!(records.set("*.a.test", "x-y"), answer);
            assert_eq!(set.is_ok(), is_done);
            assert!(asked.starts_with("POST /dns/present HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("authorization: Bearer 0123456789abcdef\r\n"), "{asked}");
            assert!(asked.ends_with(r#"{"fqdn":"_acme-challenge.a.test.","value":"x-y"}"#), "{asked}");
            if let Err(error) = set {
                let server = url.strip_suffix("/dns").unwrap();
                let expected = format!("{server} could not set a DNS record: it answered 403 Forbidden");
                assert_eq!(error.story(), expected);
            }
        }
    }

    #[test]
    fn of_a_url_that_may_be_a_secret_only_the_server_is_told() {
        for (url, told) in [
            ("https://dns.internal/hooks/s3cr3t", "https://dns.internal"),
            ("http://me:s3cr3t@[2001:db8::1]:8080?key=s3cr3t", "http://[2001:db8::1]:8080"),
            ("s3cr3t of another form", "a webhook"),
        ] {
            assert_eq!(server_of(url), told);
        }
    }

    #[tokio::test]
    async fn records_are_set_one_after_another() {
        let directory = tempfile::tempdir().unwrap();
        let busy = directory.path().join("busy");
        // Fails if another one runs.
        let records =
            program(directory.path(), &format!("mkdir {0} && sleep 0.05 && rmdir {0}", busy.display()));
        let set = (0..5).map(|number| {
            let (records, value) = (&records, number.to_string());
            async move { records.set("a.test", &value).await }
        });
        for set in futures_util::future::join_all(set).await {
            set.unwrap();
        }
    }

    /// As an order has it that is taken up by the records of another configuration.
    #[tokio::test]
    async fn a_record_is_taken_away_with_the_last_order_that_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let before = program(directory.path(), &format!("echo \"$1 $3\" >> {}", log.display()));
        let after = made_beside(&before.config, &before.standing);
        let record = before.set("a.test", "x").await.unwrap();
        after.set("a.test", "x").await.unwrap();
        after.set("a.test", "y").await.unwrap();
        before.take_away(&record, "x").await.unwrap();
        after.take_away(&record, "y").await.unwrap();
        let done = || fs::read_to_string(&log).unwrap();
        assert_eq!(done(), "present x\npresent x\npresent y\ncleanup y\n");
        after.take_away(&record, "x").await.unwrap();
        assert!(done().ends_with("cleanup x\n") && after.standing.0.lock().await.is_empty());
    }

    #[tokio::test]
    async fn a_program_is_told_what_to_do_and_may_complain() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let records = program(directory.path(), &format!("echo \"$@\" >> {}", log.display()));
        let record = records.set("*.a.test", "x-y").await.unwrap();
        records.take_away(&record, "z").await.unwrap();
        let done = fs::read_to_string(&log).unwrap();
        assert_eq!(done, "present _acme-challenge.a.test. x-y\ncleanup _acme-challenge.a.test. z\n");

        let records = program(directory.path(), "echo no such zone >&2; exit 3");
        let failed = records.set("a.test", "x").await.unwrap_err().story();
        assert!(
            failed.ends_with("hook could not set a DNS record: exit status: 3: no such zone"),
            "{failed}"
        );
        let records = program(directory.path(), "sleep 60 & exit 0");
        let soon = tokio::time::timeout(Duration::from_secs(10), records.set("a.test", "x"));
        soon.await.unwrap().unwrap();
        let records = program(directory.path(), "head -c 200000 /dev/zero >&2; exit 1");
        assert!(records.set("a.test", "x").await.is_err());
    }
}
