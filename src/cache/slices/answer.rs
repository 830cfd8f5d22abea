//! Answers a request with a stored response, of which the first slice that is
//! needed is there, or known to come, before the head is sent: a response that
//! has changed meanwhile is fetched anew instead.

use std::sync::Arc;
use std::time::SystemTime;

use http::Method;

use super::{SliceError, SliceReader, Slices};
use crate::cache::Cache;
use crate::cache::asked::Asked;
use crate::cache::deliver::{Content, Selected};
use crate::cache::fetch::Miss;
use crate::cache::lookup::Plan;
use crate::cache::store::{Sliced, StoredBody, StoredResponse};
use crate::exchange::{Failure, FetchError, RequestProgress, Response};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::fields::proxy_status::ProxyErrorType;
use crate::policy::{self, CacheKey, Precondition, RangeAnswer, RequestHead, StoredHead};

/// The content of a stored response; where it is in slices, each is opened when
/// it is read.
pub(in crate::cache) fn content(
    cache: &Arc<Cache>,
    asked: &Arc<Asked>,
    key: &CacheKey,
    head: &StoredHead,
    body: &StoredBody,
) -> Content {
    Content::of(body).unwrap_or_else(|sliced| {
        Content::Sliced(SliceReader::new(&Slices::new(cache, asked, key, head, sliced), None))
    })
}

impl Miss {
    /// Answers with what memory has in slices; what has changed is fetched
    /// anew.
    pub(in crate::cache) async fn answer_in_slices(
        mut self,
        stored: Arc<StoredResponse>,
        ttl: i64,
    ) -> Result<Box<Response>, Failure> {
        let now = self.cache.clock.wall();
        match self.hit(&stored, ttl, now).await {
            Some(answer) => answer,
            None => self.answer().await,
        }
    }

    /// Answers with what is stored; `None` if it has changed: then it is
    /// forgotten, and the plan is to fetch it anew.
    pub(in crate::cache) async fn hit(
        &mut self,
        stored: &StoredResponse,
        ttl: i64,
        now: SystemTime,
    ) -> Option<Result<Box<Response>, Failure>> {
        let hit = CacheStatus { hit: true, ttl: Some(ttl), ..CacheStatus::default() };
        let (content, cache) = match Content::of(&stored.body) {
            Ok(content) => (content, hit),
            Err(sliced) => match self.begin(stored, sliced).await {
                Ok((content, true)) => (content, hit),
                Ok((content, false)) => {
                    let partial = CacheStatus::forwarded(ForwardReason::Partial);
                    (content, CacheStatus { ttl: Some(ttl), stored: true, ..partial })
                }
                Err(SliceError::Changed) => {
                    self.plan = Plan {
                        reason: ForwardReason::UriMiss,
                        detail: Some("changed"),
                        validate: None,
                        if_error: None,
                        ..self.plan.clone()
                    };
                    return None;
                }
                Err(SliceError::OnlyIfCached) => return Some(Err(Failure::OnlyIfCached)),
                Err(SliceError::Fetch(error)) => return Some(Err(self.failure(&error))),
                Err(error) => {
                    let kind = match error {
                        SliceError::Unavailable(_) => ProxyErrorType::DestinationUnavailable,
                        _ => ProxyErrorType::ProxyInternalError,
                    };
                    let error = FetchError::new(kind, RequestProgress::Answered).from_source(error);
                    return Some(Err(Failure::Fetch { error, cache: Some(self.forwarded()) }));
                }
            },
        };
        let req = self.asked.head();
        let age = stored.head.age(now);
        Some(Ok(Selected::stored(&req, stored, content, &self.asked.rules, (cache, age)).answer(&req)))
    }

    /// Opens the first slice of which the request gets something; says whether
    /// it was there.
    async fn begin(&self, stored: &StoredResponse, sliced: Sliced) -> Result<(Content, bool), SliceError> {
        let slices = Slices::new(&self.cache, &self.asked, &self.plan.key, &stored.head, sliced);
        let reader = SliceReader::new(&slices, None);
        let req = self.asked.head();
        let Some((first, last)) = wanted(&req, &stored.head, sliced.length) else {
            return Ok((Content::Sliced(reader), true));
        };
        let key = sliced.key(&self.plan.key, sliced.at(first));
        if policy::only_if_cached(&req) && !self.cache.store.knows_slice(&key) {
            return Err(SliceError::OnlyIfCached);
        }
        let mut reader = reader.part(first, last);
        let is_stored = reader.begin().await?;
        Ok((Content::Sliced(reader), is_stored))
    }
}

/// The first and the last byte that `req` gets of a response, if it gets any.
fn wanted(req: &RequestHead<'_>, head: &StoredHead, length: u64) -> Option<(u64, u64)> {
    let fields = head.fields();
    let has_content =
        *req.method == Method::GET && policy::evaluate(req, head.status, &fields) == Precondition::Proceed;
    if !has_content {
        return None;
    }
    match policy::range(req, head.status, &fields, length) {
        RangeAnswer::Whole => Some((0, length.saturating_sub(1))),
        RangeAnswer::Part { first, last } => Some((first, last)),
        // Each of them is opened when its turn comes.
        RangeAnswer::Parts(spans) => spans.first().map(|span| (span.first, span.last)),
        RangeAnswer::Unsatisfiable => None,
    }
}
