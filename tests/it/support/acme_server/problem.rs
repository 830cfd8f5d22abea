//! Problem documents (RFC 8555 s6.7).

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::endpoints::{Answer, content};

/// Why a request or a challenge failed.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// The last part of its URN.
    kind: &'static str,
    status: u16,
    detail: String,
    retry_after: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(kind: &'static str, status: u16, detail: impl Into<String>) -> Self {
        Self { kind, status, detail: detail.into(), retry_after: None }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", 400, detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new("unauthorized", 403, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new("malformed", 404, "there is no such thing here")
    }

    pub(super) fn retry_after(self, retry_after: Option<&'static str>) -> Self {
        Self { retry_after, ..self }
    }

    pub(super) fn document(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:ietf:params:acme:error:{}", self.kind),
            "status": self.status,
            "detail": self.detail,
        });
        if self.kind == "badSignatureAlgorithm" {
            document["algorithms"] = json!(["ES256"]);
        }
        document
    }

    pub(super) fn answer(&self) -> Answer {
        let mut res = content(StatusCode::from_u16(self.status).unwrap(), self.document().to_string());
        let fields = res.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after) = self.retry_after {
            fields.insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
        }
        res
    }
}
