//! One request to an origin server on the cache's behalf, up to the head of
//! its response: is it stored, does it freshen what is stored, or is it for
//! the one client that asked? What follows the head is in `pump`.

mod part;
mod sliced;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;

use super::Cache;
use super::asked::Asked;
use super::collapse::{FillGuard, Opened, OpenedContent, Outcome};
use super::deliver::Content;
use super::lookup::Plan;
use super::pump::Pump;
use super::reader::Reader;
use super::resume::Resume;
use super::slices;
use super::store::{Alone, Generation, StoredBody, StoredResponse};
use super::stream::Stream;
use crate::exchange::{Body, Facts, FetchError, Request, Response};
use crate::policy::{self, CacheKey, NoStoreReason, RequestHead, Reuse, Storability, StoredHead, Timing};
use crate::telemetry::metrics::Limit;

/// A request to an origin server whose response may be stored.
#[derive(Debug)]
pub(super) struct Fill {
    cache: Arc<Cache>,
    asked: Arc<Asked>,
    key: CacheKey,
    since: Generation,
    validate: Option<Arc<StoredResponse>>,
    collapse: bool,
    guard: Option<FillGuard>,
    /// True if the client's own range is asked for.
    of_a_part: bool,
}

/// What came of it, as the one that began it sees it.
#[derive(Debug)]
pub(super) enum Received {
    /// A response that is not shared, and the name of the reason.
    Unshared(Box<Response>, &'static str),
    /// A response that can be shared.
    Opened(Box<Shared>),
    /// The part that the client asked for, as it came; whether it is stored, or
    /// will be once all of it has come.
    Passed { response: Box<Response>, stored: bool },
}

/// A response that can be shared, on its way to the one that asked first.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) head: Arc<StoredHead>,
    /// The fields as they came, if they did: some may be for this client only.
    pub(super) fields: Option<HeaderMap>,
    pub(super) content: Content,
    pub(super) facts: Facts,
    /// True if the response was not new when it came.
    pub(super) age: bool,
    /// What an origin server answered with: a 304 where it confirmed what was
    /// stored.
    pub(super) fwd_status: StatusCode,
    /// True if it was stored, or will be once all of it has come.
    pub(super) stored: bool,
    /// True if it was stored before, and was found to be valid.
    pub(super) confirmed: bool,
}

impl Fill {
    /// Prepares to fetch what `plan` asks for; with a `guard`, for others too.
    pub(super) fn new(cache: &Arc<Cache>, asked: &Arc<Asked>, plan: &Plan, guard: Option<FillGuard>) -> Self {
        Self {
            cache: Arc::clone(cache),
            asked: Arc::clone(asked),
            key: plan.key.clone(),
            since: cache.store.generation(&plan.key),
            validate: plan.validate.clone(),
            collapse: plan.collapse,
            guard,
            of_a_part: plan.validate.is_none() && policy::asks_for_part(&asked.head()),
        }
    }

    /// The same for what was asked for in an earlier generation.
    pub(super) fn begun_in(self, since: Generation) -> Self {
        Self { since, ..self }
    }

    /// Asks, and resolves with the head of the response. Dropping it cancels
    /// the request.
    #[expect(clippy::manual_async_fn, reason = "an async function has room for its arguments twice")]
    pub(super) fn receive(mut self) -> impl Future<Output = Result<Received, Arc<FetchError>>> + Send {
        async move {
            self.cache.metrics.fills.increment();
            // What follows a head is boxed where it stores something: what is only passed on
            // does not carry the state of that.
            loop {
                let validating = self.validate.take();
                let sent = self.cache.clock.wall();
                let origin = Arc::clone(&self.asked.origin);
                let response = match origin.fetch(self.request(validating.as_deref())).await {
                    Ok(response) => response,
                    Err(error) => return Err(self.failed(error)),
                };
                let timing = Timing { request: sent, response: self.cache.clock.wall() };
                match validating {
                    Some(stored) if response.status == StatusCode::NOT_MODIFIED => {
                        if policy::matches_validator(&stored.head, &response.fields) {
                            return Ok(Box::pin(self.freshen(&stored, response, timing)).await);
                        }
                        // It confirms something else than what is stored: ask for the whole.
                    }
                    stored => {
                        self.validate = stored;
                        return Ok(self.accept(response, timing).await);
                    }
                }
            }
        }
    }

    fn request(&self, validating: Option<&StoredResponse>) -> Box<Request> {
        let mut req = self.asked.request();
        match validating {
            Some(stored) => policy::conditional(&[&stored.head], Arc::make_mut(&mut req.fields)),
            None if self.of_a_part || self.asked.head().is_plain() => {}
            None => policy::strip_conditional(Arc::make_mut(&mut req.fields)),
        }
        req
    }

    fn failed(&self, error: FetchError) -> Arc<FetchError> {
        self.cache.metrics.fills_failed.increment();
        let error = Arc::new(error);
        self.tell(Outcome::Failed(Arc::clone(&error)));
        error
    }

    /// A 304: the body stays, the head is updated (RFC 9111 s4.3.4).
    async fn freshen(
        self,
        stored: &Arc<StoredResponse>,
        response: Box<Response>,
        timing: Timing,
    ) -> Received {
        let rules = &self.asked.rules;
        let head = policy::freshened(&stored.head, &response.fields, timing, rules);
        let storability = policy::storability(&self.asked.head(), head.status, &head.fields(), timing, rules);
        let head = Arc::new(head);
        let confirmed = matches!(storability, Storability::Store);
        match storability {
            Storability::Store => {
                let (store, alone) = (&self.cache.store, self.alone(&head));
                let fresh = stored.freshened(StoredHead::clone(&head), self.cache.clock.now(), &self.since);
                let fresh = Arc::new(fresh);
                store.freshen(&self.key, stored, &fresh, &self.since, alone).await;
                self.tell_opened(&head, OpenedContent::Whole(fresh.body.clone()), response.status);
            }
            Storability::DoNotStore(reason) => {
                let personal = reason.is_of_request();
                self.tell(Outcome::Unshared { status: head.status, personal });
                if !personal {
                    self.cache.store.forget(&self.key, stored).await;
                }
            }
        }
        Received::Opened(Box::new(Shared {
            fields: with_cookies(&head, &response.fields),
            content: slices::content(&self.cache, &self.asked, &self.key, &head, &stored.body),
            head,
            facts: Facts { session: response.facts.session.filter(|_| !confirmed), ..response.facts },
            age: response.fields.contains_key(AGE),
            fwd_status: response.status,
            stored: false,
            confirmed,
        }))
    }

    /// A response of its own.
    #[expect(clippy::manual_async_fn, reason = "an async function has room for its arguments twice")]
    pub(super) fn accept(
        self,
        response: Box<Response>,
        timing: Timing,
    ) -> impl Future<Output = Received> + Send {
        async move {
            let rules = &self.asked.rules;
            let length = declared_length(&response);
            match policy::storability(&self.asked.head(), response.status, &response.fields, timing, rules) {
                Storability::DoNotStore(reason) => {
                    if reason == NoStoreReason::TooLarge {
                        self.cache.metrics.limit(Limit::MaxObject);
                    }
                    self.refuse(response, reason.as_str(), reason.is_of_request()).await
                }
                Storability::Store if self.keeps_what_is_stored(response.status) => {
                    self.refuse(response, "error", false).await
                }
                Storability::Store if response.status == StatusCode::PARTIAL_CONTENT => {
                    Box::pin(self.accept_part(response, timing)).await
                }
                // It may be the answer to the range only.
                Storability::Store if self.of_a_part && response.status != StatusCode::OK => {
                    self.refuse(response, "range", true).await
                }
                Storability::Store
                    if let Some((head, sliced)) = self.head_of_slices(&response, length, timing) =>
                {
                    Box::pin(self.open_slices(response, head, sliced)).await
                }
                Storability::Store if length.is_some_and(|length| length > self.max_object()) => {
                    self.cache.metrics.limit(Limit::MaxObject);
                    self.refuse(response, "too-large", false).await
                }
                Storability::Store if contradicts(&response.body, length) => {
                    self.refuse(response, "length-mismatch", false).await
                }
                Storability::Store => Box::pin(self.open(response, length, timing)).await,
            }
        }
    }

    /// A response for the one client. Where the reason is `of_request`, others
    /// may get one that can be shared, and what is stored for them stays.
    #[expect(clippy::manual_async_fn, reason = "an async function has room for its arguments twice")]
    fn refuse(
        self,
        response: Box<Response>,
        reason: &'static str,
        of_request: bool,
    ) -> impl Future<Output = Received> + Send {
        async move {
            let status = response.status;
            // Where an origin server fails, another request helps nobody, unless that is for
            // who asked.
            let personal = if status.is_server_error() {
                policy::is_personal(&self.asked.head(), &self.asked.rules)
            } else {
                of_request
            };
            self.tell(Outcome::Unshared { status, personal });
            if policy::is_of_resource(status) {
                let store = &self.cache.store;
                if let Some(outdated) = self.validate.as_ref().filter(|_| !of_request) {
                    Box::pin(store.forget(&self.key, outdated)).await;
                }
                // Of the whole a part says nothing.
                if self.collapse && !self.of_a_part {
                    Box::pin(store.mark(&self.key, self.cache.alone(of_request))).await;
                }
            }
            Received::Unshared(response, reason)
        }
    }

    async fn open(self, response: Box<Response>, length: Option<u64>, timing: Timing) -> Received {
        let Response { status, fields, body, facts, .. } = *response;
        let (req, rules) = (self.asked.head(), &self.asked.rules);
        let head = Arc::new(StoredHead::new(&req, status, fields.clone(), timing, rules));
        let (content, stored) = match body {
            Body::Full(bytes) => self.keep_whole(&head, &bytes).await,
            body if body.is_empty() => self.keep_whole(&head, &[]).await,
            body => (Content::Running(self.run(&head, body, length)), true),
        };
        Received::Opened(Box::new(Shared {
            head,
            fields: Some(fields),
            content,
            facts,
            age: false,
            fwd_status: status,
            stored,
            confirmed: false,
        }))
    }

    /// The content, and whether it was stored.
    async fn keep_whole(&self, head: &Arc<StoredHead>, bytes: &[u8]) -> (Content, bool) {
        // A buffer of its own: the slice may be a small part of a large one.
        let body = Bytes::copy_from_slice(bytes);
        let response = Arc::new(self.response(StoredHead::clone(head), StoredBody::Memory(body.clone())));
        let response = self.cache.put_together(&self.key, response, self.max_object()).await;
        let stored = self.cache.store.keep(&self.key, &response, &self.since, self.alone(head)).await;
        if stored {
            self.cache.metrics.fills_stored.increment();
        }
        self.tell_opened(head, OpenedContent::Whole(StoredBody::Memory(body.clone())), head.status);
        (Content::Whole(body), stored)
    }

    fn run(self, head: &Arc<StoredHead>, body: Body, length: Option<u64>) -> Reader {
        let stream = Stream::new(length, &self.cache.budget);
        let reader = Reader::new(&stream, Some(Resume::new(&self.asked, head)));
        let alone = self.alone(head);
        self.tell_opened(head, OpenedContent::Running(Arc::clone(&stream)), head.status);
        if alone != Alone::default()
            && let Some(guard) = &self.guard
        {
            guard.close();
        }
        let (max_object, received) = (self.max_object(), self.cache.clock.now());
        let tasks = self.cache.tasks.clone();
        let pump = Pump {
            cache: self.cache,
            key: self.key,
            since: Some(self.since),
            head: Arc::clone(head),
            received,
            alone,
            guard: self.guard,
            stream,
            max_object,
        };
        tasks.spawn(pump.run(body));
        reader
    }

    /// Nobody is to wait for what could not even answer a request that came at
    /// this moment.
    fn alone(&self, head: &StoredHead) -> Alone {
        let none = HeaderMap::new();
        let plain = RequestHead::new(&Method::GET, self.asked.target.path(), &none);
        match policy::reuse(&plain, head, self.cache.clock.wall(), &self.asked.rules) {
            Reuse::Serve { .. } | Reuse::ServeStale { .. } => Alone::default(),
            Reuse::Validate { .. } | Reuse::Forward(_) => self.cache.alone(false),
        }
    }

    /// True if a failure is not to be kept in place of the response that was validated.
    fn keeps_what_is_stored(&self, status: StatusCode) -> bool {
        let now = self.cache.clock.wall();
        let outlasts = |stored: &Arc<StoredResponse>| {
            policy::outlasts_error(&stored.head, status, now, &self.asked.rules)
        };
        self.validate.as_ref().is_some_and(outlasts)
    }

    fn response(&self, head: StoredHead, body: StoredBody) -> StoredResponse {
        StoredResponse::new(head, body, self.cache.clock.now(), &self.since)
    }

    fn tell_opened(&self, head: &Arc<StoredHead>, content: OpenedContent, fwd_status: StatusCode) {
        let since = self.since.clone();
        self.tell(Outcome::Opened(Opened { head: Arc::clone(head), content, fwd_status, since }));
    }

    fn max_object(&self) -> u64 {
        self.cache.max_object.min(self.asked.rules.max_object)
    }

    fn tell(&self, outcome: Outcome) {
        if let Some(guard) = &self.guard {
            guard.tell(outcome);
        }
    }
}

pub(super) fn declared_length(response: &Response) -> Option<u64> {
    let written = response.fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    written.or_else(|| response.body.size_hint().exact())
}

/// What the client gets whose request led to a 304 that sets cookies: they are
/// for nobody else.
fn with_cookies(stored: &StoredHead, not_modified: &HeaderMap) -> Option<HeaderMap> {
    not_modified.contains_key(SET_COOKIE).then(|| {
        let mut fields = stored.fields();
        for cookie in not_modified.get_all(SET_COOKIE) {
            fields.append(SET_COOKIE, cookie.clone());
        }
        fields
    })
}

/// True if a body that is all at hand is not as long as declared.
fn contradicts(body: &Body, declared: Option<u64>) -> bool {
    matches!((body.size_hint().exact(), declared), (Some(length), Some(declared)) if length != declared)
}
