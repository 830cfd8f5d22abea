//! `health`: how origin servers are checked. A path, a table, or `false`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::limits;
use crate::config::model::{HealthCheck, Location, ServerConfig};
use crate::config::read::{Fault, Table, Value, duration_text};

/// A longer text is no mark of a server that is well.
const LONGEST_TEXT: usize = 1024;

/// Reads the value for `servers`: absent, a connection is enough; `false`, none.
pub(crate) fn health(value: Option<Value<'_>>, servers: &[ServerConfig]) -> Option<HealthCheck> {
    let Some(value) = value else { return Some(connection_check()) };
    if value.is_false() {
        return None;
    }
    if value.is_text() {
        return Some(HealthCheck { path: path(&value), ..connection_check() });
    }
    if !value.is_table() {
        value.mismatch("a path, false or a table");
        return None;
    }
    value.table(|table| check(table, servers))
}

fn connection_check() -> HealthCheck {
    HealthCheck {
        path: None,
        host: None,
        port: None,
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
        expect: (200, 299),
        expect_text: None,
    }
}

fn check(table: &mut Table<'_>, servers: &[ServerConfig]) -> HealthCheck {
    let default = connection_check();
    let written_path = table.value("path");
    let host = table.value("host");
    let expect = table.value("expect");
    let expect_text = table.value("expect_text");
    if written_path.is_none() {
        for value in host.iter().chain(&expect).chain(&expect_text) {
            value.warn(
                format!("`{}` has no effect", value.key),
                "without `path` a connection is all that is checked",
                "add path = \"/healthz\"",
            );
        }
    }
    let every = table.duration("every", default.every, interval());
    HealthCheck {
        path: written_path.and_then(|value| path(&value)),
        host: host.and_then(|value| value.parse("a host", host_of_check)),
        port: table.value("port").and_then(|value| port(&value, servers)),
        every,
        timeout: timeout(table, every, default.timeout),
        rise: table.number("rise", default.rise, 1..=100),
        fall: table.number("fall", default.fall, 1..=100),
        expect: expect
            .and_then(|value| value.parse("statuses such as \"2xx\"", statuses))
            .unwrap_or(default.expect),
        expect_text: expect_text.and_then(|value| value.parse("a text", text_of_content)),
    }
}

fn interval() -> RangeInclusive<Duration> {
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600)
}

/// A check has to end before the next one begins.
fn timeout(table: &mut Table<'_>, every: Duration, default: Duration) -> Duration {
    let Some(value) = table.value("timeout") else { return default.min(every) };
    let timeout = value.duration(limits::timeout()).unwrap_or(default.min(every));
    if timeout > every {
        value.fault(
            Fault::new(format!("longer than the {} from one check to the next", duration_text(every)))
                .help("a check has to end before the next one begins"),
        );
    }
    timeout
}

fn path(value: &Value<'_>) -> Option<String> {
    value.parse("a path such as \"/healthz\"", |text| {
        if !text.starts_with('/') {
            return Err(
                Fault::new("a path begins with `/`").help(format!("write \"/{}\"", text.escape_debug()))
            );
        }
        let is_target = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let is_target = is_target && text.parse::<http::uri::PathAndQuery>().is_ok();
        if is_target { Ok(text.to_owned()) } else { Err(Fault::new("not a path as it stands in a request")) }
    })
}

fn host_of_check(text: &str) -> Result<String, Fault> {
    let is_authority = text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
    if is_authority { Ok(text.to_ascii_lowercase()) } else { Err(Fault::new("not a host")) }
}

fn port(value: &Value<'_>, servers: &[ServerConfig]) -> Option<u16> {
    if let Some(server) = servers.iter().find(|server| matches!(server.location, Location::Socket(_))) {
        let fault = Fault::new(format!("`{}` is a socket, which has no ports", server.label));
        value.fault(fault.help("put such servers into a pool of their own"));
        return None;
    }
    value.number(1..=65_535).and_then(|port| u16::try_from(port).ok())
}

fn text_of_content(text: &str) -> Result<String, Fault> {
    match text.len() {
        0 => Err(Fault::new("an empty text is in any content")),
        length if length > LONGEST_TEXT => Err(Fault::new(format!("longer than {LONGEST_TEXT} bytes"))),
        _ => Ok(text.to_owned()),
    }
}

/// `2xx`, `204`, `200-399` or `2xx-3xx`.
fn statuses(text: &str) -> Result<(u16, u16), Fault> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (status_class(from), status_class(to)) {
        (Some((low, _)), Some((_, high))) if low <= high => Ok((low, high)),
        _ => Err(Fault::new("not statuses from 200 to 599").help("write \"2xx\", \"204\" or \"200-399\"")),
    }
}

fn status_class(text: &str) -> Option<(u16, u16)> {
    let (low, high) = match text.strip_suffix("xx") {
        Some(class) => {
            let class: u16 = class.parse().ok().filter(|_| class.len() == 1)?;
            (class * 100, class * 100 + 99)
        }
        None => {
            let status: u16 = text.parse().ok().filter(|_| text.len() == 3)?;
            (status, status)
        }
    };
    (200..600).contains(&low).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::statuses;

    #[test]
    fn statuses_are_single_or_ranges() {
        assert_eq!(statuses("2xx"), Ok((200, 299)));
        assert_eq!(statuses("204"), Ok((204, 204)));
        assert_eq!(statuses("200-399"), Ok((200, 399)));
        assert_eq!(statuses("2xx-3xx"), Ok((200, 399)));
        for wrong in ["", "xx", "1xx", "6xx", "20", "399-200", "2xx-", "+20", "22xx", "éxx"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }
}
