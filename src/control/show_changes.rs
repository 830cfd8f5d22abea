//! What is other in a configuration, as text.

use serde_json::Value;

/// What a reload would change.
pub fn plan(changes: &Value) -> String {
    text(changes)
}

/// What a reload has changed.
pub fn reloaded(reloaded: &Value) -> String {
    let generation = &reloaded["generation"];
    format!(
        "the config was read anew: it is number {generation} of this process\n{}",
        text(&reloaded["changes"])
    )
}

fn text(changes: &Value) -> String {
    let mut lines: Vec<String> = items(&changes["reloaded"]).map(change).collect();
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    let after_restart = words(&changes["after_restart"]);
    if !after_restart.is_empty() {
        lines.push(format!("! only from the next start on: {after_restart}"));
    }
    lines.extend(items(&changes["warnings"]).filter_map(Value::as_str).map(|warning| format!("\n{warning}")));
    lines.join("\n")
}

fn change(change: &Value) -> String {
    let sign = match change["kind"].as_str() {
        Some("added") => '+',
        Some("removed") => '-',
        _ => '~',
    };
    let what = change["what"].as_str().unwrap_or_default();
    let keys = words(&change["keys"]);
    if keys.is_empty() { format!("{sign} {what}") } else { format!("{sign} {what}: {keys}") }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn words(list: &Value) -> String {
    items(list).filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_has_its_line() {
        let changes = json!({
            "reloaded": [
                { "kind": "added", "what": "site b.test" },
                { "kind": "changed", "what": "pool app", "keys": ["origins +10.0.0.3:80", "timeouts"] },
                { "kind": "removed", "what": "listener http 0.0.0.0:80" },
            ],
            "after_restart": ["workers", "cache.memory"],
            "warnings": ["warning: a\n --> b", "warning: c"],
        });
        let expected = "+ site b.test\n~ pool app: origins +10.0.0.3:80, timeouts\n- listener http 0.0.0.0:80\n\
                        ! only from the next start on: workers, cache.memory\n\n\
                        warning: a\n --> b\n\nwarning: c";
        assert_eq!(plan(&changes), expected);
        let reloaded = reloaded(&json!({ "generation": 2, "changes": changes }));
        assert!(reloaded.ends_with(expected) && reloaded.contains("number 2"));
    }

    #[test]
    fn no_change_is_said() {
        assert_eq!(plan(&json!({ "reloaded": [], "after_restart": [] })), "nothing changes");
    }
}
