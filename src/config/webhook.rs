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

/// Reads the URL of a webhook, which is asked as it is written.
pub(super) fn url(value: &Value<'_>) -> Option<String> {
    value.parse("a URL", |text| {
        let uri = text.parse::<http::Uri>().map_err(|_| Fault::new("not an http or https URL"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(Fault::new("not an http or https URL"));
        }
        if authority.contains('@') {
            return Err(Fault::new("a user in a URL is not sent")
                .help("write token = { env = \"NAME\" }: it is sent as Authorization: Bearer"));
        }
        match text.contains('#') {
            true => Err(Fault::new("a fragment is not sent").help("leave out what follows the #")),
            false => Ok(text.to_owned()),
        }
    })
}

/// Reads the URL of a webhook to which paths are added.
pub(super) fn base_url(value: &Value<'_>) -> Option<String> {
    url(value).map(|url| url.trim_end_matches('/').to_owned())
}
