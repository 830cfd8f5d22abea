//! What an operator asks to be purged, as JSON, and the answer to it.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;

use super::api::as_json;
use super::server::refusal;
use crate::cache::{InvalidPurge, Purge, PurgeError};
use crate::router::Router;

/// The content of `POST /v1/purge`: one of the first five, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    urls: Option<Vec<String>>,
    prefixes: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
}

/// Purges what `content` names.
pub(super) async fn answer(router: &Router, content: &[u8]) -> Response<Full<Bytes>> {
    let order = match serde_json::from_slice::<Order>(content) {
        Ok(order) => order,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("not an order to purge: {error}")),
    };
    let soft = order.soft;
    let purge = match named(order, router) {
        Some(Ok(purge)) => purge.softly(soft),
        Some(Err(invalid)) => return refusal(StatusCode::BAD_REQUEST, &invalid.to_string()),
        None => {
            let why = "name one of urls, prefixes, hosts, tags and all";
            return refusal(StatusCode::BAD_REQUEST, why);
        }
    };
    match router.purge(purge).await {
        Ok(purged) => {
            let mut res = as_json(&purged);
            if !purged.complete {
                *res.status_mut() = StatusCode::ACCEPTED;
            }
            res
        }
        Err(error @ (PurgeError::TooMany | PurgeError::Left)) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Err(error @ PurgeError::Lost(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a purge was not carried out");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

/// `None` unless exactly one kind is named.
fn named(order: Order, router: &Router) -> Option<Result<Purge, InvalidPurge>> {
    let Order { urls, prefixes, hosts, tags, all, soft: _ } = order;
    match (urls, prefixes, hosts, tags, all) {
        (Some(urls), None, None, None, false) => Some(keys(&urls, router)),
        (None, Some(prefixes), None, None, false) => Some(Purge::prefixes(&prefixes)),
        (None, None, Some(hosts), None, false) => Some(Purge::hosts(&hosts)),
        (None, None, None, Some(tags), false) => Some(Purge::tags(tags)),
        (None, None, None, None, true) => Some(Ok(Purge::everything())),
        _ => None,
    }
}

fn keys(urls: &[String], router: &Router) -> Result<Purge, InvalidPurge> {
    let keys: Result<Vec<_>, _> = urls.iter().map(|url| router.keys_of(url)).collect();
    Purge::keys(keys?.concat())
}
