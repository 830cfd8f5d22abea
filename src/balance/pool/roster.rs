//! Who belongs to a pool: the servers that the config gives, those that are found
//! under its names, and what an operator wants of them. Off the way of requests, which
//! take the list as it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::Pool;
use crate::balance::check;
use crate::balance::discovery::{FoundServer, LookUpError};
use crate::balance::duty::{Duty, Orders};
use crate::balance::member::Member;
use crate::balance::members::Members;
use crate::balance::status::{PoolStatus, ServerState, ServerStatus};
use crate::balance::sticky::Tie;
use crate::base::story;
use crate::config::model::{Balance, Location, ServerConfig};
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType;
use crate::resolve::Answer;
use crate::upstream::{OriginServer, UpstreamError};

/// What is known of those who belong to a pool, or may.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Of each name in the config, by its place there.
    sightings: BTreeMap<usize, Sighting>,
    orders: Orders,
}

/// What came of looking up a name.
#[derive(Debug, Default)]
struct Sighting {
    /// The last answer that servers were found by.
    answer: Option<Arc<Answer>>,
    /// Why the last look-up gave none; what it gave before is used on.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    kind: ProxyErrorType,
    text: String,
}

impl Roster {
    /// Of a pool with these servers, whose names nobody has looked up yet.
    pub(super) fn new(servers: &[ServerConfig]) -> Self {
        let names = servers.iter().enumerate().filter(|(_, server)| server.location.is_named());
        let sightings = names.map(|(entry, _)| (entry, Sighting::default())).collect();
        Self { sightings, orders: Orders::default() }
    }

    /// Takes over the orders of `before`, for what has a `place` here of what had one
    /// there.
    pub(super) fn take_over(&mut self, before: &Self, place: impl Fn(usize) -> Option<usize>) {
        self.orders = before.orders.moved(place);
    }

    /// True if all names were looked up, whatever came of it.
    pub(super) fn is_complete(&self) -> bool {
        self.sightings.values().all(|name| name.answer.is_some() || name.failure.is_some())
    }

    /// Why no server was found under any name.
    pub(super) fn failure(&self) -> FetchError {
        match self.sightings.values().find_map(|name| name.failure.as_ref()) {
            Some(Failure { kind, text }) => {
                FetchError::new(*kind, RequestProgress::NotSent).from_source(text.clone())
            }
            None => FetchError::new(ProxyErrorType::DnsTimeout, RequestProgress::NotSent),
        }
    }
}

impl Pool {
    /// A server of the pool, at the origin server that `server` tells of. One that is
    /// `new` in it, at the pool's time, starts slowly.
    pub(super) fn recruit(
        &self,
        server: FoundServer,
        new: Option<Duration>,
    ) -> Result<Arc<Member>, UpstreamError> {
        let config = &self.config;
        let url = server.endpoint.urls(server.tls).join(",");
        let mut legacy = self.legacy();
        let before = legacy.take(&url, &server);
        let origin = match before.as_ref().and_then(|before| legacy.origin(before, &server)) {
            Some(origin) => origin,
            None => self.origin_server(&server)?,
        };
        let tie = match (&config.balance, &self.key) {
            (Balance::Sticky(name), Some(key)) => Some(Tie::new(key, name, &config.name, &url)),
            _ => None,
        };
        let member = Member::new(server, origin, url, config, tie, new);
        Ok(Arc::new(match before {
            Some(before) => member.succeeding(&before, config.eject.is_some()),
            None => member,
        }))
    }

    fn origin_server(&self, server: &FoundServer) -> Result<Arc<OriginServer>, UpstreamError> {
        OriginServer::new(
            server.endpoint.clone(),
            server.protocol,
            &self.config,
            self.tls.clone().filter(|_| server.tls),
            Arc::clone(&self.clock),
            self.tasks.clone(),
            Arc::clone(&self.metrics),
        )
    }

    /// Takes `servers`, which follow from `answer`, for all that the name at the place
    /// `entry` of the config stands for now.
    pub(in crate::balance) fn found(
        self: &Arc<Self>,
        entry: usize,
        servers: Vec<FoundServer>,
        answer: Answer,
    ) {
        let mut roster = self.roster();
        let has_served = roster.sightings.get(&entry).is_some_and(|name| name.answer.is_some());
        let new = has_served.then(|| self.now());
        let succession = self.members.load().succeeded_by(entry, servers, |server| self.recruit(server, new));
        let change = match succession {
            Ok(change) => change,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                return tracing::error!(pool = %self.config.name, error, "an origin server cannot be used");
            }
        };
        roster.sightings.insert(entry, Sighting { answer: Some(Arc::new(answer)), failure: None });
        if change.come.is_empty() && change.gone.is_empty() {
            return;
        }
        for member in &change.come {
            member.duty.set(roster.orders.of(entry, &member.url));
        }
        self.members.store(Arc::new(Members::new(change.all)));
        change.gone.iter().for_each(|member| member.depart());
        drop(roster);
        let labels =
            |members: &[Arc<Member>]| members.iter().map(|it| Arc::clone(&it.label)).collect::<Vec<_>>();
        let (come, gone) = (labels(&change.come), labels(&change.gone));
        tracing::info!(pool = %self.config.name, ?come, ?gone, "the origin servers of a name changed");
        change.come.iter().for_each(|member| check::watch(self, member));
        self.settle();
    }

    /// Notes that a look-up of the name at the place `entry` of the config gave no
    /// servers; those that it gave before are used on.
    pub(in crate::balance) fn lost_sight(&self, entry: usize, error: &LookUpError) {
        self.metrics.origin_lookup_failures.increment();
        let (kind, text) = (error.kind(), story(error));
        let mut roster = self.roster();
        let sighting = roster.sightings.entry(entry).or_default();
        let is_news = sighting.failure.as_ref().is_none_or(|before| before.text != text);
        let has_servers = sighting.answer.is_some();
        sighting.failure = Some(Failure { kind, text: text.clone() });
        drop(roster);
        if let (true, Some(server)) = (is_news, self.config.servers.get(entry)) {
            let (pool, server) = (&self.config.name, &server.label);
            tracing::warn!(%pool, %server, error = %text, has_servers, "the look-up of an origin server failed");
        }
        self.settle();
    }

    /// The last answer that servers of the name at the place `entry` of the config were
    /// found by.
    pub(in crate::balance) fn last_answer(&self, entry: usize) -> Option<Arc<Answer>> {
        self.roster().sightings.get(&entry)?.answer.clone()
    }

    /// The last answer to where `location` is, if it was asked of this DNS server.
    pub(in crate::balance) fn answer_about(
        &self,
        location: &Location,
        resolver: Option<SocketAddr>,
    ) -> Option<Answer> {
        let is_asked = self.config.resolver == resolver;
        let mut servers = self.config.servers.iter().filter(|_| is_asked);
        let entry = servers.position(|server| server.location == *location)?;
        self.last_answer(entry).map(Arc::unwrap_or_clone)
    }

    /// The state of the pool now.
    pub fn snapshot(&self) -> PoolStatus {
        let (now, roster, members) = (self.now(), self.roster(), self.members.load());
        let mut servers = Vec::new();
        for (entry, config) in self.config.servers.iter().enumerate() {
            let sighting = roster.sightings.get(&entry);
            let failure = sighting.and_then(|name| name.failure.as_ref()).map(|failure| &failure.text);
            let theirs = members.iter().filter(|member| member.entry == entry);
            let before = servers.len();
            servers.extend(theirs.map(|member| {
                let status = member.status(now);
                let last_error = failure.map(|text| format!("last look-up: {text}")).or(status.last_error);
                ServerStatus { last_error, ..status }
            }));
            if servers.len() == before {
                servers.push(unresolved(config, failure.cloned()));
            }
        }
        PoolStatus { name: self.config.name.to_string(), servers }
    }

    /// Gives the servers this duty that the config writes so, or whose scheme, host
    /// and port these are: all that are found under a name, those that are found later
    /// too, or one of them. Says how they are called, if there are any.
    pub fn assign(&self, server: &str, duty: Duty) -> Option<String> {
        let mut roster = self.roster();
        let is_entry = |config: &ServerConfig| *config.label == *server || config.url() == server;
        let entry = self.config.servers.iter().position(is_entry);
        let members = self.members.load();
        let is_meant = |member: &Member| match entry {
            Some(entry) => member.entry == entry,
            None => *member.label == *server || member.url.split(',').any(|url| url == server),
        };
        let meant: Vec<_> = members.iter().filter(|member| is_meant(member)).collect();
        let label = match entry {
            Some(entry) => Arc::clone(&self.config.servers.get(entry)?.label),
            None => Arc::clone(&meant.first()?.label),
        };
        if let Some(entry) = entry {
            roster.orders.give(entry, duty);
        }
        for member in meant {
            member.assign(duty, self.now());
            if entry.is_none() {
                roster.orders.give_one(member.entry, &member.url, duty);
            }
        }
        let pool = &self.config.name;
        tracing::info!(%pool, server = %label, ?duty, "an operator assigned an origin server");
        if members.iter().all(|member| member.duty.get() != Duty::Enabled) {
            tracing::warn!(%pool, "no origin server of the pool takes new requests");
        }
        Some(label.to_string())
    }

    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a name looks that no server was found under.
fn unresolved(config: &ServerConfig, last_error: Option<String>) -> ServerStatus {
    ServerStatus {
        label: config.label.to_string(),
        state: ServerState::Unresolved,
        is_down: false,
        weight: config.weight,
        backup: config.backup,
        in_flight: 0,
        tunnels: 0,
        latency_ms: 0.0,
        requests: 0,
        failures: 0,
        last_error,
    }
}
