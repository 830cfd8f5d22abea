//! `request_fields` and `response_fields`: what is set and removed on the way.

use http::{HeaderName, HeaderValue};

use crate::config::model::FieldEdits;
use crate::config::read::{Diagnostic, Entry, Fault, Table, Value};

/// Fields that belong to the connection or the message's framing, and the host,
/// which is in the cache's key as the client sent it.
const OWNED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads the table.
pub(super) fn field_edits(table: &mut Table<'_>) -> FieldEdits {
    let set =
        table.section("set", |table| table.entries().iter().filter_map(field_to_set).collect::<Vec<_>>());
    let remove = table.list("remove", |value| Some((field_to_remove(&value)?, value))).unwrap_or_default();
    for (name, value) in &remove {
        if set.iter().any(|(other, _)| other == name) {
            value.fault(
                Fault::new(format!("`{name}` is set as well"))
                    .help("a field that is set replaces what is there"),
            );
        }
    }
    FieldEdits { set, remove: remove.into_iter().map(|(name, _)| name).collect() }
}

/// The name of a field (RFC 9110 s5.1), brought to lower case.
pub(super) fn field_name(text: &str) -> Result<HeaderName, Fault> {
    let name = HeaderName::from_bytes(text.as_bytes());
    let name = name.map_err(|_| Fault::new("not the name of a field (RFC 9110 s5.1)"))?;
    if OWNED.contains(&name.as_str()) {
        return Err(Fault::new(format!("`{name}` is kept right by the proxy itself"))
            .help("it belongs to the connection, or is part of the cache's key"));
    }
    Ok(name)
}

fn field_to_set(entry: &Entry<'_>) -> Option<(HeaderName, HeaderValue)> {
    let report = |fault: Fault| {
        let diagnostic =
            Diagnostic::error("invalid name of a field").at(entry.name_span.clone(), fault.reason);
        entry.value.reading.report(diagnostic.maybe_help(fault.help));
    };
    let name = field_name(entry.name).map_err(report).ok();
    let value = entry.value.parse("the value of a field", |text| {
        let is_text = text.chars().all(|c| !c.is_control());
        let value = HeaderValue::from_str(text).ok().filter(|_| is_text);
        value.ok_or_else(|| Fault::new("a control character does not stand in a field (RFC 9110 s5.5)"))
    });
    Some((name?, value?))
}

fn field_to_remove(value: &Value<'_>) -> Option<HeaderName> {
    value.parse("the name of a field", field_name)
}
