//! Records at a provider that hosts zones, by the crate dns-update. Which
//! providers there are, and how they are made, is in `table`.
//!
//! The crate opens connections of its own: to who is known by the roots of the
//! system (`SSL_CERT_FILE`), through the proxy of the environment
//! (`HTTPS_PROXY`), never where a redirect leads.

mod table;

use std::net::SocketAddr;
use std::time::Duration;

use dns_update::{DnsRecord, DnsRecordType};
use rustls::RootCertStore;

use super::Change;
use crate::certs::dns_error::DnsError;
use crate::config::model::DnsProvider;
use crate::resolve::NameServers;
use table::{Given, ROWS};

/// So many bytes of what went wrong are told.
const LONGEST_STORY: usize = 400;

/// How long a DNS server has until it is asked again, once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds a value to the TXT record of a name, or takes it away. Other values stay
/// where the provider has room for them.
pub(super) async fn change(
    provider: &DnsProvider,
    resolver: Option<SocketAddr>,
    change: Change,
    record: &str,
    value: &str,
) -> Result<(), DnsError> {
    let row = ROWS.iter().find(|row| row.name == provider.name).ok_or(DnsError::NoProviders)?;
    let zone = match provider.zones.of(record) {
        Some(zone) => zone.to_owned(),
        // There is no zone of one's own.
        None if row.has_one_value => String::new(),
        None => zone(resolver, record).await?,
    };
    if !has_roots() {
        return Err(DnsError::NoRoots);
    }
    let failed = |error: dns_update::Error| DnsError::Provider(story(provider, &error.to_string()));
    let updater = (row.make)(&Given(provider)).map_err(failed)?;
    let values = vec![DnsRecord::TXT(value.to_owned())];
    let (kind, ttl) = (DnsRecordType::TXT, row.ttl);
    let changed = match (change, row.has_one_value) {
        (Change::Add, false) => updater.add_to_rrset(record, kind, ttl, values, &zone).await,
        (Change::Remove, false) => updater.remove_from_rrset(record, kind, values, &zone).await,
        (Change::Add, true) => updater.set_rrset(record, kind, ttl, values, &zone).await,
        (Change::Remove, true) => updater.set_rrset(record, kind, ttl, Vec::new(), &zone).await,
    };
    changed.map_err(failed)
}

/// The zone of a record, as DNS tells it.
async fn zone(resolver: Option<SocketAddr>, record: &str) -> Result<String, DnsError> {
    let servers = NameServers::new(resolver, PATIENCE).map_err(DnsError::Zone)?;
    let zone = servers.zone(record).await.map_err(DnsError::Zone)?;
    zone.ok_or_else(|| DnsError::NoZone(record.to_owned()))
}

/// Without any, what opens connections panics.
fn has_roots() -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    !roots.is_empty()
}

/// What went wrong in one short line. Some providers are shown secrets in the
/// query of a URL, and errors name URLs.
fn story(provider: &DnsProvider, error: &str) -> String {
    let mut story: String =
        error.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    for given in provider.given.values() {
        match std::str::from_utf8(given.bytes()) {
            Ok(text) if !text.is_empty() => story = story.replace(text, "..."),
            _ => {}
        }
    }
    let mut told = String::new();
    for word in story.split_inclusive(' ') {
        match word.split_once("://").and_then(|_| word.split_once('?')) {
            Some((before, query)) => {
                told.push_str(before);
                told.push_str("?...");
                told.push_str(query.trim_start_matches(|character: char| !matches!(character, ')' | ' ')));
            }
            None => told.push_str(word),
        }
    }
    told.truncate(told.floor_char_boundary(LONGEST_STORY));
    told
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::model::{Secret, Zones};

    fn powerdns(endpoint: &str) -> DnsProvider {
        let given = BTreeMap::from([
            ("endpoint", Secret::new(endpoint.as_bytes())),
            ("token", Secret::new(b"a%-secret")),
        ]);
        DnsProvider { name: "pdns", given, zones: Zones(vec!["example.test".to_owned()]) }
    }

    /// Answers one request, and returns it.
    async fn answer(listener: &TcpListener, status: &str, content: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        let is_whole = |asked: &[u8]| {
            let text = String::from_utf8_lossy(asked).to_lowercase();
            let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            length.is_none_or(|length| content.len() >= length.parse().unwrap())
        };
        while !is_whole(&asked) {
            stream.read_buf(&mut asked).await.unwrap();
        }
        let head =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
        stream.write_all(format!("{head}{content}").as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    }

    /// What PowerDNS has for `_acme-challenge.example.test`: what is set already.
    fn zone(values: &[&str]) -> String {
        let values = values
            .iter()
            .map(|value| serde_json::json!({ "content": format!("\"{value}\""), "disabled": false }));
        let rrset = serde_json::json!({
            "name": "_acme-challenge.example.test.", "type": "TXT", "ttl": 120, "records": values.collect::<Vec<_>>(),
        });
        serde_json::json!({ "rrsets": [rrset] }).to_string()
    }

    #[tokio::test]
    async fn other_values_of_a_name_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = powerdns(&format!("http://{}", listener.local_addr().unwrap()));
        for (wanted, before, after) in [
            (Change::Add, &["other"][..], &["other", "mine"][..]),
            (Change::Remove, &["other", "mine"], &["other"]),
        ] {
            let asked = change(&provider, None, wanted, "_acme-challenge.example.test", "mine");
            let answers = async {
                let read = answer(&listener, "200 OK", &zone(before)).await;
                (read, answer(&listener, "204 No Content", "").await)
            };
            let (changed, (read, written)) = tokio::join!(asked, answers);
            changed.unwrap();
            assert!(read.contains("/zones/example.test."), "{read}");
            assert!(read.to_lowercase().contains("x-api-key: a%-secret\r\n"), "{read}");
            let (head, content) = written.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("PATCH /"), "{head}");
            let content: serde_json::Value = serde_json::from_str(content).unwrap();
            let values: Vec<_> = content["rrsets"][0]["records"].as_array().unwrap().iter().collect();
            let values: Vec<_> = values.iter().map(|record| record["content"].as_str().unwrap()).collect();
            assert_eq!(values, after.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_provider_s_refusal_is_told_without_secrets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = powerdns(&format!("http://{}", listener.local_addr().unwrap()));
        let asked = change(&provider, None, Change::Add, "_acme-challenge.example.test", "mine");
        let refused = answer(&listener, "403 Forbidden", "no: a%-secret\n");
        let (changed, _) = tokio::join!(asked, refused);
        let told = changed.unwrap_err().to_string();
        assert!(told.contains("403") && told.contains("no: ..."), "{told}");
    }

    #[test]
    fn queries_of_urls_are_not_told() {
        let provider = powerdns("http://127.0.0.1:9");
        for (error, told) in [
            (
                "Failed to send request to https://a.test/x?token=a%25-secret&b=1: error sending (https://a.test/x?k=v) why?",
                "Failed to send request to https://a.test/x?... error sending (https://a.test/x?...) why?",
            ),
            ("a%-secret\nis wrong", "... is wrong"),
        ] {
            assert_eq!(story(&provider, error), told);
        }
        assert_eq!(story(&provider, &"é".repeat(999)).len(), LONGEST_STORY);
    }
}
