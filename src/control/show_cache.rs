//! What `seawall explain` and `seawall cache` print: the JSON of the admin
//! socket as text for people. A value that is not there is left out, or `-`.

use std::fmt::Write as _;

use serde_json::Value;

use super::show::{cell, items, size};
use super::table::{self, Align};

/// The answer of `/v1/explain`.
pub fn explanation(told: &Value) -> String {
    let mut text = format!("{}\n", cell(&told["url"]));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "-" {
            let _ = writeln!(text, "  {name:<13} {value}");
        }
    };
    line("site", cell(&told["site"]));
    if let Some([number, path]) = told["route"].as_array().map(Vec::as_slice) {
        line("route", format!("{}: {}", cell(number), cell(path)));
    }
    line("clients", cell(&told["clients"]));
    line("answered", cell(&told["answered"]));
    line("looked up as", joined(&told["key"], |part| format!("{} {}", cell(&part[0]), cell(&part[1]))));
    let dropped = joined(&told["dropped_fields"], cell);
    if !dropped.is_empty() {
        line("not sent on", format!("{dropped} (clients may not send it; see forward_fields)"));
    }
    line("rules", joined(&told["rules"], cell));
    line("now", cell(&told["cache_status"]));
    line("", cell(&told["remedy"]));
    text.push_str(&stored_lines(&told["stored"], told["answered"].is_null()));
    text.push_str(&origin_lines(&told["origin"]));
    text
}

/// The answer of `/v1/cache/list`.
pub fn list(list: &Value) -> String {
    let rows: Vec<_> = items(&list["stored"])
        .map(|stored| {
            [
                cell(&stored["tier"]),
                cell(&stored["status"]),
                cell(&stored["age"]),
                cell(&stored["ttl"]),
                stored["size"].as_u64().map_or_else(|| "-".to_owned(), size),
                cell(&stored["url"]),
            ]
        })
        .collect();
    let is_all = list["complete"] != false;
    if rows.is_empty() {
        let said =
            if is_all { "nothing is stored" } else { "nothing was found, but not everything was looked at" };
        return format!("{said}\n");
    }
    let columns = [
        ("TIER", Align::Left),
        ("STATUS", Align::Right),
        ("AGE S", Align::Right),
        ("TTL S", Align::Right),
        ("SIZE", Align::Right),
        ("URL", Align::Left),
    ];
    let mut text = table::render(columns, &rows);
    if !is_all {
        text.push_str("there may be more: not everything was looked at (see --limit)\n");
    }
    text
}

/// The answer of `/v1/cache/show`.
pub fn stored(list: &Value) -> String {
    stored_lines(&list["stored"], true)
}

/// The answer of `/v1/cache/stat`.
pub fn stat(stat: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<16} {value}");
    };
    let full = |tier: &Value| {
        let bytes = |key: &str| tier[key].as_u64().map_or_else(|| "-".to_owned(), size);
        format!("{} of {}, {} objects", bytes("bytes"), bytes("capacity"), cell(&tier["objects"]))
    };
    let usage = &stat["usage"];
    line("memory", full(usage));
    if !usage["disk"].is_null() {
        line("disk", full(&usage["disk"]));
    }
    let requests: Vec<(String, u64)> = items(&stat["requests"])
        .map(|pair| (cell(&pair[0]), pair[1].as_u64().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let counted = |kinds: &[&str]| -> u64 {
        requests.iter().filter(|(kind, _)| kinds.contains(&kind.as_str())).map(|(_, count)| count).sum()
    };
    let (served, asked) = (
        counted(&["hit", "stale", "revalidated", "collapsed"]),
        counted(&["hit", "stale", "revalidated", "collapsed", "expired", "miss"]),
    );
    line(
        "requests",
        requests.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", "),
    );
    if let Some(ratio) = (served * 1000).checked_div(asked) {
        line("hit ratio", format!("{}.{} %", ratio / 10, ratio % 10));
    }
    for (name, key) in [
        ("fills", "fills"),
        ("  stored", "fills_stored"),
        ("  failed", "fills_failed"),
        ("  joined", "fills_joined"),
        ("evictions", "evictions"),
        ("invalidations", "invalidations"),
        ("purged", "purged"),
        ("compressed", "encodings"),
        ("disk hits", "disk_hits"),
        ("disk writes", "disk_writes"),
        ("disk evictions", "disk_evictions"),
        ("disk errors", "disk_errors"),
    ] {
        line(name, cell(&stat[key]));
    }
    text
}

fn stored_lines(stored: &Value, is_told: bool) -> String {
    let mut text = String::new();
    if items(stored).next().is_none() {
        return if is_told { "  nothing is stored under this key\n".to_owned() } else { text };
    }
    for stored in items(stored) {
        let mut facts = vec![
            format!("{} {}", cell(&stored["tier"]), cell(&stored["status"])),
            format!("age {}s", cell(&stored["age"])),
            match stored["ttl"].as_i64() {
                Some(ttl) if ttl > 0 => format!("fresh for {ttl}s more"),
                Some(ttl) => format!("stale for {}s", -ttl),
                None => "-".to_owned(),
            },
            format!("lifetime {}s ({})", cell(&stored["lifetime"]), cell(&stored["lifetime_from"])),
            stored["size"].as_u64().map_or_else(|| "-".to_owned(), size),
        ];
        for (name, key) in
            [("ETag", "etag"), ("Last-Modified", "last_modified"), ("coding", "coding"), ("part", "part")]
        {
            if !stored[key].is_null() {
                facts.push(format!("{name} {}", cell(&stored[key])));
            }
        }
        for (name, key) in [("compressed as", "encoded"), ("tags", "tags")] {
            let list = joined(&stored[key], cell);
            if !list.is_empty() {
                facts.push(format!("{name} {list}"));
            }
        }
        match &stored["varies_on"] {
            Value::Null => facts.push("varies on what no request tells".to_owned()),
            fields => {
                let fields = joined(fields, |field| match &field[1] {
                    Value::Null => format!("no {}", cell(&field[0])),
                    value => format!("{}: {}", cell(&field[0]), cell(value)),
                });
                if !fields.is_empty() {
                    facts.push(format!("for {fields}"));
                }
            }
        }
        if stored["in_slices"] == true {
            facts.push("in slices".to_owned());
        }
        let selected = if stored["selected"] == true { "  <- selected" } else { "" };
        let _ = writeln!(text, "  stored        {}{selected}", facts.join(", "));
    }
    text
}

fn origin_lines(origin: &Value) -> String {
    if origin.is_null() {
        return String::new();
    }
    if !origin["error"].is_null() {
        return format!("  origin server gave no answer: {}\n", cell(&origin["error"]));
    }
    let mut text = format!("  origin server answered {} just now; ", cell(&origin["status"]));
    if items(&origin["refusals"]).next().is_none() {
        let lifetime = format!("{}s ({})", cell(&origin["lifetime"]), cell(&origin["lifetime_from"]));
        let _ = writeln!(text, "that would be stored, with a lifetime of {lifetime}");
        return text;
    }
    text.push_str("that is not stored:\n");
    for refusal in items(&origin["refusals"]) {
        let _ = write!(text, "    {}", cell(&refusal["reason"]));
        if !refusal["line"].is_null() {
            let _ =
                write!(text, ", because the {} sent `{}`", cell(&refusal["sender"]), cell(&refusal["line"]));
        }
        text.push('\n');
        for (who, key) in [("origin server", "origin"), ("configuration", "operator")] {
            if !refusal[key].is_null() {
                let _ = writeln!(text, "      {who}: {}", cell(&refusal[key]));
            }
        }
    }
    text
}

fn joined(list: &Value, text: impl Fn(&Value) -> String) -> String {
    items(list).map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_names_what_is_to_blame() {
        let told = json!({
            "url": "https://a.test/x", "site": "a.test", "route": [2, "/x*"], "answered": null,
            "key": [["scheme", "https"], ["host", "a.test"], ["path", "/x"]],
            "dropped_fields": ["x-forwarded-host"], "rules": ["ttl = 60s"],
            "cache_status": "Seawall; fwd=uri-miss", "remedy": null, "stored": [],
            "origin": { "error": null, "status": 200, "lifetime": 60, "lifetime_from": "max-age", "refusals": [{
                "reason": "private", "sender": "origin server", "line": "Cache-Control: private",
                "origin": "Say public.", "operator": null,
            }] },
        });
        let expected = "\
https://a.test/x
  site          a.test
  route         2: /x*
  looked up as  scheme https, host a.test, path /x
  not sent on   x-forwarded-host (clients may not send it; see forward_fields)
  rules         ttl = 60s
  now           Seawall; fwd=uri-miss
  nothing is stored under this key
  origin server answered 200 just now; that is not stored:
    private, because the origin server sent `Cache-Control: private`
      origin server: Say public.
";
        assert_eq!(explanation(&told), expected);
        let told =
            json!({ "url": "https://a.test/", "stored": [], "origin": { "error": "connection_refused" } });
        assert!(explanation(&told).ends_with("  origin server gave no answer: connection_refused\n"));
        let told = json!({ "url": "http://a.test/", "answered": "308 to https://a.test/" });
        assert_eq!(explanation(&told), "http://a.test/\n  answered      308 to https://a.test/\n");
    }

    #[test]
    fn stored_responses_are_told_in_a_line_each() {
        let list = json!({ "complete": false, "stored": [{
            "url": "https://a.test/x", "tier": "memory", "status": 200, "age": 12, "ttl": 48, "lifetime": 60,
            "lifetime_from": "max-age", "size": 2048, "etag": "\"1\"", "last_modified": null, "coding": null,
            "varies_on": [["Accept-Language", "de"], ["Foo", null]], "tags": ["a", "b"], "encoded": ["br"],
            "part": null, "in_slices": false, "selected": true,
        }] });
        assert_eq!(
            stored(&list),
            "  stored        memory 200, age 12s, fresh for 48s more, lifetime 60s (max-age), 2.0 KiB, ETag \"1\", \
             compressed as br, tags a, b, for Accept-Language: de, no Foo  <- selected\n"
        );
        assert_eq!(
            super::list(&list),
            "TIER    STATUS  AGE S  TTL S     SIZE  URL\nmemory     200     12     48  2.0 KiB  https://a.test/x\n\
             there may be more: not everything was looked at (see --limit)\n"
        );
        assert_eq!(super::list(&json!({ "stored": [] })), "nothing is stored\n");
    }

    #[test]
    fn the_state_of_the_cache() {
        let value = json!({
            "usage": { "bytes": 1024, "capacity": 2048, "objects": 3, "disk": null },
            "requests": [["hit", 3], ["miss", 1], ["bypass", 9], ["stale", 0]], "fills": 1,
        });
        let text = stat(&value);
        for line in [
            "memory           1.0 KiB of 2.0 KiB, 3 objects\n",
            "requests         hit 3, miss 1, bypass 9\n",
            "hit ratio        75.0 %\n",
            "fills            1\n",
            "disk hits        -\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
