//! Origin servers that are found by name: asks DNS, and again when the answer has
//! had its time. What follows from an answer, which ones are refused, and when to
//! ask again, are pure; who belongs to the pool then is the pool's to say.

mod found;
mod inward;
mod schedule;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

pub(super) use found::FoundServer;

use super::Pool;
use crate::base::random_unit;
use crate::config::model::{Location, PoolConfig, ServerConfig};
use crate::fields::proxy_status::ProxyErrorType;
use crate::resolve::{Answer, Directory, NotFound, ResolveError};
use crate::telemetry::metrics::Limit;

/// All questions of a look-up together take no longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Half of what one question takes at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a look-up gave no servers.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookUpError {
    /// There are none, or nobody tells.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// There are, in networks where a public name must not lead.
    #[error(
        "DNS has only private addresses under a public name, which `allow_private = true` of the pool takes"
    )]
    Refused,
    /// Nobody told in time.
    #[error("the DNS servers do not answer")]
    TimedOut,
}

impl LookUpError {
    /// The kind of failure (RFC 9209 s2.3).
    pub(super) fn kind(&self) -> ProxyErrorType {
        match self {
            Self::NotFound(NotFound::Unanswered(error)) if error.is_silence() => ProxyErrorType::DnsTimeout,
            Self::NotFound(NotFound::Unanswered(_) | NotFound::NoName) => ProxyErrorType::DnsError,
            Self::NotFound(NotFound::NoRecords) => ProxyErrorType::DestinationNotFound,
            Self::Refused => ProxyErrorType::DestinationIpProhibited,
            Self::TimedOut => ProxyErrorType::DnsTimeout,
        }
    }
}

impl From<ResolveError> for LookUpError {
    fn from(error: ResolveError) -> Self {
        Self::NotFound(error.into())
    }
}

/// Starts to look up what the config of `pool` names, on the current runtime, until
/// the pool is dropped or retires, or the tasks are stopped. What the one `before` it knew counts
/// as its last answer.
pub(super) fn start(pool: &Arc<Pool>, before: Option<&Pool>) {
    let config = pool.config();
    for (entry, server) in config.servers.iter().enumerate() {
        if !server.location.is_named() {
            continue;
        }
        let mut search = Search::new(entry, server.clone(), config);
        if let Some(answer) = before.and_then(|before| before.answer_about(&server.location, config.resolver))
        {
            // What was fine there may be refused here, which the first look-up tells.
            let _ = search.learn(answer, pool);
        }
        let (search, retired) = (search.run(Arc::downgrade(pool)), pool.retirement().clone());
        pool.tasks().spawn_until_stopped(async move {
            retired.run_until_cancelled(search).await;
        });
    }
}

/// The search for the servers of one name.
struct Search {
    /// The place of the name in the config.
    entry: usize,
    server: ServerConfig,
    resolver: Option<SocketAddr>,
    allow_private: bool,
    /// What was said of it already.
    refused: Vec<IpAddr>,
    left_out: usize,
    /// In a row.
    failures: u32,
}

impl Search {
    fn new(entry: usize, server: ServerConfig, config: &PoolConfig) -> Self {
        let (resolver, allow_private) = (config.resolver, config.allow_private);
        let (refused, left_out, failures) = (Vec::new(), 0, 0);
        Self { entry, server, resolver, allow_private, refused, left_out, failures }
    }

    async fn run(mut self, pool: Weak<Pool>) {
        while pool.strong_count() > 0 {
            let looked_up = timeout(LIMIT, self.look_up()).await.unwrap_or(Err(LookUpError::TimedOut));
            let Some(pool) = pool.upgrade() else { return };
            let wait = match looked_up.and_then(|answer| self.learn(answer, &pool)) {
                Ok(ttl) => {
                    self.failures = 0;
                    schedule::held(ttl)
                }
                Err(error) => {
                    pool.lost_sight(self.entry, &error);
                    self.failures = self.failures.saturating_add(1);
                    schedule::after_failures(self.failures, random_unit())
                }
            };
            drop(pool);
            sleep(wait).await;
        }
    }

    async fn look_up(&self) -> Result<Answer, LookUpError> {
        let directory = Directory::open(self.resolver, PATIENCE)?;
        Ok(match &self.server.location {
            Location::Service(name) => directory.service(name).await?,
            Location::Host(name, _) => directory.host(name).await?,
            Location::Address(_) | Location::Socket(_) => return Err(NotFound::NoRecords.into()),
        })
    }

    /// Tells `pool` what `answer` comes to, and says for how long that holds.
    fn learn(&mut self, mut answer: Answer, pool: &Arc<Pool>) -> Result<Duration, LookUpError> {
        if let Some(last) = pool.last_answer(self.entry) {
            found::keep_what_is_unanswered(&mut answer, &last);
        }
        let found::Findings { servers, refused, left_out } =
            found::servers(self.entry, &self.server, &answer, self.allow_private);
        let (name, server) = (pool.name(), &self.server.label);
        pool.metrics().origin_addresses_refused.add(u64::try_from(refused.len()).unwrap_or(u64::MAX));
        if !refused.is_empty() && refused != self.refused {
            tracing::warn!(
                pool = name, %server, ?refused,
                "private addresses of a public name are left out; `allow_private = true` of the pool takes them"
            );
        }
        if left_out > 0 {
            pool.metrics().limit(Limit::FoundServers);
            if left_out != self.left_out {
                let most = found::MOST_SERVERS;
                tracing::warn!(pool = name, %server, left_out, most, "a name has too many origin servers");
            }
        }
        let is_any_refused = !refused.is_empty();
        (self.refused, self.left_out) = (refused, left_out);
        if servers.is_empty() {
            return Err(if is_any_refused { LookUpError::Refused } else { NotFound::NoRecords.into() });
        }
        let ttl = answer.ttl;
        pool.found(self.entry, servers, answer);
        Ok(ttl)
    }
}
