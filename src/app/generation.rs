//! What one configuration makes: its routes, pools, certificates and TLS. A new one
//! takes over what is the same in the one before it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::edge::StartError;
use crate::balance::{Pool, StickyKey};
use crate::base::{Clock, FileMark, Tasks};
use crate::cache::Cache;
use crate::certs::Certificates;
use crate::config::model::Balance;
use crate::config::{Config, Loaded};
use crate::exchange::{Handler, Origin};
use crate::front::Serving;
use crate::router::Router;
use crate::telemetry::Metrics;
use crate::tls::{Tickets, Tls};

/// A configuration in force.
pub(super) struct Generation {
    /// The first one has 1.
    pub(super) number: u64,
    pub(super) config: Config,
    /// The file it was read from, if it was one.
    pub(super) source: Option<PathBuf>,
    /// That file as it was then.
    pub(super) mark: Option<FileMark>,
    pub(super) text: String,
    pub(super) certificates: Arc<Certificates>,
    pub(super) router: Arc<Router>,
    pub(super) pools: Vec<Arc<Pool>>,
}

/// What every generation works with.
pub(super) struct Ground {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cache: Arc<Cache>,
    pub(super) tickets: Option<Arc<Tickets>>,
    /// What a drain does not wait for: checks, renewals, connections to origin
    /// servers.
    pub(super) background: Tasks,
}

impl Generation {
    /// Prepares the configuration `loaded`, which is to follow `before`. Nobody is
    /// served by it yet; what it started ends with it.
    pub(super) async fn prepare(
        loaded: Loaded,
        ground: &Ground,
        before: Option<&Self>,
    ) -> Result<(Self, Tls), StartError> {
        let Loaded { mut config, source, mark, text, .. } = loaded;
        if let Some(before) = before {
            config.keep_until_restart(&before.config);
        }
        let has_same = |before: &&Self| {
            before.config.has_same_certificates(&config) && before.certificates.are_ordered_as(&config)
        };
        let certificates = match before.filter(has_same) {
            Some(before) => Arc::clone(&before.certificates),
            None => ground.certificates(&config, before).await?,
        };
        let tls = Tls::new(&config, &certificates, ground.tickets.as_ref())?;
        let pools = ground.pools(&config, before)?;
        let origins: BTreeMap<Arc<str>, Arc<dyn Origin>> = config
            .pools
            .keys()
            .zip(&pools)
            .map(|(name, pool)| (Arc::clone(name), Arc::clone(pool) as Arc<dyn Origin>))
            .collect();
        let router = Arc::new(Router::new(&config, &origins, Arc::clone(&ground.cache), &ground.metrics));
        let number = before.map_or(1, |before| before.number + 1);
        Ok((Self { number, config, source, mark, text, certificates, router, pools }, tls))
    }

    /// How it has requests served.
    pub(super) fn serving(&self) -> Serving {
        let handler = Arc::clone(&self.router) as Arc<dyn Handler>;
        Serving::new(&self.config, handler, Arc::clone(&self.certificates))
    }

    /// Starts those of its pools that were not in force `before`.
    pub(super) fn start_pools(&self, before: Option<&Self>) {
        for pool in &self.pools {
            match before.and_then(|before| before.pool(pool.name())) {
                Some(before) if Arc::ptr_eq(before, pool) => {}
                before => pool.start(before.map(Arc::as_ref)),
            }
        }
    }

    fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.name() == name)
    }

    /// Gives up the pools that `after` has not. What is under way there goes on.
    pub(super) fn leave_to(&self, after: &Self) {
        let is_kept = |pool: &Arc<Pool>| after.pools.iter().any(|kept| Arc::ptr_eq(kept, pool));
        for pool in self.pools.iter().filter(|pool| !is_kept(pool)) {
            pool.retire(after.pool(pool.name()).map(Arc::as_ref));
        }
    }
}

impl Ground {
    async fn certificates(
        &self,
        config: &Config,
        before: Option<&Generation>,
    ) -> Result<Arc<Certificates>, StartError> {
        let (clock, metrics) = (Arc::clone(&self.clock), Arc::clone(&self.metrics));
        Ok(match before {
            Some(before) => before.certificates.follow(config, clock, &self.background, metrics).await?,
            None => Certificates::start(config, clock, &self.background, metrics).await?,
        })
    }

    /// The pools of `config`, in the order of their names.
    fn pools(&self, config: &Config, before: Option<&Generation>) -> Result<Vec<Arc<Pool>>, StartError> {
        let is_any_sticky = config.pools.values().any(|pool| matches!(pool.balance, Balance::Sticky(_)));
        let key = if is_any_sticky { Some(StickyKey::open(&config.state_dir)?) } else { None };
        let mut pools = Vec::new();
        for (name, wanted) in &config.pools {
            let pool = match before.and_then(|before| before.pool(name)) {
                Some(pool) if pool.is_of(wanted) => Arc::clone(pool),
                before => Pool::new(
                    Arc::clone(wanted),
                    before.map(Arc::as_ref),
                    key.as_ref(),
                    Arc::clone(&self.clock),
                    &self.background,
                    Arc::clone(&self.metrics),
                )?,
            };
            pools.push(pool);
        }
        Ok(pools)
    }
}
