//! `key = { query, drop_query }`: which form of a query is part of the key, and
//! is forwarded.

use super::read::{Fault, Table, Value};
use crate::policy::{ParameterPattern, QueryRules};

/// Reads the table of a file, a site or a route over what it inherits. A list
/// of dropped parameters takes the place of the inherited one.
pub(super) fn read(value: Option<Value<'_>>, inherited: &QueryRules) -> QueryRules {
    match value {
        Some(value) => value.table(|table| rules(table, inherited)).unwrap_or_else(|| inherited.clone()),
        None => inherited.clone(),
    }
}

fn rules(table: &mut Table<'_>, inherited: &QueryRules) -> QueryRules {
    let sorted = table.value("query").and_then(|value| value.choice(&[("exact", false), ("sorted", true)]));
    let dropped = table.list("drop_query", |value| {
        value.parse("the name of a query parameter, such as \"utm_*\"", parameter)
    });
    QueryRules {
        ignored: inherited.ignored,
        sorted: sorted.unwrap_or(inherited.sorted),
        dropped: dropped.unwrap_or_else(|| inherited.dropped.clone()),
    }
}

fn parameter(text: &str) -> Result<ParameterPattern, Fault> {
    let (name, is_prefix) = match text.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (text, false),
    };
    if name.is_empty() {
        let fault = Fault::new(if is_prefix { "every parameter" } else { "an empty name" });
        return Err(fault.help("to leave out the whole query, give a route cache = { ignore_query = true }"));
    }
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_graphic() || "*&=#?".contains(*c)) {
        let fault = Fault::new(format!("`{}` cannot stand there", odd.escape_debug()));
        return Err(fault.help("names are compared as they are written in a URL; `*` can stand at the end"));
    }
    Ok(match is_prefix {
        true => ParameterPattern::Prefix(name.into()),
        false => ParameterPattern::Name(name.into()),
    })
}
