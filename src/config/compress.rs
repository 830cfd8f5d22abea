//! `compress = { codings, min }`: the codings that stored responses are
//! compressed with.

use std::ops::RangeInclusive;

use super::read::{Fault, Table, Value};
use crate::policy::{Coding, CompressionRules};

const MIN: RangeInclusive<u64> = 0..=1 << 30;

/// Reads `false`, `true` or the table of a file, a site or a route over what it
/// inherits.
pub(super) fn read(
    value: Option<Value<'_>>,
    inherited: &Option<CompressionRules>,
) -> Option<CompressionRules> {
    match value {
        None => inherited.clone(),
        Some(value) if value.is_false() => None,
        Some(value) if value.is_true() => Some(inherited.clone().unwrap_or_default()),
        Some(value) if value.is_table() => {
            let inherited = inherited.clone().unwrap_or_default();
            Some(value.table_or_empty(|table| rules(table, inherited)))
        }
        Some(value) => {
            value.mismatch(
                "false, or a table such as { codings = [\"zstd\", \"br\", \"gzip\"], min = \"1KiB\" }",
            );
            inherited.clone()
        }
    }
}

fn rules(table: &mut Table<'_>, inherited: CompressionRules) -> CompressionRules {
    let codings = table.value("codings").and_then(|value| codings(&value));
    CompressionRules {
        codings: codings.unwrap_or(inherited.codings),
        min: table.size("min", inherited.min, MIN),
    }
}

fn codings(value: &Value<'_>) -> Option<Vec<Coding>> {
    let words = [("zstd", Coding::Zstd), ("br", Coding::Brotli), ("gzip", Coding::Gzip)];
    let mut codings = Vec::new();
    for item in value.items()? {
        let Some(coding) = item.choice(&words) else { continue };
        if codings.contains(&coding) {
            item.fault(Fault::new("named twice"));
        } else {
            codings.push(coding);
        }
    }
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("to compress nothing, write compress = false"));
    }
    Some(codings)
}
