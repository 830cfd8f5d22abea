//! A server of the user's that is told or asked something: its URL, and what it
//! is shown to know us.

use super::model::{Secret, Webhook};
use super::read::{Fault, Table, Value};
use super::secret;

/// Reads a table of `webhook` and `token`.
pub(super) fn read(value: &Value<'_>) -> Option<Webhook> {
    value.table(|table| {
        let token = token(table);
        match table.value("webhook") {
            Some(written) => Some(Webhook { url: url(&written)?, token }),
            None => {
                value.fault(Fault::new("says nothing").help("write { webhook = \"https://...\" }"));
                None
            }
        }
    })?
}

/// Reads the token of a webhook.
pub(super) fn token(table: &mut Table<'_>) -> Option<Secret> {
    table.value("token").and_then(|token| secret::read(&token))
}

/// Reads the URL of a webhook.
pub(super) fn url(value: &Value<'_>) -> Option<String> {
    value.parse("a URL", |text| {
        let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        match is_url {
            true => Ok(text.trim_end_matches('/').to_owned()),
            false => Err(Fault::new("not an http or https URL")),
        }
    })
}
