//! Looks into the cache that an operator asks for, as JSON: why a request is
//! answered as it is, what is stored, and how the cache does.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::api::as_json;
use super::server::refusal;
use crate::cache::{MOST_LISTED, Purge, StoredView};
use crate::router::Router;

/// How many keys are listed unless another number is asked for.
const LISTED: usize = 100;

/// The content of `POST /v1/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    url: String,
    #[serde(default)]
    fields: Vec<(String, String)>,
    /// False: no origin server is asked.
    #[serde(default = "yes")]
    fetch: bool,
}

/// The content of `POST /v1/cache/list`: everything, or one of the first two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    prefix: Option<String>,
    host: Option<String>,
    limit: Option<usize>,
}

/// The content of `POST /v1/cache/show`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    url: String,
}

/// Stored responses, and whether there are no others.
#[derive(Debug, Serialize)]
struct List {
    stored: Vec<StoredView>,
    complete: bool,
}

fn yes() -> bool {
    true
}

/// Why a request is answered as it is.
pub(super) async fn explain(router: &Router, content: &[u8]) -> Response<Full<Bytes>> {
    let question = match serde_json::from_slice::<Question>(content) {
        Ok(question) => question,
        Err(error) => return not_understood(&error.to_string()),
    };
    let mut fields = HeaderMap::new();
    for (name, value) in question.fields {
        match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
            (Ok(name), Ok(value)) => fields.append(name, value),
            // A value may be a secret.
            _ => return not_understood(&format!("`{name}` is no field, or has a value that is none")),
        };
    }
    match router.explain(&question.url, fields, question.fetch).await {
        Ok(explanation) => as_json(&explanation),
        Err(invalid) => not_understood(&invalid.to_string()),
    }
}

/// What is stored.
pub(super) async fn list(router: &Router, content: &[u8]) -> Response<Full<Bytes>> {
    let selection = match serde_json::from_slice::<Selection>(content) {
        Ok(selection) => selection,
        Err(error) => return not_understood(&error.to_string()),
    };
    let what = match (selection.prefix, selection.host) {
        (None, None) => Ok(Purge::everything()),
        (Some(prefix), None) => Purge::prefixes(&[prefix]),
        (None, Some(host)) => Purge::hosts(&[host]),
        (Some(_), Some(_)) => return not_understood("name a prefix or a host"),
    };
    let limit = selection.limit.unwrap_or(LISTED);
    match what {
        _ if limit == 0 => not_understood("a list has one key at least"),
        _ if limit > MOST_LISTED => not_understood(&format!("a list has {MOST_LISTED} keys at most")),
        Ok(what) => {
            let (stored, complete) = router.cache().list(&what, limit).await;
            as_json(&List { stored, complete })
        }
        Err(invalid) => not_understood(&invalid.to_string()),
    }
}

/// What is stored of one URL.
pub(super) async fn show(router: &Router, content: &[u8]) -> Response<Full<Bytes>> {
    let keys = match serde_json::from_slice::<Shown>(content) {
        Ok(shown) => router.keys_of(&shown.url),
        Err(error) => return not_understood(&error.to_string()),
    };
    match keys {
        Ok(keys) => {
            let mut stored = Vec::new();
            for key in &keys {
                stored.extend(router.cache().stored_under(key).await);
            }
            as_json(&List { stored, complete: true })
        }
        Err(invalid) => not_understood(&invalid.to_string()),
    }
}

fn not_understood(why: &str) -> Response<Full<Bytes>> {
    refusal(StatusCode::BAD_REQUEST, why)
}
