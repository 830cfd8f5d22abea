//! `limits`: what clients may use up. Every limit has a bound of its own, so
//! that none can be switched off by a slip.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::model::{Frequency, Limits};
use super::read::{Fault, Table, Value, frequency, rate};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HOUR: u64 = 3600;

/// How large a request's content may be called; beyond it lies a slip of the unit.
pub(super) const BODY: RangeInclusive<u64> = 0..=1 << 50;

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> Limits {
    let (h2_streams, h2_resets) = table.section("h2", h2);
    Limits {
        memory: memory(table),
        connections: connections(table),
        connections_per_ip: connections_per_ip(table),
        request_line: table.size("request_line", 8 << 10, 256..=MIB),
        header_bytes: table.size("header_bytes", 32 << 10, KIB..=MIB),
        headers: table.number("headers", Limits::HEADERS_OF_HYPER, 8..=10_000),
        body: table.size("body", 100 * MIB, BODY),
        handshake_timeout: table.duration("handshake_timeout", seconds(10), timeout()),
        header_timeout: table.duration("header_timeout", seconds(10), timeout()),
        body_timeout: table.duration("body_timeout", seconds(10), timeout()),
        min_rate: table.value("min_rate").and_then(|value| min_rate(&value)).unwrap_or(500),
        write_timeout: table.duration("write_timeout", seconds(10), timeout()),
        idle_timeout: table.duration("idle_timeout", seconds(75), timeout()),
        stream_idle: table.duration("stream_idle", seconds(300), long_timeout()),
        tunnel_idle: table.duration("tunnel_idle", seconds(HOUR), long_timeout()),
        drain_timeout: table.duration("drain_timeout", seconds(30), Duration::ZERO..=seconds(24 * HOUR)),
        h2_streams,
        h2_resets,
        origin_header_bytes: table.size("origin_header_bytes", 64 << 10, KIB..=MIB),
        origin_headers: table.number("origin_headers", Limits::HEADERS_OF_HYPER, 8..=10_000),
    }
}

/// The range of a wait for something that is due.
pub(super) fn timeout() -> RangeInclusive<Duration> {
    Duration::from_millis(10)..=seconds(HOUR)
}

/// The range of a wait for something that may never come.
pub(super) fn long_timeout() -> RangeInclusive<Duration> {
    Duration::from_millis(10)..=seconds(7 * 24 * HOUR)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn h2(table: &mut Table<'_>) -> (u32, Frequency) {
    table.not_yet(&["control_frames"]);
    let resets = table.value("resets").and_then(|value| value.parse("such as \"100/10s\"", frequency));
    let default = Frequency { times: 100, within: seconds(10) };
    (table.number("streams", 100, 1..=10_000), resets.unwrap_or(default))
}

/// What the machine has, or less.
fn memory(table: &mut Table<'_>) -> u64 {
    let there_is = table.reading.machine.memory;
    let written = table.value("memory").filter(|value| !value.is_word("auto"));
    let Some(value) = written else { return there_is };
    let Some(memory) = value.size(64 * MIB..=1 << 50) else { return there_is };
    if memory > there_is {
        value.warn(
            "more memory than there is",
            &format!("there are {} MiB here", there_is / MIB),
            "leave this at \"auto\"",
        );
    }
    memory.min(there_is)
}

fn connections(table: &mut Table<'_>) -> usize {
    let machine = table.reading.machine;
    let written = table.value("connections").filter(|value| !value.is_word("auto"));
    let Some(value) = written else { return machine.connections() };
    let Some(connections) = count_or_word(&value, "auto", 1..=10_000_000) else {
        return machine.connections();
    };
    if connections > machine.open_files {
        value.warn(
            "more connections than files that may be opened",
            &format!("RLIMIT_NOFILE is at most {} here", machine.open_files),
            "raise it (LimitNOFILE= in the systemd unit), or leave this at \"auto\"",
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

fn connections_per_ip(table: &mut Table<'_>) -> Option<usize> {
    let Some(value) = table.value("connections_per_ip") else { return Some(4096) };
    if value.is_word("off") {
        return None;
    }
    count_or_word(&value, "off", 1..=10_000_000).and_then(|count| usize::try_from(count).ok())
}

/// A number; where a text stands that is not the one word, that is said too.
fn count_or_word(value: &Value<'_>, word: &str, range: RangeInclusive<u64>) -> Option<u64> {
    if value.is_text() {
        value.fault(Fault::new("unknown word").help(format!("it is a number or \"{word}\"")));
        return None;
    }
    value.number(range)
}

fn min_rate(value: &Value<'_>) -> Option<u64> {
    value.parse("a rate such as \"500B/s\"", rate)
}
