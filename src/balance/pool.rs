//! A pool of origin servers: sends a request to one of them, and to another
//! one where that is safe and allowed.

mod choose;
mod pause;
mod roster;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout};

use choose::Picked;
use roster::Roster;

use super::budget::RetryBudget;
use super::check::{self, error_chain};
use super::discovery::{self, FoundServer};
use super::duty::Duty;
use super::health::{Outcome, Standing};
use super::member::Member;
use super::members::Members;
use super::outlier::can_be_spared;
use super::pick::Fitness;
use super::retry::{Attempt, Ending, may_retry};
use super::sticky::StickyKey;
use crate::base::{Clock, Tasks};
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
    key: Option<StickyKey>,
    /// Held while it is decided whether a server may be ejected.
    ejecting: Mutex<()>,
    budget: RetryBudget,
    pseudonym: Pseudonym,
    /// Set once some server is known to be up, or all are known not to be.
    is_settled: SetOnce<()>,
    started: Instant,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Pool {
    /// The pool of `config`; one that is sticky needs a key, or ties nobody.
    /// Reads the trust roots; connects to nobody yet.
    pub fn new(
        config: Arc<PoolConfig>,
        key: Option<&StickyKey>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, BalanceError> {
        let name = Arc::clone(&config.name);
        let failed = |source| BalanceError { pool: Arc::clone(&name), source };
        let is_any_tls = config.servers.iter().any(|server| server.tls);
        let tls = if is_any_tls { Some(client_config(&config.tls).map_err(failed)?) } else { None };
        let pool = Self {
            members: ArcSwap::from_pointee(Members::new(Vec::new())),
            roster: Mutex::new(Roster::new(&config.servers)),
            tls,
            key: key.cloned(),
            ejecting: Mutex::default(),
            budget: RetryBudget::new(config.retry.budget_percent),
            pseudonym: Pseudonym::random(),
            is_settled: SetOnce::new(),
            started: clock.now(),
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
        check::start(self);
        discovery::start(self, before);
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// True if it was made for `config`.
    pub fn is_of(&self, config: &PoolConfig) -> bool {
        *self.config == *config
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

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(super) fn sweep_idle(&self) {
        self.members.load().iter().for_each(|member| member.origin.sweep_idle());
    }

    /// Closes the connections that carry nothing, and others once they do: nothing
    /// new is to be sent.
    pub fn close_idle(&self) {
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

    /// The pool's time: since it was made.
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
    async fn send(&self, req: Request) -> Result<Response, FetchError> {
        let wish = self.wish(&req);
        let mut req = OutboundRequest::new(req, &self.pseudonym)?;
        if !self.is_settled.initialized() {
            // Too long a wait is no failure: then somebody is asked unchecked.
            let _ = timeout(self.config.timeouts.connect, self.is_settled.wait()).await;
        }
        self.budget.pay();
        let begun = self.now();
        let mut now = begun;
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            // Anew for each try: who failed may be one of a list that is over.
            let members = self.members();
            let Some(Picked { member, trial }) = self.pick(&members, wish, &tried, now) else {
                // What there is is better than nothing.
                return last.unwrap_or_else(|| Err(self.nobody(&members)));
            };
            if last.take().is_some() {
                self.metrics.origin_retries.increment();
            }
            let number = u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_add(1);
            let sent = now;
            let mut result = member.origin.send(&mut req).await;
            now = self.now();
            self.observe(member, &mut result, number, (sent, now), trial.is_some());
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
            if !may_retry(ending, attempt, &self.config.retry) || !self.take_from_budget(now) {
                return result;
            }
            tried.push(Arc::clone(member));
            last = Some(result);
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

    /// Learns from what came of asking `member`, and notes in it who was asked.
    fn observe(
        &self,
        member: &Member,
        result: &mut Result<Response, FetchError>,
        number: u32,
        (sent, now): (Duration, Duration),
        is_trial: bool,
    ) {
        let took = now.saturating_sub(sent);
        match result {
            Ok(response) => {
                response.facts.origin_server = Some(Arc::clone(&member.label));
                response.facts.attempts = number;
                response.facts.origin_time = Some(took);
                if response.status.is_server_error() {
                    self.observe_failure(
                        member,
                        format!("status {}", response.status.as_u16()),
                        is_trial,
                        now,
                    );
                    self.heed_pause(member, response, now);
                } else {
                    if member.succeeded(took, is_trial, now) {
                        let (pool, server) = (&self.config.name, &member.label);
                        tracing::info!(%pool, %server, "origin server is no longer ejected");
                    }
                    if member.standing() == Standing::Down {
                        self.observe_health(member, Outcome::Served);
                    }
                }
            }
            Err(error) => {
                error.origin_server = Some(Arc::clone(&member.label));
                error.attempts = number;
                if is_servers_fault(error) {
                    self.observe_failure(member, error_chain(error), is_trial, now);
                }
            }
        }
    }

    fn observe_failure(&self, member: &Member, error: String, is_trial: bool, now: Duration) {
        let rules = self.config.eject.as_ref();
        let is_one_too_many = member.failed(error, rules, is_trial, now);
        let Some(rules) = rules.filter(|_| is_one_too_many) else { return };
        // Two at a time could each be the last that may go.
        let _turn = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.can_spare(member, now) {
            let time = member.eject(rules, now);
            let (pool, server) = (&self.config.name, &member.label);
            tracing::warn!(%pool, %server, ?time, "origin server ejected");
        }
    }

    fn can_spare(&self, member: &Member, now: Duration) -> bool {
        let members = self.members.load();
        let wanted = || members.iter().filter(|member| member.duty.get() == Duty::Enabled);
        let others = || wanted().filter(|other| !Arc::ptr_eq(&other.origin, &member.origin));
        // One that is down besides may be back before its ejection is over.
        let ejected = others().filter(|other| other.is_ejected(now)).count();
        let is_another_fit = others().any(|other| other.fitness(now) == Fitness::Fit);
        let wanted = wanted().count();
        is_another_fit && can_be_spared(ejected, wanted)
    }
}

impl Origin for Pool {
    fn fetch(self: Arc<Self>, req: Request) -> BoxFuture<'static, Result<Response, FetchError>> {
        Box::pin(async move { self.send(req).await })
    }
}

/// True if a failure says something about the server: not if the client's
/// content was the reason, nor if the request never came as far.
fn is_servers_fault(error: &FetchError) -> bool {
    let was_asked =
        error.kind != ProxyErrorType::HttpUpgradeFailed || error.progress != RequestProgress::NotSent;
    was_asked
        && error.request_body.is_none()
        && !matches!(
            error.kind,
            ProxyErrorType::ConnectionLimitReached
                | ProxyErrorType::ProxyLoopDetected
                | ProxyErrorType::ProxyInternalError
        )
}
