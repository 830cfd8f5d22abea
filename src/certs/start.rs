//! Brings the certificates of a configuration up: loads what is there, stands
//! in for what is not, and starts the loops that see to the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::acme::Challenges;
use super::error::CertError;
use super::manage::{SiteCertificate, Upkeep};
use super::names::{answered, is_on_demand};
use super::notice::Notices;
use super::remember::Remembering;
use super::sources::Sources;
use super::storage::{CertStorage, FileStorage};
use super::table::{Resolver, ServerNames};
use super::terms::Terms;
use super::{Certificates, Shared, renewal};
use crate::base::{Backoff, Clock, Tasks};
use crate::config::Config;
use crate::telemetry::Metrics;

/// How often files of the user's are looked at.
const FILES_LOOKED_AT: Duration = Duration::from_secs(5);

impl Certificates {
    /// Loads the certificates of all sites with TLS and keeps them valid from
    /// then on, on the current runtime. A site whose first certificate has to be
    /// ordered serves a self-signed one until it is there.
    pub async fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, CertError> {
        Self::start_with_backoff(config, clock, tasks, metrics, renewal::AFTER_FAILURE).await
    }

    /// As [`Certificates::start`], for another configuration with the same state
    /// directory. Both work on it side by side, what could not be written to it is known
    /// to the new ones, they answer for orders of the old ones, and leave ACME servers alone
    /// as those would. Who has failed waits on, unless orders are made otherwise now.
    pub async fn follow(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, CertError> {
        let shared = self.shared.clone();
        Self::start_on(shared, Some(self), config, clock, tasks, metrics, renewal::AFTER_FAILURE).await
    }

    /// As [`Certificates::start`], with other waits after failures than a
    /// minute to a day.
    pub async fn start_with_backoff(
        config: &Config,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
        backoff: Backoff,
    ) -> Result<Arc<Self>, CertError> {
        let storage: Arc<dyn CertStorage> = Arc::new(FileStorage::open(&config.state_dir, clock.wall())?);
        let remembering = Arc::new(Remembering::new(Arc::clone(&storage)));
        let challenges = Arc::new(Challenges::new(Arc::clone(&clock), tasks));
        let (experience, begun_on_demand) = (Arc::default(), Arc::default());
        let shared = Shared { storage, remembering, challenges, experience, begun_on_demand };
        Self::start_on(shared, None, config, clock, tasks, metrics, backoff).await
    }

    async fn start_on(
        shared: Shared,
        before: Option<&Self>,
        config: &Config,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
        backoff: Backoff,
    ) -> Result<Arc<Self>, CertError> {
        // Before the roots are read: what comes after is seen as new.
        let terms = Terms::of(config);
        let resolver = Arc::new(Resolver::default());
        let mut sources = Sources::new(config, &terms, before, shared, clock);

        let mut names = ServerNames::default();
        let (mut first, mut kept) = (Vec::new(), Vec::new());
        for site in &config.sites {
            let issuers = sources.issuers(site).await?;
            let on_demand = |name: &str| is_on_demand(site, name, &config.acme);
            let slots = names.add(answered(site), issuers.len(), on_demand);
            let is_default =
                config.tls_default.as_deref().is_some_and(|it| answered(site).any(|name| name == it));
            if is_default && !issuers.is_empty() {
                names.answer_unknown(slots);
            }
            for ((wanted, issuer), place) in issuers.into_iter().zip(slots.places()) {
                let (served, certificate) = sources.first(wanted, issuer, place).await?;
                first.push(served);
                kept.push(Arc::new(certificate));
            }
        }
        resolver.replace(names, first);

        let notices = match &config.acme.notify {
            Some(webhook) => Some(Notices::new(webhook, &sources.transport()?, tasks)),
            None => None,
        };
        let upkeep = Arc::new(Upkeep {
            clock: Arc::clone(&sources.clock),
            resolver: Arc::clone(&resolver),
            metrics,
            backoff,
            look_every: FILES_LOOKED_AT,
            notices,
        });
        let end = CancellationToken::new();
        let on_demand = sources.on_demand(&upkeep, (tasks, &end))?;
        begin(&upkeep, &kept, Arc::clone(&sources.shared.remembering), (tasks, &end));
        let Sources { clock, shared, .. } = sources;
        let _ends_upkeep = end.clone().drop_guard();
        Ok(Arc::new(Self { resolver, sites: kept, on_demand, clock, terms, shared, end, _ends_upkeep }))
    }
}

/// Keeps `sites` up until the end.
fn begin(
    upkeep: &Arc<Upkeep>,
    sites: &[Arc<SiteCertificate>],
    remembering: Arc<Remembering>,
    (tasks, end): (&Tasks, &CancellationToken),
) {
    let ended = end.clone();
    tasks.spawn_until_stopped(async move {
        ended.run_until_cancelled(remembering.catch_up()).await;
    });
    for site in sites {
        let (upkeep, site, end) = (Arc::clone(upkeep), Arc::clone(site), end.clone());
        tasks.spawn_until_stopped(async move {
            end.run_until_cancelled(upkeep.keep(&site)).await;
        });
    }
}

#[cfg(test)]
mod tests;
