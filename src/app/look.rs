//! `seawall explain` and `seawall cache`: what the user asks, put to a running
//! edge or answered from a config alone, and the answer as text or JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, Subcommand};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::command_line::{CommandError, ConfigFile, Running, ask_with, load, print};
use crate::base::{SystemClock, Tasks};
use crate::cache::Cache;
use crate::config::model::CacheConfig;
use crate::control::show_cache;
use crate::exchange::{FetchError, Origin, Request, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::router::Router;
use crate::telemetry::Metrics;

/// The memory of a cache that stays empty.
const SMALL: u64 = 1 << 20;

/// Which request is to be explained.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The URL; without a scheme https is meant.
    url: String,
    /// A field of the request.
    #[arg(short = 'H', long = "field", value_name = "NAME: VALUE")]
    fields: Vec<String>,
    /// Ask no origin server.
    #[arg(long)]
    no_fetch: bool,
    /// Ask no running edge: tell what the config alone tells.
    #[arg(long, conflicts_with = "socket")]
    dry: bool,
    #[command(flatten)]
    running: Running,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  seawall explain https://example.com/
  seawall explain example.com/account -H 'Cookie: session=x'
  seawall explain example.com/a.css --dry -c seawall.toml";

/// What is to be shown of the cache.
#[derive(Debug, Args)]
pub(super) struct Shown {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    running: Running,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List stored responses.
    Ls {
        /// Only those whose URL begins with this.
        #[arg(long, value_name = "URL", conflicts_with = "host")]
        prefix: Option<String>,
        /// Only those of this host.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// How many keys of each tier.
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
    },
    /// Show what is stored of a URL.
    Show {
        /// The URL; without a scheme under http and https.
        url: String,
    },
    /// Show how full the cache is, and how it does.
    Stat,
}

/// Tells what becomes of a request.
pub(super) fn explain(explain: &Explain) -> Result<(), CommandError> {
    let fields: Vec<(String, String)> =
        explain.fields.iter().map(|line| field(line)).collect::<Result<_, _>>()?;
    let answer = if explain.dry {
        dry(explain, &fields)?
    } else {
        let question = json!({ "url": explain.url, "fields": fields, "fetch": !explain.no_fetch });
        ask_with(&explain.running, Method::POST, "/v1/explain", question.to_string().into())?
    };
    shown(&answer, explain.json, show_cache::explanation)
}

/// Shows something of the cache.
pub(super) fn cache(asked: &Shown) -> Result<(), CommandError> {
    let (path, question, render): (_, _, fn(&Value) -> String) = match &asked.what {
        What::Ls { prefix, host, limit } => {
            let question = json!({ "prefix": prefix, "host": host, "limit": limit });
            ("/v1/cache/list", question.to_string(), show_cache::list)
        }
        What::Show { url } => ("/v1/cache/show", json!({ "url": url }).to_string(), show_cache::stored),
        What::Stat => ("/v1/cache/stat", String::new(), show_cache::stat),
    };
    let method = if question.is_empty() { Method::GET } else { Method::POST };
    let answer = ask_with(&asked.running, method, path, question.into())?;
    shown(&answer, asked.json, render)
}

fn shown(answer: &str, as_json: bool, render: fn(&Value) -> String) -> Result<(), CommandError> {
    if as_json { print(answer) } else { print(&render(&serde_json::from_str(answer)?)) }
}

fn field(line: &str) -> Result<(String, String), CommandError> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| format!("`{line}` is no field: write NAME: VALUE"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Stands for every origin server where none is asked.
#[derive(Debug)]
struct Nobody;

impl Origin for Nobody {
    fn fetch(self: Arc<Self>, _: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        let error = FetchError::new(ProxyErrorType::DestinationUnavailable, RequestProgress::NotSent);
        std::future::ready(Err(error)).boxed()
    }
}

/// What the config tells, with nothing stored and nobody asked.
fn dry(explain: &Explain, fields: &[(String, String)]) -> Result<String, CommandError> {
    let (_, loaded) = load(&ConfigFile { config: explain.running.config.clone() })?;
    let mut sent = HeaderMap::new();
    for (name, value) in fields {
        sent.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let mut config = loaded.config;
    config.cache = CacheConfig { disk: None, memory: SMALL, ..config.cache };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explanation = runtime.block_on(async {
        let metrics = Arc::new(Metrics::default());
        let cache = Cache::new(&config.cache, Arc::new(SystemClock), &Tasks::new(), Arc::clone(&metrics));
        let nobody: Arc<dyn Origin> = Arc::new(Nobody);
        let origins: BTreeMap<_, _> =
            config.pools.keys().map(|name| (Arc::clone(name), Arc::clone(&nobody))).collect();
        Router::new(&config, &origins, cache, &metrics).explain(&explain.url, sent, false).await
    })?;
    Ok(serde_json::to_string(&explanation)?)
}
