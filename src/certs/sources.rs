//! Who makes the certificates of a configuration, and what is there of them when it comes
//! into force: stored, made at once, served before a reload, or a placeholder. It keeps
//! none up.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::acme::{Acme, Transport};
use super::authority::LocalAuthority;
use super::error::CertError;
use super::files::FilePair;
use super::issuer::{Held, Issuer, Over, Wanted};
use super::manage::{SiteCertificate, Upkeep};
use super::names::certified;
use super::on_demand::OnDemand;
use super::storage::CertStorage;
use super::table::{Place, Served};
use super::terms::Terms;
use super::{Certificates, Shared, self_signed};
use crate::base::{Clock, Tasks};
use crate::config::Config;
use crate::config::model::{PemPair, Site, SiteTls};

/// Where certificates come from; each is set up once, if a site needs it.
pub(super) struct Sources<'a> {
    config: &'a Config,
    /// What is served until a reload.
    served_before: Vec<Held>,
    /// What is in force until then, if it is ordered alike.
    alike: Option<&'a Certificates>,
    pub(super) shared: Shared,
    transport: Option<Arc<Transport>>,
    pub(super) clock: Arc<dyn Clock>,
    authority: Option<Arc<LocalAuthority>>,
    acme: Option<Arc<Acme>>,
}

impl<'a> Sources<'a> {
    /// Those of `config`, which orders on these `terms`, where `before` is in force until
    /// a reload; nothing is set up yet.
    pub(super) fn new(
        config: &'a Config,
        terms: &Terms,
        before: Option<&'a Certificates>,
        shared: Shared,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let served_before = before.map(|before| before.served(terms)).unwrap_or_default();
        let alike = before.filter(|before| before.terms == *terms);
        Self { config, served_before, alike, shared, transport: None, clock, authority: None, acme: None }
    }

    /// What certificates a site wants and who makes each; none without TLS.
    pub(super) async fn issuers(&mut self, site: &Site) -> Result<Vec<(Wanted, Issuer)>, CertError> {
        let names = certified(site, &self.config.acme);
        let wanted = || Wanted {
            site: Arc::clone(&site.name),
            names: names.clone(),
            is_asked_for: Arc::default(),
            is_on_demand: false,
        };
        Ok(match &site.tls {
            SiteTls::Off => Vec::new(),
            SiteTls::OnDemand if names.is_empty() => Vec::new(),
            SiteTls::Files(pairs) => {
                let issuer = |PemPair { cert, key }: &PemPair| {
                    Issuer::Files(FilePair { chain: cert.clone(), key: key.clone() })
                };
                pairs.iter().map(|pair| (wanted(), issuer(pair))).collect()
            }
            SiteTls::Internal => vec![(wanted(), Issuer::Internal(self.authority().await?))],
            SiteTls::Acme if names.is_empty() => {
                return Err(CertError::NoName { site: site.name.to_string() });
            }
            SiteTls::Acme | SiteTls::OnDemand => vec![(wanted(), Issuer::Acme(self.acme()?))],
        })
    }

    /// What is served from the start, if only a placeholder, and the certificate
    /// that is kept up from then on.
    pub(super) async fn first(
        &self,
        wanted: Wanted,
        issuer: Issuer,
        place: Place,
    ) -> Result<(Served, SiteCertificate), CertError> {
        // Before they are read: what comes after is seen as new.
        let marks = match &issuer {
            Issuer::Files(pair) => Some(pair.marks().await),
            Issuer::Internal(_) | Issuer::Acme(_) => None,
        };
        let held = self.held(&wanted, &issuer).await?;
        let served_before = self.served_before(&wanted, &issuer, held.as_ref());
        let is_stored = served_before.is_none();
        let held = served_before.or(held);
        let now = self.clock.wall();
        let served = match &held {
            Some(held) => Served::Own(Arc::clone(&held.certificate.certified)),
            None => {
                let placeholder = self_signed::placeholder(&wanted.names, now)?.certified;
                Served::Placeholder(placeholder, Arc::clone(&wanted.is_asked_for))
            }
        };
        let certificate = SiteCertificate::new(wanted, issuer, place, held.as_ref(), marks, self.clock.now());
        let mut alike = self.alike.iter().flat_map(|alike| &alike.sites);
        alike.any(|before| certificate.follow(before));
        if !is_stored {
            certificate.is_not_stored();
        }
        Ok((served, certificate))
    }

    /// What is served until a reload, for this site or another one, and is for the names,
    /// where storage has nothing, or what is over or lacks one of them: nobody loses a
    /// good certificate because another one is to be ordered.
    fn served_before(&self, wanted: &Wanted, issuer: &Issuer, held: Option<&Held>) -> Option<Held> {
        let now = self.clock.wall();
        let is_good = |held: &Held| held.certificate.check(&wanted.names, now).is_ok();
        if !matches!(issuer, Issuer::Acme(_)) || held.is_some_and(is_good) {
            return None;
        }
        let may_serve = |other: &Held| match held {
            Some(_) => is_good(other),
            None => other.certificate.is_for_some(&wanted.names),
        };
        let served = self.served_before.iter().filter(|other| may_serve(other));
        let best = served.max_by_key(|other| other.certificate.worth(&wanted.names))?;
        let site = &*wanted.site;
        tracing::info!(site, "a certificate from before the reload is served until there is another");
        Some(best.clone())
    }

    /// The certificate that is there, or made at once; `None` for one that is
    /// ordered.
    async fn held(&self, wanted: &Wanted, issuer: &Issuer) -> Result<Option<Held>, CertError> {
        let now = self.clock.wall();
        if let Some(stored) = issuer.stored(wanted, &*self.shared.remembering, now, Over::IsServed).await {
            return Ok(Some(stored));
        }
        Ok(match issuer {
            Issuer::Files(pair) => Some(Held::own(pair.load(&wanted.names, now).await?)),
            Issuer::Internal(authority) => {
                Some(Held::own(authority.issue(&wanted.site, &wanted.names, now).await?))
            }
            Issuer::Acme(_) => None,
        })
    }

    async fn authority(&mut self) -> Result<Arc<LocalAuthority>, CertError> {
        if let Some(authority) = &self.authority {
            return Ok(Arc::clone(authority));
        }
        let authority =
            Arc::new(LocalAuthority::open(Arc::clone(&self.shared.storage), self.clock.wall()).await?);
        Ok(Arc::clone(self.authority.insert(authority)))
    }

    pub(super) fn transport(&mut self) -> Result<Arc<Transport>, CertError> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        let roots = self.config.acme.ca.as_deref();
        let transport = Arc::new(Transport::new(roots, Arc::clone(&self.clock))?);
        Ok(Arc::clone(self.transport.insert(transport)))
    }

    /// Hosts that clients name, if a site answers for such.
    pub(super) fn on_demand(
        &mut self,
        upkeep: &Arc<Upkeep>,
        tasks: (&Tasks, &CancellationToken),
    ) -> Result<Option<Arc<OnDemand>>, CertError> {
        let config = self.config;
        let Some(settings) = &config.acme.on_demand else { return Ok(None) };
        if !config.sites.iter().any(|site| site.tls == SiteTls::OnDemand) {
            return Ok(None);
        }
        let (acme, transport) = (self.acme()?, self.transport()?);
        let storage = Arc::clone(&self.shared.remembering) as Arc<dyn CertStorage>;
        let storage = (storage, &self.shared.begun_on_demand);
        let (on_demand, worker) =
            OnDemand::new(config, settings, (&acme, &transport), storage, upkeep, tasks);
        if let Some(before) = self.alike.and_then(|alike| alike.on_demand.as_ref()) {
            on_demand.follow(before);
        }
        tasks.0.spawn_until_stopped(worker.run());
        Ok(Some(on_demand))
    }

    fn acme(&mut self) -> Result<Arc<Acme>, CertError> {
        if let Some(acme) = &self.acme {
            return Ok(Arc::clone(acme));
        }
        let transport = self.transport()?;
        let storage = Arc::clone(&self.shared.remembering) as Arc<dyn CertStorage>;
        let Shared { challenges, experience, .. } = &self.shared;
        let acme = Acme::new(self.config, &storage, (challenges, experience), &transport, &self.clock)?;
        let acme = Arc::new(acme);
        Ok(Arc::clone(self.acme.insert(acme)))
    }
}

impl Certificates {
    /// What the sites are served with, by the servers that `terms` have.
    fn served(&self, terms: &Terms) -> Vec<Held> {
        let held = self.sites.iter().filter_map(|site| site.held());
        held.map(|Held { certificate, server }| {
            let server = server.and_then(|server| terms.server(self.terms.directory(server)?));
            Held { certificate, server }
        })
        .collect()
    }
}
