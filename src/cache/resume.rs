//! Fetches the rest of a response for a reader that fell out of the window of
//! the fill it shared, from the very byte it needs next.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::asked::Asked;
use crate::exchange::{Body, BodyError, Request, Response};
use crate::policy::{self, StoredHead};

/// What is needed to ask for the rest of a response.
#[derive(Debug)]
pub(super) struct Resume {
    asked: Arc<Asked>,
    head: Arc<StoredHead>,
}

impl Resume {
    /// For a client that asked for `asked` and was sent `head`.
    pub(super) fn new(asked: &Arc<Asked>, head: &Arc<StoredHead>) -> Self {
        Self { asked: Arc::clone(asked), head: Arc::clone(head) }
    }

    /// The bytes from the offset `at` on: of the same representation, or an
    /// error.
    pub(super) async fn rest(self, at: u64) -> Result<Body, BodyError> {
        let gone = |reason: &str| BodyError::Shared(reason.to_owned());
        let req = self.request(at).ok_or_else(|| gone("the client was too slow to share it"))?;
        let origin = Arc::clone(&self.asked.origin);
        let response = origin.fetch(req).await.map_err(|error| gone(error.kind.as_str()))?;
        if self.continues(&response, at) {
            Ok(response.body)
        } else {
            Err(gone("the client was too slow to share it, and it has changed"))
        }
    }

    /// Asks for all of it or, with a strong validator, for the rest
    /// (RFC 9110 s13.1.5).
    fn request(&self, at: u64) -> Option<Request> {
        let mut req = self.asked.request();
        policy::strip_conditional(&mut req.fields);
        if at > 0 {
            let etag = self.head.fields.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\""))?;
            req.fields.insert(IF_RANGE, etag.clone());
            req.fields.insert(RANGE, HeaderValue::try_from(format!("bytes={at}-")).ok()?);
        }
        Some(req)
    }

    fn continues(&self, response: &Response, at: u64) -> bool {
        let same = |name| self.head.fields.get(&name) == response.fields.get(&name);
        if at == 0 {
            let shown = [ETAG, LAST_MODIFIED, CONTENT_TYPE, CONTENT_ENCODING];
            return response.status == self.head.status && shown.into_iter().all(same);
        }
        response.status == StatusCode::PARTIAL_CONTENT && same(ETAG) && starts_at(&response.fields, at)
    }
}

fn starts_at(fields: &HeaderMap, at: u64) -> bool {
    fields
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .is_some_and(|(first, _)| first.trim().parse() == Ok(at))
}
