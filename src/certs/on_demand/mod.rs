//! Certificates for hosts that no site names, but clients do (RFC 6066 s3):
//! loaded or ordered when the first of them asks, one order a host however many
//! ask, and kept up as long as they do. Which hosts may have one is decided in
//! `gate`; a handshake that waits here has its own deadline.

mod gate;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::acme::{Acme, Failure, Transport};
use super::error::CertError;
use super::issuer::{Held, Issuer, Wanted};
use super::manage::{SiteCertificate, Upkeep};
use super::standing::Step;
use super::status::CertificateStatus;
use super::storage::CertStorage;
use super::table::Place;
use crate::base::Tasks;
use crate::config::model::{OnDemand as Settings, SiteTls};
use crate::config::{ByHost, Config, is_orderable};
use crate::telemetry::metrics::Limit;

use gate::Gate;

/// So many certificates are held at a time; one that is not used makes room.
pub(super) const MOST_HOSTS: usize = 10_000;

/// So many hosts wait for their turn; the clients of others are turned away.
const MOST_WAITING: usize = 1024;
/// For so many at a time storage is looked into, and the gate asked.
const AT_A_TIME: usize = 16;

/// So many hosts are remembered that got none.
const MOST_REFUSED: u64 = 10_000;
/// For how long those that may not have one are,
const NOT_ALLOWED_FOR: Duration = Duration::from_secs(300);
/// and those of which that could not be found out.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// The certificates of hosts that clients name.
#[derive(Debug)]
pub(super) struct OnDemand {
    /// By every name of every site: whether its hosts get them.
    sites: ByHost<bool>,
    /// Names that no public authority certifies may be ordered.
    own_directory: bool,
    gate: Gate,
    acme: Arc<Acme>,
    storage: Arc<dyn CertStorage>,
    upkeep: Arc<Upkeep>,
    hosts: Mutex<Hosts>,
    refused: Cache<Arc<str>, Refused>,
    wanted: mpsc::Sender<Arc<str>>,
    tasks: Tasks,
    /// Ends them all.
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Hosts {
    /// Hosts whose certificate is on its way: cancelled when that has ended.
    on_their_way: HashMap<Arc<str>, CancellationToken>,
    held: HashMap<Arc<str>, HeldHost>,
}

#[derive(Debug)]
struct HeldHost {
    certificate: Arc<SiteCertificate>,
    _ends_upkeep: DropGuard,
}

/// A host without a certificate.
#[derive(Clone, Debug)]
struct Refused {
    until: Instant,
    /// How its order went, if there was one.
    ordered: Option<Arc<SiteCertificate>>,
}

/// Whose work it is to obtain what is wanted.
#[derive(Debug)]
pub(super) struct Worker {
    on_demand: Arc<OnDemand>,
    wanted: mpsc::Receiver<Arc<str>>,
}

impl OnDemand {
    /// Certificates for the sites of `config` that want theirs so. Nothing is
    /// obtained before the worker runs.
    pub(super) fn new(
        config: &Config,
        settings: &Settings,
        (acme, transport): (&Arc<Acme>, &Arc<Transport>),
        storage: Arc<dyn CertStorage>,
        upkeep: &Arc<Upkeep>,
        (tasks, end): (&Tasks, &CancellationToken),
    ) -> (Arc<Self>, Worker) {
        let mut sites = ByHost::default();
        for site in &config.sites {
            for name in std::iter::once(&site.name).chain(&site.aliases) {
                sites.insert(name, site.tls == SiteTls::OnDemand);
            }
        }
        let (sender, wanted) = mpsc::channel(MOST_WAITING);
        let refused = Cache::builder().max_capacity(MOST_REFUSED).eviction_policy(EvictionPolicy::lru());
        let on_demand = Arc::new(Self {
            sites,
            own_directory: config.acme.own_directory,
            gate: Gate::new(settings, transport),
            acme: Arc::clone(acme),
            storage,
            upkeep: Arc::clone(upkeep),
            hosts: Mutex::default(),
            refused: refused.build(),
            wanted: sender,
            tasks: tasks.clone(),
            end: end.clone(),
        });
        let worker = Worker { on_demand: Arc::clone(&on_demand), wanted };
        (on_demand, worker)
    }

    /// Waits until there is a certificate for `host`, in lower case, or it is known
    /// that there will be none; ends at once for a host that has its own way to
    /// one. Cancel safe: what is on its way comes all the same.
    pub(super) async fn ready(&self, host: &str) {
        let is_wanted = self.sites.find(host) == Some(&true)
            && !self.upkeep.resolver.has_host(host)
            && !self.is_refused(host)
            && is_orderable(host, self.own_directory);
        if is_wanted && let Some(ended) = self.want(host.into()) {
            ended.cancelled().await;
        }
    }

    /// Has a certificate obtained, and says when that has ended; `None` if it
    /// cannot begin.
    fn want(&self, host: Arc<str>) -> Option<CancellationToken> {
        let mut hosts = self.hosts();
        if let Some(ended) = hosts.on_their_way.get(&host) {
            return Some(ended.clone());
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
        self.refused.get(host).is_some_and(|refused| refused.until > self.upkeep.clock.now())
    }

    /// Obtains a certificate and serves it; `turn` is over once it is known that it
    /// has to be ordered, which takes long.
    async fn obtain<T>(self: &Arc<Self>, host: &Arc<str>, turn: T) {
        let wanted = Wanted {
            site: Arc::clone(host),
            names: vec![host.to_string()],
            is_asked_for: Arc::new(AtomicBool::new(true)),
        };
        let issuer = Issuer::Acme(Arc::clone(&self.acme));
        let now = self.upkeep.clock.wall();
        let held = issuer.stored(&wanted, &*self.storage, now).await;
        let may_order = match &held {
            Some(_) => Ok(()),
            None => self.may_order(host).await,
        };
        drop(turn);
        let certificate =
            SiteCertificate::new(wanted, issuer, Place::Host(Arc::clone(host)), held.as_ref(), None, now);
        let certificate = Arc::new(certificate);
        match (may_order, held) {
            (Ok(()), Some(held)) => self.hold(host, &certificate, &held),
            (Ok(()), None) => match self.upkeep.issue(&certificate).await {
                Ok(held) => self.hold(host, &certificate, &held),
                Err(wait) => self.refuse(host, wait, Some(certificate)),
            },
            (Err(error), _) => {
                tracing::debug!(host = &**host, reason = error.story(), "no certificate on demand");
                let wait = match &error {
                    CertError::NotAllowed { .. } => NOT_ALLOWED_FOR,
                    CertError::TooManyHosts { wait } => {
                        self.upkeep.metrics.limit(Limit::OnDemand);
                        *wait
                    }
                    _ => UNKNOWN_FOR,
                };
                self.refuse(host, wait, None);
            }
        }
    }

    async fn may_order(&self, host: &str) -> Result<(), CertError> {
        self.gate.ask(host).await?;
        self.gate.count_order(self.upkeep.clock.now())
    }

    fn refuse(&self, host: &Arc<str>, wait: Duration, ordered: Option<Arc<SiteCertificate>>) {
        let until = self.upkeep.clock.now() + wait;
        self.refused.insert(Arc::clone(host), Refused { until, ordered });
    }

    /// Serves a certificate from the next handshake on, and keeps it up.
    fn hold(self: &Arc<Self>, host: &Arc<str>, certificate: &Arc<SiteCertificate>, held: &Held) {
        self.upkeep.install(certificate, held);
        self.refused.invalidate(host);
        let end = self.end.child_token();
        let (on_demand, kept, ended) = (Arc::clone(self), Arc::clone(certificate), end.clone());
        self.tasks.spawn_until_stopped(async move {
            ended.run_until_cancelled(on_demand.keep(&kept)).await;
        });
        let mut hosts = self.hosts();
        if hosts.held.len() >= MOST_HOSTS {
            self.make_room(&mut hosts);
        }
        let held = HeldHost { certificate: Arc::clone(certificate), _ends_upkeep: end.drop_guard() };
        hosts.held.insert(Arc::clone(host), held);
    }

    /// What is let go is in storage still.
    fn make_room(&self, hosts: &mut Hosts) {
        let is_unused = |host: &&Arc<str>| !self.upkeep.resolver.is_used(host);
        let any = || hosts.held.keys().next();
        if let Some(host) = hosts.held.keys().find(is_unused).or_else(any).cloned() {
            hosts.held.remove(&host);
            self.upkeep.resolver.remove_host(&host);
        }
    }

    /// Renews a certificate whenever it is due, as long as it is used and may be
    /// had.
    async fn keep(&self, certificate: &SiteCertificate) {
        let host = certificate.site();
        loop {
            if self.upkeep.next_step(certificate).await == Step::Ask {
                self.upkeep.ask(certificate, &self.acme).await;
                continue;
            }
            if !self.upkeep.resolver.is_used(host) && !certificate.is_renewal_asked_for() {
                tracing::debug!(host, "a certificate that nobody uses is not renewed");
                return self.let_go(host);
            }
            match self.gate.ask(host).await {
                Ok(()) => self.upkeep.renew(certificate).await,
                Err(error @ CertError::NotAllowed { .. }) => {
                    tracing::info!(host, reason = error.story(), "a certificate is not renewed");
                    return self.let_go(host);
                }
                Err(error) => {
                    self.upkeep.put_off(certificate, Failure { error, retry_after: None });
                }
            }
        }
    }

    fn let_go(&self, host: &str) {
        self.upkeep.resolver.remove_host(host);
        self.hosts().held.remove(host);
    }

    /// Has a new certificate made for `host`, if it has one or one was ordered; says
    /// whether.
    pub(super) fn renew(&self, host: &str) -> bool {
        let held = self.hosts().held.get(host).map(|held| Arc::clone(&held.certificate));
        if let Some(certificate) = held {
            return certificate.renew_now(self.upkeep.clock.wall());
        }
        let is_ordered = self.refused.get(host).is_some_and(|refused| refused.ordered.is_some());
        is_ordered && self.want(host.into()).is_some()
    }

    /// The certificate of each host, and how the orders of others went, by name.
    pub(super) fn status(&self) -> Vec<CertificateStatus> {
        let held: Vec<_> = self.hosts().held.values().map(|held| Arc::clone(&held.certificate)).collect();
        let failed = self.refused.iter().filter_map(|(_, refused)| refused.ordered);
        let mut status: Vec<_> = held.into_iter().chain(failed).map(|host| host.status()).collect();
        status.sort_by(|one, other| one.site.cmp(&other.site));
        status.dedup_by(|one, other| one.site == other.site);
        status
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Obtains what is wanted, until all ends.
    pub(super) async fn run(mut self) {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
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
