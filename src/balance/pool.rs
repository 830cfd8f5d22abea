//! A pool of origin servers: sends a request to one of them, and to another
//! one where that is safe and allowed.

mod choose;
mod outcome;
mod pause;
mod roster;
mod succession;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::header;
use rustls::ClientConfig;
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use choose::{Picked, Wish};
use outcome::Asked;
use roster::Roster;
use succession::Legacy;

use super::budget::RetryBudget;
use super::check;
use super::discovery::{self, FoundServer};
use super::health::{Outcome, Standing};
use super::member::Member;
use super::members::Members;
use super::retry::{Attempt, Ending, may_retry};
use super::sticky::StickyKey;
use crate::base::{Clock, FileMark, Tasks};
use crate::config::model::PoolConfig;
use crate::exchange::{FetchError, Origin, Request, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::{Limit, Metrics};
use crate::upstream::{OutboundRequest, Pseudonym, UpstreamError, client_config};

/// What a client is told to wait when no server is up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A pool cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the origin servers of pool {pool} cannot be used")]
pub struct BalanceError {
    /// Its name in the config.
    pub pool: Arc<str>,
    /// Why.
    #[source]
    pub source: UpstreamError,
}

/// A pool of origin servers.
#[derive(Debug)]
pub struct Pool {
    config: Arc<PoolConfig>,
    members: ArcSwap<Members>,
    roster: Mutex<Roster>,
    tls: Option<Arc<ClientConfig>>,
    /// What `tls` was made of.
    files: Vec<Option<FileMark>>,
    key: Option<StickyKey>,
    /// Held while it is decided whether a server may be ejected.
    ejecting: Mutex<()>,
    budget: RetryBudget,
    pseudonym: Pseudonym,
    /// Set once some server is known to be up, or all are known not to be.
    is_settled: SetOnce<()>,
    /// That of the pool before, until this one has started.
    legacy: Mutex<Legacy>,
    /// Cancelled once another pool has its place.
    retirement: CancellationToken,
    started: Instant,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Pool {
    /// The pool of `config`, which is to take the place of the one `before`; one that is
    /// sticky needs a key, or ties nobody. Reads the trust roots; connects to nobody yet.
    pub fn new(
        config: Arc<PoolConfig>,
        before: Option<&Self>,
        key: Option<&StickyKey>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, BalanceError> {
        let name = Arc::clone(&config.name);
        let failed = |source| BalanceError { pool: Arc::clone(&name), source };
        // Before they are read, so that what comes after is seen as new.
        let files = succession::files(&config.tls);
        let is_any_tls = config.servers.iter().any(|server| server.tls);
        let tls = if is_any_tls { Some(client_config(&config.tls).map_err(failed)?) } else { None };
        let legacy = before.map(|before| Legacy::of(before, &config, &files)).unwrap_or_default();
        let pool = Self {
            members: ArcSwap::from_pointee(Members::new(Vec::new())),
            roster: Mutex::new(Roster::new(&config.servers)),
            tls,
            files,
            key: key.cloned(),
            ejecting: Mutex::default(),
            budget: RetryBudget::new(config.retry.budget_percent),
            pseudonym: Pseudonym::random(),
            is_settled: SetOnce::new(),
            legacy: Mutex::new(legacy),
            retirement: CancellationToken::new(),
            started: before.map_or_else(|| clock.now(), |before| before.started),
            config,
            clock,
            tasks: tasks.clone(),
            metrics,
        };
        let given = pool.config.servers.iter().enumerate();
        let given = given.filter_map(|(entry, server)| FoundServer::fixed(entry, server));
        let members = given.map(|server| pool.recruit(server, None)).collect::<Result<_, _>>();
        pool.members.store(Arc::new(Members::new(members.map_err(failed)?)));
        pool.settle();
        Ok(Arc::new(pool))
    }

    /// Starts to check the servers, and to look up those that are given by name, on
    /// the current runtime. Both end with the pool. Until then names stand for what the
    /// pool `before`, whose place this one takes, found under them.
    pub fn start(self: &Arc<Self>, before: Option<&Self>) {
        if let Some(before) = before {
            self.take_over_orders(before);
        }
        check::start(self);
        discovery::start(self, before);
        *self.legacy() = Legacy::default();
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(super) fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn retirement(&self) -> &CancellationToken {
        &self.retirement
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(super) fn sweep_idle(&self) {
        self.members.load().iter().for_each(|member| member.origin.sweep_idle());
    }

    /// Closes the connections that carry nothing, and others once they do: nothing
    /// new is to be sent.
    pub(super) fn close_idle(&self) {
        self.members.load().iter().for_each(|member| member.origin.close_idle());
    }

    /// Takes an outcome for the health of `member` into account.
    pub(super) fn observe_health(&self, member: &Member, outcome: Outcome) {
        if let Some(change) = member.observe_health(outcome, self.now()) {
            let (pool, server) = (&self.config.name, &member.label);
            if change.to == Standing::Down {
                let error = member.last_error().unwrap_or_default();
                tracing::warn!(%pool, %server, from = %change.from, %error, "origin server is down");
            } else {
                tracing::info!(%pool, %server, from = %change.from, to = %change.to, "origin server changed");
            }
        }
        self.settle();
    }

    /// The pool's time: since the first one in its place was made.
    fn now(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    fn settle(&self) {
        if self.is_settled.initialized() {
            return;
        }
        let members = self.members.load();
        let mut standings = members.iter().map(|member| member.standing());
        let is_any_up = standings.clone().any(|standing| standing == Standing::Up);
        let is_nobody_missing = self.roster().is_complete();
        if is_any_up || is_nobody_missing && standings.all(|standing| standing != Standing::Unknown) {
            // Somebody else may have been faster, which is as well.
            let _ = self.is_settled.set(());
        }
    }

    /// Sends `req` to one server after the other until one answers or no
    /// further try is allowed.
    async fn send(&self, req: &mut OutboundRequest, wish: Wish) -> Result<Box<Response>, FetchError> {
        if !self.is_settled.initialized() {
            // Too long a wait is no failure: then somebody is asked unchecked.
            let _ = timeout(self.config.timeouts.connect, self.is_settled.wait()).await;
        }
        self.budget.pay();
        let begun = self.now();
        let mut now = begun;
        let mut tried = Vec::new();
        // Boxed: most requests are answered at the first try, and carry no room for it.
        let mut last: Option<Box<Result<_, _>>> = None;
        loop {
            // Anew for each try: who failed may be one of a list that is over.
            let members = self.members();
            let may_repeat = last.as_deref().is_none_or(may_be_asked_again);
            let Some(Picked { member, trial }) = self.pick(&members, wish, &tried, may_repeat, now) else {
                // What there is is better than nothing.
                return last.map_or_else(|| Err(self.nobody(&members)), |last| *last);
            };
            if let Some(last) = last.take() {
                if !self.take_from_budget(now) {
                    return *last;
                }
                self.metrics.origin_retries.increment();
            }
            let number = u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_add(1);
            let was_down = member.standing() == Standing::Down;
            let asked = Asked { number, sent: now, is_trial: trial.is_some(), was_down };
            let mut result = member.origin.send(req).await;
            now = self.now();
            self.observe(member, &mut result, &asked, now);
            drop(trial);
            // Nobody is tied to a server that fails.
            if let Ok(response) = &mut result
                && !response.status.is_server_error()
            {
                response.facts.session = wish.tie(member);
            }
            let ending = match &result {
                Ok(response) => Ending::Answered(response.status),
                Err(error) => Ending::Failed(error),
            };
            let attempt = Attempt {
                is_idempotent: req.is_idempotent(),
                is_at_hand: req.is_at_hand(),
                number,
                elapsed: now.saturating_sub(begun),
            };
            if !may_retry(ending, attempt, &self.config.retry) {
                return result;
            }
            tried.push(Arc::clone(member));
            last = Some(Box::new(result));
        }
    }

    /// Why none of `members` can be asked.
    fn nobody(&self, members: &Members) -> FetchError {
        if members.is_empty() {
            return self.roster().failure();
        }
        FetchError {
            retry_after: Some(RETRY_AFTER),
            ..FetchError::new(ProxyErrorType::DestinationUnavailable, RequestProgress::NotSent)
        }
    }

    fn take_from_budget(&self, now: Duration) -> bool {
        let taken = self.budget.take(now);
        if !taken {
            self.metrics.limit(Limit::RetryBudget);
        }
        taken
    }
}

/// False if who was asked last wants to be asked later, if at all, or would say the same.
fn may_be_asked_again(last: &Result<Box<Response>, FetchError>) -> bool {
    match last {
        Ok(res) => !res.fields.contains_key(header::RETRY_AFTER),
        Err(error) => !error.is_requests_fault,
    }
}

impl Origin for Pool {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        let wish = self.wish(&req);
        match OutboundRequest::new(req, &self.pseudonym) {
            Ok(mut req) => Box::pin(async move { self.send(&mut req, wish).await }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
