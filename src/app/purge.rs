//! `seawall purge`: what the user names, sent to a running edge, and what that
//! made of it.

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::command_line::{CommandError, Running, ask_with, print};
use crate::control::show;

/// What is to be purged.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Purge {
    #[command(flatten)]
    what: What,
    /// Make stale instead of removing: it is validated at the next request, and
    /// may be served stale meanwhile, or while the origin servers are down.
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    running: Running,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Exactly these URLs, with all their variants; without a scheme under http
    /// and https.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Everything whose URL begins with this, byte for byte.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// Everything of this host; without a port at every port.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Everything that has this tag in Surrogate-Key or Cache-Tag.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

const EXAMPLES: &str = "\
Examples:
  seawall purge https://example.com/a.css example.com/
  seawall purge --prefix https://example.com/assets/
  seawall purge --tag article-17 --tag front-page --soft
  seawall purge --all";

/// Has it purged, and prints what was.
pub(super) fn run(purge: &Purge) -> Result<(), CommandError> {
    let order = purge.what.order(purge.soft).to_string();
    let answer = ask_with(&purge.running, Method::POST, "/v1/purge", order.into())?;
    let purged: Value = serde_json::from_str(&answer)?;
    print(&if purge.json { answer } else { show::purged(&purged) })?;
    match purged["durable"].as_bool() {
        Some(false) => {
            let reason = show::cell(&purged["reason"]);
            Err(format!("it holds now, but after a restart some of it might be found again: {reason}").into())
        }
        _ => Ok(()),
    }
}

impl What {
    fn order(&self, soft: bool) -> Value {
        let lists =
            [("urls", &self.urls), ("prefixes", &self.prefix), ("hosts", &self.host), ("tags", &self.tag)];
        let mut order = Map::from_iter([("soft".to_owned(), json!(soft))]);
        for (kind, named) in lists.into_iter().filter(|(_, named)| !named.is_empty()) {
            order.insert(kind.to_owned(), json!(named));
        }
        if self.all {
            order.insert("all".to_owned(), json!(true));
        }
        Value::Object(order)
    }
}
