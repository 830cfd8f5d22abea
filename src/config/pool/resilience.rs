//! `eject` and `retry`: when a server is left out, and when a request is tried
//! again. Either may be switched off by `false`.

use std::time::Duration;

use http::StatusCode;

use crate::config::limits;
use crate::config::model::{Ejection, Retry, RetryOn};
use crate::config::read::{Fault, Table, Value, percent};

/// Reads `eject`; `None`: no server is ejected.
pub(super) fn eject(value: Option<Value<'_>>) -> Option<Ejection> {
    let seconds = Duration::from_secs;
    let default = Ejection {
        errors: 5,
        within: seconds(10),
        duration: seconds(30),
        rate_percent: Some(50),
        requests: 50,
        retry_after: seconds(60),
    };
    let Some(value) = value else { return Some(default) };
    if value.is_false() {
        return None;
    }
    if !value.is_table() {
        value.mismatch("false or a table");
        return None;
    }
    value.table(|table| Ejection {
        errors: table.number("errors", default.errors, 1..=1_000_000),
        within: table.duration("within", default.within, limits::timeout()),
        duration: table.duration("for", default.duration, limits::timeout()),
        rate_percent: table.value("rate").map_or(default.rate_percent, |value| rate(&value)),
        requests: table.number("requests", default.requests, 1..=1_000_000),
        retry_after: table.duration("retry_after", default.retry_after, Duration::ZERO..=seconds(3600)),
    })
}

/// A share of the requests; `false`: none.
fn rate(value: &Value<'_>) -> Option<u32> {
    if value.is_false() {
        return None;
    }
    value.parse("a percentage such as \"50%\", or false", |text| match percent(text)? {
        share @ 1..=100 => Ok(share),
        _ => Err(Fault::new("out of range: 1% to 100%")),
    })
}

/// Reads `retry`.
pub(super) fn retry(value: Option<Value<'_>>) -> Retry {
    let default = Retry {
        times: 2,
        within: Duration::from_secs(10),
        on: vec![RetryOn::Connect, RetryOn::Reset],
        budget_percent: 20,
    };
    let Some(value) = value else { return default };
    if value.is_false() {
        return Retry { times: 0, ..default };
    }
    if !value.is_table() {
        value.mismatch("false or a table");
        return default;
    }
    value.table_or_empty(|table| retry_table(table, default))
}

fn retry_table(table: &mut Table<'_>, default: Retry) -> Retry {
    let budget = table.value("budget").and_then(|value| budget(&value));
    Retry {
        times: table.number("times", default.times, 0..=10),
        within: table.duration("within", default.within, limits::timeout()),
        on: table.list("on", |value| reason(&value)).unwrap_or(default.on),
        budget_percent: budget.unwrap_or(default.budget_percent),
    }
}

fn budget(value: &Value<'_>) -> Option<u32> {
    value.parse("a percentage such as \"20%\"", |text| match percent(text)? {
        share @ 0..=100 => Ok(share),
        _ => Err(Fault::new("out of range: 0% to 100%")),
    })
}

fn reason(value: &Value<'_>) -> Option<RetryOn> {
    value.choice(&[
        ("connect", RetryOn::Connect),
        ("reset", RetryOn::Reset),
        ("timeout", RetryOn::Timeout),
        ("502", RetryOn::Status(StatusCode::BAD_GATEWAY)),
        ("503", RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)),
        ("504", RetryOn::Status(StatusCode::GATEWAY_TIMEOUT)),
    ])
}
