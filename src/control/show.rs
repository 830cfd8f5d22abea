//! What `seawall status`, `origins`, `certs` and `purge` print: the JSON of the admin
//! socket as text for people. A value that is not there is `-`, so that a
//! newer command can ask an older process.

use serde_json::Value;

use super::table::{self, Align};

/// The answer of `/v1/status`.
pub fn status(status: &Value) -> String {
    let count = |value: &Value, one: &str, many: &str| {
        let unit = if value.as_u64() == Some(1) { one } else { many };
        format!("{} {unit}", cell(value))
    };
    let cache = &status["cache"];
    let lines = [
        ("version", cell(&status["version"])),
        ("pid", cell(&status["pid"])),
        ("uptime", status["uptime_seconds"].as_u64().map_or_else(dash, uptime)),
        ("config", format!("{}, generation {}", cell(&status["config_file"]), cell(&status["generation"]))),
        ("workers", cell(&status["workers"])),
        ("connections", format!("{} open", cell(&status["connections_open"]))),
        (
            "cache",
            format!(
                "{} of {}, {}",
                cache["bytes"].as_u64().map_or_else(dash, size),
                cache["limit"].as_u64().map_or_else(dash, size),
                count(&cache["objects"], "stored response", "stored responses")
            ),
        ),
        ("draining", cell(&status["draining"])),
    ];
    lines.iter().map(|(name, value)| format!("{name:<11}  {value}\n")).collect()
}

/// The answer of `/v1/origins`.
pub fn origins(pools: &Value) -> String {
    let rows: Vec<_> = items(pools)
        .flat_map(|pool| items(&pool["servers"]).map(move |server| (pool, server)))
        .map(|(pool, server)| {
            [
                cell(&pool["name"]),
                cell(&server["label"]),
                state(server),
                cell(&server["in_flight"]),
                cell(&server["tunnels"]),
                cell(&server["latency_ms"]),
                cell(&server["requests"]),
                cell(&server["failures"]),
                cell(&server["last_error"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no origin servers\n".to_owned();
    }
    let columns = [
        ("POOL", Align::Left),
        ("SERVER", Align::Left),
        ("STATE", Align::Left),
        ("IN FLIGHT", Align::Right),
        ("TUNNELS", Align::Right),
        ("LATENCY MS", Align::Right),
        ("REQUESTS", Align::Right),
        ("FAILURES", Align::Right),
        ("LAST ERROR", Align::Left),
    ];
    table::render(columns, &rows)
}

/// Whether a server is asked, and whether it could be.
fn state(server: &Value) -> String {
    let state = cell(&server["state"]);
    let is_down_besides = server["is_down"] == true && state != "down";
    if is_down_besides { format!("{state}, down") } else { state }
}

/// The answer of `/v1/origins/drain`, `disable` and `enable`.
pub fn assigned(assigned: &Value) -> String {
    let line = |server: &Value| {
        let (pool, label, duty) = (cell(&server["pool"]), cell(&server["server"]), cell(&server["duty"]));
        format!("{label} of {pool} is {duty}\n")
    };
    items(&assigned["servers"]).map(line).collect()
}

/// The answer of `/v1/certificates`.
pub fn certificates(certificates: &Value) -> String {
    let told: Vec<_> = items(certificates).map(certificate).collect();
    if told.is_empty() { "no certificates\n".to_owned() } else { told.join("\n") }
}

/// One site's certificate, a line for each thing that is known of it.
fn certificate(certificate: &Value) -> String {
    let issuer = match &certificate["authority"] {
        Value::Null => cell(&certificate["issuer"]),
        authority => format!("{}, {}", cell(&certificate["issuer"]), cell(authority)),
    };
    let not_after = match (&certificate["not_after"], &certificate["issuer"]) {
        (Value::Null, Value::String(issuer)) if issuer == "acme" => {
            "not issued yet, a self-signed one is served".to_owned()
        }
        (not_after, _) => cell(not_after),
    };
    let next = match &certificate["why_then"] {
        Value::Null => cell(&certificate["next_renewal"]),
        why => format!("{} ({})", cell(&certificate["next_renewal"]), cell(why)),
    };
    let mut lines = vec![
        ("names", cell(&certificate["names"])),
        ("issuer", issuer),
        ("key", cell(&certificate["key"])),
        ("not after", not_after),
        ("next renewal", next),
        ("last error", cell(&certificate["last_error"])),
        ("what to do", cell(&certificate["what_to_do"])),
    ];
    lines.extend(items(&certificate["warnings"]).map(|warning| ("warning", cell(warning))));
    let told = lines
        .iter()
        .filter(|(name, value)| !(value == "-" && ["key", "last error", "what to do"].contains(name)));
    let told: String = told.map(|(name, value)| format!("  {name:<12}  {value}\n")).collect();
    format!("{}\n{told}", cell(&certificate["site"]))
}

/// The answer of `/v1/certificates/renew`.
pub fn renewing(renewing: &Value) -> String {
    match renewing["renewing"].as_u64() {
        Some(1) | None => "a new certificate is being made; `seawall certs` tells how that goes\n".to_owned(),
        Some(many) => {
            format!("{many} new certificates are being made; `seawall certs` tells how that goes\n")
        }
    }
}

/// The answer of `/v1/upgrade`.
pub fn upgraded(upgraded: &Value) -> String {
    let (pid, version) = (cell(&upgraded["pid"]), cell(&upgraded["version"]));
    format!("process {pid}, version {version}, serves; the one before it finishes its exchanges and ends\n")
}

/// The answer of `/v1/purge`.
pub fn purged(purged: &Value) -> String {
    let of = |tier: &str| cell(&purged["purged"][tier]);
    let so_far = if purged["complete"] == false { ", and it goes on" } else { "" };
    format!("purged {} in memory, {} on the disk{so_far}\n", of("memory"), of("disk"))
}

/// Why the edge refused, out of what it answered: more than one line where it is
/// about a config.
pub fn refusal(answer: &str) -> String {
    let told = serde_json::from_str::<Value>(answer).ok();
    let why = told.as_ref().and_then(|told| told["error"].as_str()).unwrap_or(answer.trim());
    let lines = why.lines().map(|line| line.chars().map(printable).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value on one line. Texts of certificate authorities and origin servers
/// end up here, so nothing that moves a terminal is let through.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => dash(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if text.is_empty() => dash(),
        Value::String(text) => text.chars().map(printable).collect(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn printable(character: char) -> char {
    if character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
        char::REPLACEMENT_CHARACTER
    } else {
        character
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

pub(super) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x400 => return format!("{bytes} B"),
        0x400..0x10_0000 => (0x400, "KiB"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000_u64, "GiB"),
    };
    // u128: ten times the bytes of a large disk still fit.
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::{CacheUsage, Status};

    #[test]
    fn the_status_of_a_process() {
        let value = serde_json::to_value(Status {
            version: "0.1.0",
            pid: 4711,
            uptime_seconds: 2 * 86_400 + 3 * 3600 + 59,
            generation: 3,
            config_file: Some("/etc/seawall/seawall.toml".to_owned()),
            workers: 2,
            connections_open: 17,
            cache: CacheUsage { bytes: 13_107_200, limit: 1 << 30, objects: 1 },
            draining: false,
        });
        let expected = "\
version      0.1.0
pid          4711
uptime       2d 3h
config       /etc/seawall/seawall.toml, generation 3
workers      2
connections  17 open
cache        12.5 MiB of 1.0 GiB, 1 stored response
draining     no
";
        assert_eq!(status(&value.unwrap()), expected);
    }

    #[test]
    fn the_servers_of_all_pools() {
        let server = |label: &str, state: &str, requests: u32, error: Value| {
            json!({ "label": label, "state": state, "is_down": error != Value::Null, "in_flight": 3, "tunnels": 2,
                    "latency_ms": 1.5, "requests": requests, "failures": 0, "last_error": error })
        };
        let pools = json!([
            { "name": "app", "servers": [
                server("10.0.0.1:8080", "up", 12_345, Value::Null),
                server("https://10.0.0.2:8443", "down", 7, json!("connection refused\u{1b}[2J")),
            ] },
            { "name": "site:example.com", "servers": [
                { "label": "10.0.0.3:80" },
                server("10.0.0.4:80", "draining", 7, json!("timeout")),
            ] },
        ]);
        let expected = "\
POOL              SERVER                 STATE           IN FLIGHT  TUNNELS  LATENCY MS  REQUESTS  FAILURES  LAST ERROR
app               10.0.0.1:8080          up                      3        2         1.5     12345         0  -
app               https://10.0.0.2:8443  down                    3        2         1.5         7         0  connection refused\u{fffd}[2J
site:example.com  10.0.0.3:80            -                       -        -           -         -         -  -
site:example.com  10.0.0.4:80            draining, down          3        2         1.5         7         0  timeout
";
        assert_eq!(origins(&pools), expected);
    }

    #[test]
    fn the_certificates() {
        let value = json!([
            { "site": "example.com", "names": ["example.com", "www.example.com"], "issuer": "acme",
              "authority": "https://ca.test/dir", "not_after": "2026-12-01T00:00:00Z",
              "next_renewal": "2026-11-01T00:00:00Z", "why_then": "the authority suggests it" },
            { "site": "a.test", "names": ["a.test"], "issuer": "acme", "not_after": null,
              "next_renewal": "2026-11-01T00:00:00Z", "why_then": "it is tried again after a failure",
              "last_error": "a.test was not proven", "what_to_do": "have it proven",
              "warnings": ["a.test: DNS has no such name"] },
            { "site": "localhost", "names": ["localhost"], "issuer": "internal", "last_error": "" },
        ]);
        let expected = "\
example.com
  names         example.com, www.example.com
  issuer        acme, https://ca.test/dir
  not after     2026-12-01T00:00:00Z
  next renewal  2026-11-01T00:00:00Z (the authority suggests it)

a.test
  names         a.test
  issuer        acme
  not after     not issued yet, a self-signed one is served
  next renewal  2026-11-01T00:00:00Z (it is tried again after a failure)
  last error    a.test was not proven
  what to do    have it proven
  warning       a.test: DNS has no such name

localhost
  names         localhost
  issuer        internal
  not after     -
  next renewal  -
";
        assert_eq!(certificates(&value), expected);
        assert!(renewing(&json!({ "renewing": 2 })).starts_with("2 new certificates are being made"));
        assert!(renewing(&json!({ "renewing": 1 })).starts_with("a new certificate is being made"));
    }

    #[test]
    fn what_is_wanted_of_a_server() {
        let server = |pool| json!({ "pool": pool, "server": "10.0.0.1:80", "duty": "draining" });
        let answer = json!({ "servers": [server("app"), server("api")] });
        assert_eq!(assigned(&answer), "10.0.0.1:80 of app is draining\n10.0.0.1:80 of api is draining\n");
    }

    #[test]
    fn what_was_purged() {
        let answer = |complete| json!({ "purged": { "memory": 2, "disk": 31 }, "complete": complete });
        assert_eq!(purged(&answer(true)), "purged 2 in memory, 31 on the disk\n");
        assert_eq!(purged(&answer(false)), "purged 2 in memory, 31 on the disk, and it goes on\n");
    }

    #[test]
    fn why_it_was_refused() {
        assert_eq!(refusal(r#"{"error":"no such\u001b thing"}"#), "no such\u{fffd} thing");
        assert_eq!(refusal("nonsense\n"), "nonsense");
    }

    #[test]
    fn nothing_to_show_and_nonsense() {
        assert_eq!(origins(&json!([])), "no origin servers\n");
        assert_eq!(certificates(&json!({ "error": "x" })), "no certificates\n");
        assert!(status(&Value::Null).starts_with("version      -\npid          -\n"));
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!([0, 1023, 1024, 1_572_864].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB"]);
        assert_eq!([5, 65, 3660, 90_000].map(uptime), ["5s", "1m 5s", "1h 1m", "1d 1h"]);
    }
}
