//! A pool of origin servers: sends a request to one of them, and to another
//! one where that is safe and allowed.

mod choose;
mod pause;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout};

use choose::Picked;

use super::budget::RetryBudget;
use super::check::{self, error_chain};
use super::duty::Duty;
use super::health::{Outcome, Standing};
use super::member::Member;
use super::outlier::can_be_spared;
use super::pick::{Fitness, RoundRobin, ServerIndex};
use super::retry::{Attempt, Ending, may_retry};
use super::status::PoolStatus;
use super::sticky::{StickyKey, Tie};
use crate::base::{Clock, Tasks};
use crate::config::model::{Balance, PoolConfig};
use crate::exchange::{FetchError, Origin, Request, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::{Limit, Metrics};
use crate::upstream::{OriginServer, OutboundRequest, Pseudonym, UpstreamError, client_config};

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
    members: Vec<Member>,
    turns: Mutex<RoundRobin>,
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
        let members = members(&config, key, &clock, tasks, &metrics)
            .map_err(|source| BalanceError { pool: Arc::clone(&config.name), source })?;
        let pool = Self {
            ejecting: Mutex::default(),
            turns: Mutex::new(RoundRobin::new(members.len())),
            budget: RetryBudget::new(config.retry.budget_percent),
            pseudonym: Pseudonym::random(),
            is_settled: SetOnce::new(),
            started: clock.now(),
            config,
            members,
            clock,
            tasks: tasks.clone(),
            metrics,
        };
        pool.settle();
        Ok(Arc::new(pool))
    }

    /// Starts the health checks on the current runtime. They end with the pool.
    pub fn start_checks(self: &Arc<Self>) {
        check::start(self, &self.tasks);
    }

    /// The state of the pool now.
    pub fn snapshot(&self) -> PoolStatus {
        let now = self.now();
        let servers = self.members.iter().map(|member| member.status(now)).collect();
        PoolStatus { name: self.config.name.to_string(), servers }
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Gives the server this duty that the config writes so, or whose scheme,
    /// host and port these are; says how the config writes it, if there is one.
    pub fn assign(&self, server: &str, duty: Duty) -> Option<String> {
        let is_meant = |member: &&Member| *member.config.label == *server || member.config.url() == server;
        let member = self.members.iter().find(is_meant)?;
        member.duty.set(duty);
        let (pool, server) = (&self.config.name, &member.config.label);
        tracing::info!(%pool, %server, ?duty, "an operator assigned an origin server");
        if self.members.iter().all(|member| member.duty.get() != Duty::Enabled) {
            tracing::warn!(%pool, "no origin server of the pool takes new requests");
        }
        Some(server.to_string())
    }

    /// True if it was made for `config`.
    pub fn is_of(&self, config: &PoolConfig) -> bool {
        *self.config == *config
    }

    pub(super) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(super) fn member(&self, index: ServerIndex) -> Option<&Member> {
        self.members.get(index)
    }

    pub(super) fn sweep_idle(&self) {
        self.members.iter().for_each(|member| member.origin.sweep_idle());
    }

    /// Closes the connections that carry nothing, and others once they do: nothing
    /// new is to be sent.
    pub fn close_idle(&self) {
        self.members.iter().for_each(|member| member.origin.close_idle());
    }

    /// Takes an outcome for the health of `member` into account.
    pub(super) fn observe_health(&self, member: &Member, outcome: Outcome) {
        if let Some(change) = member.observe_health(outcome, self.now()) {
            let (pool, server) = (&self.config.name, &member.config.label);
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
        let mut standings = self.members.iter().map(Member::standing);
        let is_any_up = standings.clone().any(|standing| standing == Standing::Up);
        if !self.is_settled.initialized()
            && (is_any_up || standings.all(|standing| standing != Standing::Unknown))
        {
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
        let mut picked = self.pick(wish, &tried, now).ok_or_else(nobody)?;
        loop {
            let Picked { index, member, trial } = picked;
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
            tried.push(index);
            // What there is is better than nothing.
            let Some(next) = self.pick(wish, &tried, now) else { return result };
            self.metrics.origin_retries.increment();
            picked = next;
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
                response.facts.origin_server = Some(Arc::clone(&member.config.label));
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
                        let (pool, server) = (&self.config.name, &member.config.label);
                        tracing::info!(%pool, %server, "origin server is no longer ejected");
                    }
                    if member.standing() == Standing::Down {
                        self.observe_health(member, Outcome::Served);
                    }
                }
            }
            Err(error) => {
                error.origin_server = Some(Arc::clone(&member.config.label));
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
            let (pool, server) = (&self.config.name, &member.config.label);
            tracing::warn!(%pool, %server, ?time, "origin server ejected");
        }
    }

    fn can_spare(&self, member: &Member, now: Duration) -> bool {
        let wanted = || self.members.iter().filter(|member| member.duty.get() == Duty::Enabled);
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

fn members(
    config: &PoolConfig,
    key: Option<&StickyKey>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Member>, UpstreamError> {
    let is_any_tls = config.servers.iter().any(|server| server.tls);
    let tls = if is_any_tls { Some(client_config(&config.tls)?) } else { None };
    let member = |server: &crate::config::model::ServerConfig| {
        let tls = tls.clone().filter(|_| server.tls);
        let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
        let origin = OriginServer::new(server, config, tls, clock, tasks.clone(), metrics)?;
        let tie = match (&config.balance, key) {
            (Balance::Sticky(name), Some(key)) => Some(Tie::new(key, name, config, server)),
            _ => None,
        };
        Ok(Member::new(server.clone(), origin, config, tie))
    };
    config.servers.iter().map(member).collect()
}

/// No server can be asked.
fn nobody() -> FetchError {
    FetchError {
        retry_after: Some(RETRY_AFTER),
        ..FetchError::new(ProxyErrorType::DestinationUnavailable, RequestProgress::NotSent)
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
