//! `log`: the access log, and how much the program says of itself.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::model::{AccessLogFormat, AccessLogTarget, Log};
use super::read::{Fault, Files, Table, Value, did_you_mean};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> Log {
    let formats = [("json", AccessLogFormat::Json), ("combined", AccessLogFormat::Combined)];
    let redacted = table.list("redact_query", |value| value.parse("the name of a parameter", parameter));
    Log {
        access: table.value("access").and_then(|value| target(&value)).unwrap_or(AccessLogTarget::Stdout),
        format: table
            .value("format")
            .and_then(|value| value.choice(&formats))
            .unwrap_or(AccessLogFormat::Json),
        redact_query: redacted.unwrap_or_else(|| ["token", "code", "email"].map(str::to_owned).into()),
        level: table.value("level").and_then(|value| level(&value)).unwrap_or_else(|| "info".to_owned()),
    }
}

fn target(value: &Value<'_>) -> Option<AccessLogTarget> {
    let what = "\"stdout\", \"stderr\", \"off\" or the path of a file";
    value.parse(what, |text| match text {
        "off" => Ok(AccessLogTarget::Off),
        "stdout" => Ok(AccessLogTarget::Stdout),
        "stderr" => Ok(AccessLogTarget::Stderr),
        path if is_path(path) => {
            let path = value.reading.resolve(path);
            match text.ends_with('/') || value.reading.files == Files::Check && path.is_dir() {
                true => Err(Fault::new("a directory").help("name a file in it")),
                false => Ok(AccessLogTarget::File(path)),
            }
        }
        word => {
            let near = did_you_mean(word, ["stdout", "stderr", "off"]);
            Err(Fault::new("neither a path nor a known word").help(
                near.map_or_else(|| format!("it is {what}"), |near| format!("did you mean \"{near}\"?")),
            ))
        }
    })
}

/// A mistyped word must not become a file of that name.
fn is_path(text: &str) -> bool {
    text.contains(['/', '.']) && !text.contains('\0') && PathBuf::from(text).file_name().is_some()
}

/// The name of a parameter, which may end with a star.
fn parameter(text: &str) -> Result<String, Fault> {
    match text.strip_suffix('*').unwrap_or(text).contains('*') {
        true => Err(Fault::new("a star stands for the end of a name")
            .help("write \"x-amz-*\" for all that begin with x-amz-")),
        false => Ok(text.to_owned()),
    }
}

/// A level, or a list such as `seawall=debug,info`.
fn level(value: &Value<'_>) -> Option<String> {
    value.parse("a level such as \"info\"", |text| {
        for directive in text.split(',') {
            let level = directive.rsplit('=').next().unwrap_or(directive).trim();
            if !LEVELS.contains(&level) {
                let near = did_you_mean(level, LEVELS).map(|near| format!("did you mean \"{near}\"?"));
                let all =
                    || format!("the levels are {}; a list is \"seawall=debug,info\"", LEVELS.join(", "));
                return Err(Fault::new("unknown level").help(near.unwrap_or_else(all)));
            }
        }
        EnvFilter::try_new(text).map_err(|error| {
            Fault::new(error.to_string()).help("write a level, or a list such as \"seawall=debug,info\"")
        })?;
        Ok(text.to_owned())
    })
}
