//! `acme.dns`: who sets the records that dns-01 looks for.

mod provider;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use super::model::{DnsMeans, DnsRecords, Webhook, Zones};
use super::read::{Fault, Files, Table, Value};
use super::webhook;

#[cfg(all(test, feature = "dns-providers"))]
pub(crate) use provider::PROVIDERS;

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Reads the value.
pub(super) fn read(value: &Value<'_>) -> Option<DnsRecords> {
    value.table(|table| {
        let wait = table.duration("wait", DEFAULT_WAIT, Duration::ZERO..=LONGEST_WAIT);
        let by = means(value, table)?;
        Some(DnsRecords { by, wait })
    })?
}

fn means(value: &Value<'_>, table: &mut Table<'_>) -> Option<DnsMeans> {
    match (table.value("exec"), table.value("webhook"), table.value("provider")) {
        (Some(exec), None, None) => {
            if let Some(token) = table.value("token") {
                token.fault(Fault::new("a program has no token").help("it reads what it needs by itself"));
            }
            program(&exec).map(DnsMeans::Exec)
        }
        (None, Some(written), None) => {
            let token = webhook::token(table);
            Some(DnsMeans::Webhook(Webhook { url: webhook::base_url(&written)?, token }))
        }
        (None, None, Some(provider)) => provider::read(&provider, table),
        (None, None, None) => {
            let help =
                "write { exec = \"/path/to/program\" }, { webhook = \"https://...\" } or { provider = ... }";
            value.fault(Fault::new("says nothing").help(help));
            None
        }
        _ => {
            provider::pass_over(table);
            value.fault(
                Fault::new("two who set one record").help("keep one of `exec`, `webhook` and `provider`"),
            );
            None
        }
    }
}

fn program(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path()?;
    if value.reading.files == Files::Check && !path.is_file() {
        value.fault(Fault::new("no such program"));
        return None;
    }
    Some(path)
}

/// The zones that the user names, so that they need not be looked for.
fn zones(table: &mut Table<'_>) -> Zones {
    let items = table.value("zone").map(|value| value.items_or_one()).unwrap_or_default();
    Zones(items.iter().filter_map(|item| item.parse("the name of a zone", domain)).collect())
}

/// A name of the DNS in lower case, without a dot at its end (RFC 1035 s2.3).
fn domain(text: &str) -> Result<String, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_known)
    };
    match name.len() <= 253 && name.split('.').all(is_label) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(Fault::new("not a name of the DNS")),
    }
}
