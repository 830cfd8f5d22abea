//! `acme.dns`: who sets the records that dns-01 looks for.

use std::path::PathBuf;
use std::time::Duration;

use super::model::{DnsMeans, DnsRecords, Webhook};
use super::read::{Fault, Files, Table, Value};
use super::webhook;

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
    match (table.value("exec"), table.value("webhook")) {
        (Some(exec), None) => {
            if let Some(token) = table.value("token") {
                token.fault(Fault::new("a program has no token").help("it reads what it needs by itself"));
            }
            program(&exec).map(DnsMeans::Exec)
        }
        (None, Some(written)) => {
            let token = webhook::token(table);
            Some(DnsMeans::Webhook(Webhook { url: webhook::url(&written)?, token }))
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
