//! The way of a GET that the store does not answer: it follows a fill that
//! runs, leads a new one, or is sent by itself.

use std::ops::ControlFlow::{self, Break, Continue};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::Cache;
use super::asked::Asked;
use super::collapse::{FillGuard, FillWatch, Opened, OpenedContent, Outcome, Role, Seeker};
use super::deliver::{self, Content, Selected};
use super::failure::shared_failure;
use super::fill::{Fill, Received, Shared};
use super::lookup::{self, Lookup, Plan};
use super::reader::Reader;
use super::resume::Resume;
use super::slices::{self, SliceReader, Slices};
use super::store::Generation;
use crate::exchange::{Failure, FetchError, RequestProgress, Response};
use crate::fields::cache_status::{CacheStatus, ForwardReason};
use crate::fields::coding::Coding;
use crate::fields::proxy_status::ProxyErrorType;
use crate::policy::{self, Alike, Reuse};

/// The longest that a request waits for the head of another one's response: as
/// long as origin servers have for theirs unless the config says otherwise.
const HEAD_WAIT: Duration = Duration::from_secs(60);

/// After as many fills that could not answer it a request is sent by itself.
const MOST_REFUSED: usize = 3;

/// So many failed fills are a request's own failure: the one it followed, and
/// one by which another request tried again.
const MOST_FAILURES: usize = 2;

/// What clients are told to wait whose request fails by that.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request on its way to an origin server.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) cache: Arc<Cache>,
    pub(super) asked: Arc<Asked>,
    pub(super) plan: Plan,
    /// Held with what may stand in for an answer: no purge that covers it leaves
    /// before that is judged.
    since: Option<Generation>,
    refused: Vec<Arc<FillWatch>>,
    failures: usize,
}

/// Validates a stored response that was just served stale, unless somebody
/// already does.
pub(super) fn refresh(cache: &Arc<Cache>, asked: &Arc<Asked>, plan: &Plan) {
    let seeker = Seeker { fields: &asked.fields, alike: plan.alike.clone(), refused: &[], may_lead: true };
    if let Role::Leader(guard) = cache.fills.join(&plan.key, seeker) {
        let fill = Fill::new(cache, asked, plan, Some(guard));
        cache.tasks.spawn(fill.receive());
    }
}

impl Miss {
    pub(super) fn new(cache: Arc<Cache>, asked: Arc<Asked>, plan: Plan) -> Self {
        let mut miss = Self { cache, asked, plan, since: None, refused: Vec::new(), failures: 0 };
        miss.hold_stand_in();
        miss
    }

    /// Goes on with another plan.
    pub(super) fn follow_plan(&mut self, plan: Plan) {
        self.plan = plan;
        self.hold_stand_in();
    }

    fn hold_stand_in(&mut self) {
        if self.plan.if_error.is_some() && self.since.is_none() {
            self.since = Some(self.cache.store.memory.generation(&self.plan.key));
        }
    }

    /// The response, or why there is none. Dropping it leaves the fill that it
    /// leads or follows to run on.
    pub(super) async fn answer(&mut self) -> Result<Box<Response>, Failure> {
        if self.cache.store.has_disk()
            && let Some(answer) = Box::pin(self.look_on_disk()).await
        {
            return answer;
        }
        if policy::only_if_cached(&self.asked.head()) {
            return Err(Failure::OnlyIfCached);
        }
        if self.asked.method == Method::HEAD {
            return Box::pin(self.head()).await;
        }
        // What the request itself wants anew no other one can answer.
        self.plan.collapse &= self.plan.reason != ForwardReason::Request;
        while self.plan.collapse && self.refused.len() < MOST_REFUSED {
            match self.cache.fills.join(&self.plan.key, self.seeker()) {
                Role::Leader(guard) => return Box::pin(self.lead(guard)).await,
                Role::Alone => break,
                Role::Follower(fill) => match Box::pin(self.follow(fill)).await {
                    Break(answer) => return answer,
                    Continue(Next::Join) => {}
                    Continue(Next::GoAlone) => self.plan.collapse = false,
                },
            }
        }
        self.alone().await
    }

    async fn lead(&mut self, guard: FillGuard) -> Result<Box<Response>, Failure> {
        // The fill that would have answered may have ended since the lookup.
        if let Some(answer) = self.look_again().await {
            return answer;
        }
        let fill = Fill::new(&self.cache, &self.asked, &self.plan, Some(guard));
        match self.cache.tasks.spawn(fill.receive()).await {
            Ok(received) => self.conclude(received).await,
            Err(panicked) => {
                let kind = ProxyErrorType::ProxyInternalError;
                let error = FetchError::new(kind, RequestProgress::Sent).from_source(panicked);
                Err(Failure::Fetch { error, cache: Some(self.forwarded()) })
            }
        }
    }

    async fn follow(&mut self, fill: Arc<FillWatch>) -> ControlFlow<Result<Box<Response>, Failure>, Next> {
        let Ok(outcome) = tokio::time::timeout(HEAD_WAIT, fill.outcome()).await else {
            return Continue(Next::GoAlone);
        };
        self.refused.push(fill);
        match outcome {
            Outcome::Opened(opened) => self.share(&opened),
            // To many at once an origin server that fails has nothing better to say.
            Outcome::Unshared { status, personal: false }
                if status.is_server_error() && !self.is_personal() =>
            {
                let error = FetchError {
                    retry_after: Some(RETRY_AFTER),
                    ..FetchError::new(ProxyErrorType::DestinationUnavailable, RequestProgress::Answered)
                };
                self.failed(Some(status), &Arc::new(error))
            }
            Outcome::Unshared { status, personal } => match self.stale(Some(status)) {
                Some(stale) => Break(Ok(stale)),
                None if personal && !self.is_personal() => Continue(Next::Join),
                None => Continue(Next::GoAlone),
            },
            Outcome::Failed(error) => self.failed(None, &error),
            Outcome::GivenUp => match self.look_again().await {
                Some(answer) => Break(answer),
                None => Continue(Next::Join),
            },
        }
    }

    /// Answers with the response to another request, if it may.
    fn share(&mut self, opened: &Opened) -> ControlFlow<Result<Box<Response>, Failure>, Next> {
        let (req, head) = (self.asked.head(), &opened.head);
        // Asked for before a purge: it counts for nobody who still waits.
        if self.cache.store.is_purged(&self.plan.key, head, opened.since.epoch()) {
            return Continue(Next::Join);
        }
        let now = self.cache.clock.wall();
        if policy::select(&req, slice::from_ref(opened), now, |opened| &*opened.head).is_none() {
            self.plan.alike = Alike::of(&req, [&**head], &self.asked.rules);
            return Continue(Next::Join);
        }
        let (Reuse::Serve { ttl } | Reuse::ServeStale { ttl, .. }) =
            policy::reuse(&req, head, now, &self.asked.rules)
        else {
            return Continue(Next::GoAlone);
        };
        let content = match &opened.content {
            OpenedContent::Whole(body) => {
                slices::content(&self.cache, &self.asked, &self.plan.key, head, body)
            }
            OpenedContent::Slices(sliced, audience) => {
                let slices = Slices::new(&self.cache, &self.asked, &self.plan.key, head, *sliced);
                Content::Sliced(SliceReader::new(&slices, audience.upgrade()))
            }
            OpenedContent::Running(stream) => {
                Content::Running(Reader::new(stream, Some(Resume::new(&self.asked, head))))
            }
        };
        self.cache.metrics.fills_joined.increment();
        let cache = CacheStatus { ttl: Some(ttl), collapsed: true, ..self.forwarded() };
        let selected = Selected::shared(head, content, cache).aged(head.age(now));
        let response = selected.varying(&req, head, &self.asked.rules).answer(&req);
        Break(Ok(deliver::forwarded_as(opened.fwd_status, response)))
    }

    async fn alone(&self) -> Result<Box<Response>, Failure> {
        if self.is_partial() && self.is_conditional() {
            return self.unchanged("range").await;
        }
        if !self.plan.collapse && self.plan.validate.is_none() && self.is_conditional() {
            return self.unchanged("condition").await;
        }
        let received = Fill::new(&self.cache, &self.asked, &self.plan, None).receive().await;
        self.conclude(received).await
    }

    /// Sends the request as it is, for this reason: nothing is stored.
    async fn unchanged(&self, reason: &'static str) -> Result<Box<Response>, Failure> {
        let cache = Some(CacheStatus { detail: Some(reason), ..self.forwarded() });
        match Arc::clone(&self.asked.origin).fetch(self.asked.request()).await {
            Ok(mut response) => {
                response.facts.cache = cache;
                Ok(response)
            }
            Err(error) => Err(Failure::Fetch { error, cache }),
        }
    }

    pub(super) async fn conclude(
        &self,
        received: Result<Received, Arc<FetchError>>,
    ) -> Result<Box<Response>, Failure> {
        match received {
            Ok(Received::Opened(shared)) => {
                let encoded = match self.short(&shared) {
                    Some(short) => Box::pin(self.encoded_first(short)).await,
                    None => None,
                };
                Ok(self.opened(shared, encoded))
            }
            Ok(Received::Unshared(mut response, reason)) => {
                if let Some(stale) = self.stale(Some(response.status)) {
                    return Ok(stale);
                }
                let fwd_status = response.status;
                response.facts.cache = Some(CacheStatus { detail: Some(reason), ..self.forwarded() });
                Ok(deliver::forwarded_as(fwd_status, deliver::passed(&self.asked.head(), response)))
            }
            Ok(Received::Passed { mut response, stored }) => {
                response.facts.cache = Some(CacheStatus { stored, ..self.forwarded() });
                Ok(response)
            }
            Err(error) => self.stale(None).ok_or_else(|| self.failure(&error)),
        }
    }

    fn opened(&self, shared: Box<Shared>, encoded: Option<(Coding, Bytes)>) -> Box<Response> {
        let Shared { head, fields, content, mut facts, age, fwd_status, stored, confirmed } = *shared;
        let now = self.cache.clock.wall();
        facts.cache = Some(CacheStatus { ttl: Some(head.ttl(now)), stored, ..self.forwarded() });
        let fields = fields.unwrap_or_else(|| head.fields());
        let selected = Selected { status: head.status, fields, content, facts, part: None, coded_soon: None };
        let req = self.asked.head();
        let selected = match encoded {
            Some((coding, content)) => selected.encoded(coding, content),
            None if stored || confirmed => selected.varying(&req, &head, &self.asked.rules),
            None => selected,
        };
        let selected = if age { selected.aged(head.age(now)) } else { selected };
        deliver::forwarded_as(fwd_status, selected.answer(&req))
    }

    /// The stored response, if it may stand in for a `status` or for none.
    pub(super) fn stale(&self, status: Option<StatusCode>) -> Option<Box<Response>> {
        let stored = self.plan.if_error.as_ref()?;
        let stored = self.cache.store.as_it_counts(&self.plan.key, stored)?;
        let (req, now) = (self.asked.head(), self.cache.clock.wall());
        policy::stale_if_error(&req, &stored.head, status, now, &self.asked.rules).then(|| {
            let cache = CacheStatus {
                fwd_status: status.map(|status| status.as_u16()),
                ttl: Some(stored.head.ttl(now)),
                detail: Some("stale-if-error"),
                ..self.forwarded()
            };
            let content =
                slices::content(&self.cache, &self.asked, &self.plan.key, &stored.head, &stored.body);
            let age = stored.head.age(now);
            Selected::stored(&req, &stored, content, &self.asked.rules, (cache, age)).answer(&req)
        })
    }

    /// Looks it up once more; what has to be fetched is the new plan.
    async fn look_again(&mut self) -> Option<Result<Box<Response>, Failure>> {
        let (now, instant) = (self.cache.clock.wall(), self.cache.clock.now());
        match lookup::look_again(&self.cache.store.memory, &self.asked, &self.plan.key, now, instant).await {
            Lookup::Serve { stored, ttl } | Lookup::ServeStale { stored, ttl, .. } => {
                self.hit(&stored, ttl, now).await
            }
            // What was found on the disk memory does not know.
            Lookup::Fetch(_) if self.validates_record() => None,
            Lookup::Fetch(plan) => {
                // Nor what the disk has for other requests.
                let knows_less =
                    plan.reason == ForwardReason::UriMiss && self.plan.reason == ForwardReason::VaryMiss;
                let reason = if knows_less { self.plan.reason } else { plan.reason };
                self.follow_plan(Plan { reason, ..plan });
                None
            }
        }
    }

    pub(super) fn forwarded(&self) -> CacheStatus {
        CacheStatus { detail: self.plan.detail, ..CacheStatus::forwarded(self.plan.reason) }
    }

    /// What is next after a fill that failed.
    fn failed(
        &mut self,
        status: Option<StatusCode>,
        error: &Arc<FetchError>,
    ) -> ControlFlow<Result<Box<Response>, Failure>, Next> {
        self.failures += 1;
        match self.stale(status) {
            Some(stale) => Break(Ok(stale)),
            None if self.failures < MOST_FAILURES => Continue(Next::Join),
            None => Break(Err(self.failure(error))),
        }
    }

    pub(super) fn failure(&self, error: &Arc<FetchError>) -> Failure {
        Failure::Fetch { error: shared_failure(error), cache: Some(self.forwarded()) }
    }

    fn seeker(&self) -> Seeker<'_> {
        let (fields, alike) = (&self.asked.fields, self.plan.alike.clone());
        Seeker { fields, alike, refused: &self.refused, may_lead: self.may_lead() }
    }

    /// True if the response to it may be for others too, as far as it knows.
    fn may_lead(&self) -> bool {
        !self.is_partial() && !policy::is_unwanted(&self.asked.head())
    }

    fn is_personal(&self) -> bool {
        policy::is_personal(&self.asked.head(), &self.asked.rules)
    }

    /// True if it asks for a part of what is not stored.
    fn is_partial(&self) -> bool {
        self.plan.validate.is_none() && policy::asks_for_part(&self.asked.head())
    }

    fn is_conditional(&self) -> bool {
        self.asked.head().has_validators()
    }
}

/// What a request does that a fill could not answer.
#[derive(Debug)]
enum Next {
    /// Another fill may answer it.
    Join,
    /// None will.
    GoAlone,
}
