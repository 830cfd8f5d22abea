//! What an operator wants of an origin server, as JSON, and the answer to it.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Lifecycle;
use super::api::as_json;
use super::server::refusal;
use crate::balance::Duty;

/// The content of `POST /v1/origins/drain`, `disable` and `enable`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    server: String,
    /// Without it the server is meant in every pool that has it.
    pool: Option<String>,
}

/// An origin server that an order was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assigned {
    /// The name of its pool.
    pub pool: String,
    /// As the config writes it.
    pub server: String,
    /// What is wanted of it from now on.
    pub duty: Duty,
}

/// Gives the server that `content` names this `duty`.
pub(super) fn answer(lifecycle: &dyn Lifecycle, duty: Duty, content: &[u8]) -> Response<Full<Bytes>> {
    let order = match serde_json::from_slice::<Order>(content) {
        Ok(order) => order,
        Err(error) => {
            let why = format!("the content is to be {{\"server\": \"10.0.0.1:8080\"}}: {error}");
            return refusal(StatusCode::BAD_REQUEST, &why);
        }
    };
    let assigned = lifecycle.assign(&order.server, order.pool.as_deref(), duty);
    if assigned.is_empty() {
        return refusal(StatusCode::NOT_FOUND, "no pool has this server: `seawall origins` shows them all");
    }
    as_json(&json!({ "servers": assigned }))
}
