//! `acme.dns`: who sets the records that dns-01 looks for.

use std::path::PathBuf;
use std::time::Duration;

use super::model::{DnsMeans, DnsRecords};
use super::read::{Fault, Files, Table, Value};
use super::secret;

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Reads the value.
pub(super) fn read(value: &Value<'_>) -> Option<DnsRecords> {
    value.table(|table| {
        // Providers by their names.
        table.not_yet(&["provider"]);
        let wait = table.duration("wait", DEFAULT_WAIT, Duration::ZERO..=LONGEST_WAIT);
        let by = means(value, table)?;
        Some(DnsRecords { by, wait })
    })?
}

fn means(value: &Value<'_>, table: &mut Table<'_>) -> Option<DnsMeans> {
    let token = table.value("token");
    match (table.value("exec"), table.value("webhook")) {
        (Some(exec), None) => {
            if let Some(token) = token {
                token.fault(Fault::new("a program has no token").help("it reads what it needs by itself"));
            }
            program(&exec).map(DnsMeans::Exec)
        }
        (None, Some(webhook)) => {
            let token = token.and_then(|token| secret::read(&token));
            Some(DnsMeans::Webhook { url: webhook.parse("a URL", url)?, token })
        }
        (Some(_), Some(_)) => {
            value.fault(Fault::new("two who set one record").help("keep `exec` or `webhook`"));
            None
        }
        (None, None) if table.value("provider").is_some() => None,
        (None, None) => {
            let help = "write { exec = \"/path/to/program\" } or { webhook = \"https://...\" }";
            value.fault(Fault::new("says nothing").help(help));
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

fn url(text: &str) -> Result<String, Fault> {
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_url {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(Fault::new("not an http or https URL"))
    }
}
