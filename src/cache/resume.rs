//! Fetches the rest of a response for a reader that fell out of the window of
//! the fill it shared, from the very byte it needs next.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;

use super::asked::Asked;
use crate::exchange::{Body, BodyError, Request, Response};
use crate::fields::list;
use crate::fields::range::ContentRange;
use crate::policy::{self, StoredHead};

/// The rest of a response.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) body: Body,
    /// The offset at which it ends, where that is known.
    pub(super) until: Option<u64>,
}

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

    /// True if the rest can be asked for, wherever it begins, as far as the origin server
    /// says, and told from that of something else.
    pub(super) fn is_possible(&self) -> bool {
        let units = self.head.field(&ACCEPT_RANGES).unwrap_or_default();
        let knows_ranges = list::members(units).any(|unit| unit.eq_ignore_ascii_case(b"bytes"));
        knows_ranges && self.strong_etag().is_some()
    }

    fn strong_etag(&self) -> Option<&[u8]> {
        self.head.field(&ETAG).filter(|etag| etag.starts_with(b"\""))
    }

    /// The bytes from the offset `at` on, up to `until` where that is known: of
    /// the same representation, or an error.
    pub(super) async fn rest(self, at: u64, until: Option<u64>) -> Result<Rest, BodyError> {
        let gone = |reason: &str| BodyError::Shared(reason.to_owned());
        let req = self.request(at).ok_or_else(|| gone("the client was too slow to share it"))?;
        let origin = Arc::clone(&self.asked.origin);
        let response = origin.fetch(req).await.map_err(|error| gone(error.kind.as_str()))?;
        let end = if at == 0 { self.end_of_whole(&response) } else { self.end_of_rest(&response, at) };
        let end = end.filter(|end| until.is_none_or(|until| end.is_none_or(|end| end == until)));
        match end {
            Some(end) => Ok(Rest { body: response.body, until: until.or(end) }),
            None => Err(gone("the client was too slow to share it, and it has changed")),
        }
    }

    /// Asks for all of it or, with a strong validator, for the rest
    /// (RFC 9110 s13.1.5).
    fn request(&self, at: u64) -> Option<Box<Request>> {
        let mut req = self.asked.request();
        let fields = Arc::make_mut(&mut req.fields);
        policy::strip_conditional(fields);
        if at > 0 {
            fields.insert(IF_RANGE, HeaderValue::from_bytes(self.strong_etag()?).ok()?);
            fields.insert(RANGE, HeaderValue::try_from(format!("bytes={at}-")).ok()?);
        }
        Some(req)
    }

    /// Where `response` ends, if that is known; `None` if it is not what was
    /// shared.
    fn end_of_whole(&self, response: &Response) -> Option<Option<u64>> {
        let shown = [ETAG, LAST_MODIFIED, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH];
        let is_same =
            response.status == self.head.status && shown.iter().all(|name| self.has(name, response));
        is_same.then(|| response.body.size_hint().exact())
    }

    /// The same of the rest of it, which has to be all of the rest.
    fn end_of_rest(&self, response: &Response, at: u64) -> Option<Option<u64>> {
        let is_same = response.status == StatusCode::PARTIAL_CONTENT && self.has(&ETAG, response);
        match ContentRange::parse(response.fields.get(CONTENT_RANGE)?.as_bytes())? {
            ContentRange::Part { first, last, complete: Some(complete) }
                if is_same && first == at && last + 1 == complete =>
            {
                Some(Some(complete))
            }
            _ => None,
        }
    }

    fn has(&self, name: &HeaderName, response: &Response) -> bool {
        self.head.field(name) == response.fields.get(name).map(HeaderValue::as_bytes)
    }
}
