//! Certificates for hosts that no site names, but clients do (RFC 6066 s3):
//! loaded or ordered when the first of them asks, one order a host however many
//! ask, and kept up as long as they do. Which hosts may have one is decided in
//! `gate`; a handshake that waits here has its own deadline.

mod gate;
mod hosts;
mod keep;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acme::{Acme, Transport};
use super::error::CertError;
use super::issuer::{Held, Issuer, Over, Wanted};
use super::manage::{SiteCertificate, Upkeep};
use super::renewal;
use super::standing::Now;
use super::status::CertificateStatus;
use super::storage::CertStorage;
use super::table::Place;
use crate::base::Tasks;
use crate::config::model::OnDemand as Settings;
use crate::config::{Config, is_orderable};
use crate::telemetry::metrics::Limit;

pub(super) use gate::Begun;
use gate::Gate;
use hosts::Hosts;

/// So many certificates are held at a time; one that is not used makes room.
pub(super) const MOST_HOSTS: usize = 10_000;

/// So many hosts wait until they are looked for in storage,
const MOST_WAITING: usize = 1024;
/// so many at a time are,
const LOOKED_FOR_AT_A_TIME: usize = 16;
/// and so many orders are under way; the clients of others are turned away.
const MOST_ORDERS: usize = 64;

/// So many hosts are remembered that got none.
const MOST_REFUSED: u64 = 10_000;
/// For how long those that may not have one are,
const NOT_ALLOWED_FOR: Duration = Duration::from_secs(300);
/// and those of which that could not be found out.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// The certificates of hosts that clients name.
#[derive(Debug)]
pub(super) struct OnDemand {
    /// Names that no public authority certifies may be ordered.
    own_directory: bool,
    gate: Gate,
    acme: Arc<Acme>,
    storage: Arc<dyn CertStorage>,
    upkeep: Arc<Upkeep>,
    hosts: Mutex<Hosts>,
    refused: Cache<Arc<str>, Refused>,
    wanted: mpsc::Sender<Arc<str>>,
    orders: Semaphore,
    tasks: Tasks,
    /// Ends them all.
    end: CancellationToken,
}

/// A host for which nothing was ordered.
#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Instant,
    /// It stays so after that, until somebody allows it.
    is_forbidden: bool,
}

/// Whose work it is to obtain what is wanted.
#[derive(Debug)]
pub(super) struct Worker {
    on_demand: Arc<OnDemand>,
    wanted: mpsc::Receiver<Arc<str>>,
}

impl OnDemand {
    /// Certificates for the hosts that the resolver has none for. Nothing is obtained
    /// before the worker runs.
    pub(super) fn new(
        config: &Config,
        settings: &Settings,
        (acme, transport): (&Arc<Acme>, &Arc<Transport>),
        (storage, begun): (Arc<dyn CertStorage>, &Arc<Begun>),
        upkeep: &Arc<Upkeep>,
        (tasks, end): (&Tasks, &CancellationToken),
    ) -> (Arc<Self>, Worker) {
        let (sender, wanted) = mpsc::channel(MOST_WAITING);
        let refused = Cache::builder().max_capacity(MOST_REFUSED).eviction_policy(EvictionPolicy::lru());
        let on_demand = Arc::new(Self {
            own_directory: config.acme.own_directory,
            gate: Gate::new(settings, transport, begun),
            acme: Arc::clone(acme),
            storage,
            upkeep: Arc::clone(upkeep),
            hosts: Mutex::default(),
            refused: refused.build(),
            wanted: sender,
            orders: Semaphore::new(MOST_ORDERS),
            tasks: tasks.clone(),
            end: end.clone(),
        });
        let worker = Worker { on_demand: Arc::clone(&on_demand), wanted };
        (on_demand, worker)
    }

    /// Knows of those before a reload, ordered alike, which hosts got no certificate.
    pub(super) fn follow(&self, before: &Self) {
        for (host, refused) in &before.refused {
            self.refused.insert(Arc::clone(&host), refused);
        }
        let (now, failures) = (self.upkeep.clock.now(), before.hosts().failures());
        for (failed, until) in failures {
            let certificate = self.certificate(&failed.site().into(), None);
            certificate.follow(&failed);
            self.hosts().fail(&certificate, now, until.saturating_duration_since(now));
        }
    }

    /// One for `host` that is in place; `None` stands for none yet.
    fn certificate(&self, host: &Arc<str>, held: Option<&Held>) -> Arc<SiteCertificate> {
        let (wanted, issuer) = (wanted(host), Issuer::Acme(Arc::clone(&self.acme)));
        let (place, now) = (Place::Host(Arc::clone(host)), self.upkeep.clock.now());
        Arc::new(SiteCertificate::new(wanted, issuer, place, held, None, now))
    }

    /// Waits until there is a certificate for `host`, in lower case, or it is known
    /// that there will be none; ends at once for a host that has its own way to
    /// one. Cancel safe: what is on its way comes all the same.
    pub(super) async fn ready(&self, host: &str) {
        let is_wanted = self.upkeep.resolver.is_on_demand(host)
            && !self.upkeep.resolver.has_host(host)
            && !self.is_refused(host)
            && is_orderable(host, self.own_directory);
        if is_wanted && let Some(ended) = self.want(host.into()) {
            ended.cancelled().await;
        }
    }

    /// Has a certificate obtained, and says when that has ended; `None` if it
    /// cannot begin, or there is one.
    fn want(&self, host: Arc<str>) -> Option<CancellationToken> {
        let mut hosts = self.hosts();
        if let Some(ended) = hosts.on_their_way.get(&host) {
            return Some(ended.clone());
        }
        if hosts.held.contains_key(&host) {
            return None;
        }
        if self.wanted.try_send(Arc::clone(&host)).is_err() {
            self.upkeep.metrics.limit(Limit::OnDemand);
            return None;
        }
        let ended = CancellationToken::new();
        hosts.on_their_way.insert(host, ended.clone());
        Some(ended)
    }

    fn is_refused(&self, host: &str) -> bool {
        let now = self.upkeep.clock.now();
        self.refused.get(host).is_some_and(|refused| refused.until > now)
            || self.hosts().has_just_failed(host, now)
    }

    /// Obtains a certificate and serves it; `turn` is over once storage was looked
    /// into, which no server of the user's can hold up.
    async fn obtain<T>(self: &Arc<Self>, host: &Arc<str>, turn: T) {
        let issuer = Issuer::Acme(Arc::clone(&self.acme));
        let now = self.upkeep.clock.wall();
        let stored = issuer.stored(&wanted(host), &*self.storage, now, Over::CountsAsNone).await;
        drop(turn);
        let outcome = match stored {
            Some(held) => {
                // No matter by what chance it is renewed.
                let is_due = renewal::due(&held.certificate.validity, 1.0) <= now;
                let allowed = self.may_serve(host, is_due).await;
                allowed.map(|()| {
                    let certificate = self.certificate(host, Some(&held));
                    self.hold(&certificate, |upkeep| upkeep.serve(&certificate, &held));
                })
            }
            None => self.order(host).await,
        };
        if let Err(error) = outcome {
            self.refuse(host, &error);
        }
    }

    /// What is stored is served without a question, unless it is to be renewed now or
    /// was forbidden; and without an answer, unless it was forbidden.
    async fn may_serve(&self, host: &str, is_due: bool) -> Result<(), CertError> {
        let is_forbidden = self.is_forbidden(host);
        if !is_due && !is_forbidden {
            return Ok(());
        }
        match self.gate.ask_at_the_door(host).await {
            Err(error) if is_forbidden || matches!(error, CertError::NotAllowed { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Orders a certificate, if that may be, and serves it.
    async fn order(self: &Arc<Self>, host: &Arc<str>) -> Result<(), CertError> {
        let _room = self.may_order(host).await?;
        // That of the last try knows how many have failed.
        let failed = self.hosts().failed(host).cloned();
        let certificate = failed.unwrap_or_else(|| self.certificate(host, None));
        match self.upkeep.issue(&certificate).await {
            Ok(issued) => self.hold(&certificate, |upkeep| upkeep.install(&certificate, &issued)),
            Err(wait) => {
                self.hosts().fail(&certificate, self.upkeep.clock.now(), wait);
                self.forget_old_failures();
            }
        }
        Ok(())
    }

    async fn may_order(&self, host: &str) -> Result<SemaphorePermit<'_>, CertError> {
        self.gate.ask_at_the_door(host).await?;
        self.refused.invalidate(host);
        let room = self.orders.try_acquire().map_err(|_| CertError::Crowded)?;
        self.gate.count_order(self.upkeep.clock.now())?;
        Ok(room)
    }

    fn refuse(&self, host: &Arc<str>, error: &CertError) {
        tracing::debug!(host = &**host, reason = error.story(), "no certificate on demand");
        let wait = match error {
            CertError::NotAllowed { .. } => NOT_ALLOWED_FOR,
            CertError::TooManyHosts { wait } => *wait,
            _ => UNKNOWN_FOR,
        };
        if matches!(error, CertError::TooManyHosts { .. } | CertError::Crowded) {
            self.upkeep.metrics.limit(Limit::OnDemand);
        }
        let is_forbidden = matches!(error, CertError::NotAllowed { .. }) || self.is_forbidden(host);
        let until = self.upkeep.clock.now() + wait;
        self.refused.insert(Arc::clone(host), Refused { until, is_forbidden });
    }

    fn is_forbidden(&self, host: &str) -> bool {
        self.refused.get(host).is_some_and(|refused| refused.is_forbidden)
    }

    fn forget_old_failures(&self) {
        let over = self.hosts().forget_old_failures(self.upkeep.clock.now(), self.upkeep.backoff.most);
        for host in over {
            self.acme.clear_warnings(&host);
        }
    }

    /// Has a new certificate made for `host`, if it has one or one was ordered; says
    /// whether.
    pub(super) fn renew(&self, host: &str) -> bool {
        let (held, has_failed) = {
            let hosts = self.hosts();
            let held = hosts.held.get(host).map(|held| Arc::clone(&held.certificate));
            (held, hosts.failed(host).is_some())
        };
        match held {
            Some(certificate) => certificate.renew_now(),
            None => has_failed && self.want(host.into()).is_some(),
        }
    }

    /// The certificate of each host, and how the orders of others went of late, by
    /// name.
    pub(super) fn status(&self) -> Vec<CertificateStatus> {
        self.forget_old_failures();
        let now = Now::of(&*self.upkeep.clock);
        let told = self.hosts().told(now.instant);
        let mut status: Vec<_> = told.into_iter().map(|host| host.status(now)).collect();
        status.sort_by(|one, other| one.site.cmp(&other.site));
        status
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wanted(host: &Arc<str>) -> Wanted {
    Wanted {
        site: Arc::clone(host),
        names: vec![host.to_string()],
        is_asked_for: Arc::default(),
        is_on_demand: true,
    }
}

impl Worker {
    /// Obtains what is wanted, until all ends.
    pub(super) async fn run(mut self) {
        let turns = Arc::new(Semaphore::new(LOOKED_FOR_AT_A_TIME));
        let end = self.on_demand.end.clone();
        while let Some(Some(host)) = end.run_until_cancelled(self.wanted.recv()).await {
            // INVARIANT: the semaphore is never closed.
            let turn = Arc::clone(&turns).acquire_owned().await.ok();
            let ends = Ends { on_demand: Arc::clone(&self.on_demand), host };
            let end = self.on_demand.end.clone();
            self.on_demand.tasks.spawn_until_stopped(async move {
                end.run_until_cancelled(ends.on_demand.obtain(&ends.host, turn)).await;
            });
        }
    }
}

/// Lets those go on who wait for a host, however that ends.
struct Ends {
    on_demand: Arc<OnDemand>,
    host: Arc<str>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(ended) = self.on_demand.hosts().on_their_way.remove(&self.host) {
            ended.cancel();
        }
    }
}
