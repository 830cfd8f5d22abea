//! What a pool learns from the outcome of a request: how fast a server is, that it
//! fails, and whether the pool can do without it for a while.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Pool;
use crate::balance::duty::Duty;
use crate::balance::health::{Outcome, Standing};
use crate::balance::member::Member;
use crate::balance::outlier::can_be_spared;
use crate::balance::pick::Fitness;
use crate::base::story;
use crate::exchange::{FetchError, RequestProgress, Response};
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::Limit;

/// How a server was asked.
pub(super) struct Asked {
    /// How many were asked, it among them.
    pub(super) number: u32,
    /// When, by the pool's time.
    pub(super) sent: Duration,
    /// It decides whether the server is ejected once more.
    pub(super) is_trial: bool,
    /// The server was down already: what was sent before proves nothing.
    pub(super) was_down: bool,
}

impl Pool {
    /// Learns from what came of asking `member`, and notes in it who was asked.
    pub(super) fn observe(
        &self,
        member: &Member,
        result: &mut Result<Box<Response>, FetchError>,
        asked: &Asked,
        now: Duration,
    ) {
        let Asked { number, is_trial, .. } = *asked;
        let took = now.saturating_sub(asked.sent);
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
                    if asked.was_down && member.standing() == Standing::Down {
                        self.observe_health(member, Outcome::Served);
                    }
                }
            }
            Err(error) => {
                error.origin_server = Some(Arc::clone(&member.label));
                error.attempts = number;
                if let Some(limit) = limit_of(error.kind) {
                    self.metrics.limit(limit);
                }
                if is_servers_fault(error) {
                    self.observe_failure(member, story(error), is_trial, now);
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

    /// True if the pool can do without `member`: no more than half of it is left out.
    pub(super) fn can_spare(&self, member: &Member, now: Duration) -> bool {
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

/// The limit that a server did not keep.
fn limit_of(kind: ProxyErrorType) -> Option<Limit> {
    match kind {
        ProxyErrorType::ConnectionTimeout => Some(Limit::OriginConnect),
        ProxyErrorType::HttpResponseTimeout => Some(Limit::OriginFirstByte),
        ProxyErrorType::HttpResponseHeaderSectionSize => Some(Limit::OriginHeaderBytes),
        _ => None,
    }
}

/// True if a failure says something about the server: not if the client's
/// content or what it asked for was the reason, nor if the request never came as far.
fn is_servers_fault(error: &FetchError) -> bool {
    let was_asked =
        error.kind != ProxyErrorType::HttpUpgradeFailed || error.progress != RequestProgress::NotSent;
    was_asked
        && error.request_body.is_none()
        && !error.is_requests_fault
        && !matches!(
            error.kind,
            ProxyErrorType::ConnectionLimitReached
                | ProxyErrorType::ProxyLoopDetected
                | ProxyErrorType::ProxyInternalError
        )
}
