//! Brings the certificates of a configuration up: loads what is there, stands
//! in for what is not, and starts the loops that see to the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::acme::{Acme, Challenges, Transport};
use super::authority::LocalAuthority;
use super::error::CertError;
use super::files::FilePair;
use super::issuer::{Held, Issuer, Over, Wanted};
use super::manage::{SiteCertificate, Upkeep};
use super::names::{answered, certified, is_on_demand};
use super::notice::Notices;
use super::on_demand::OnDemand;
use super::remember::Remembering;
use super::storage::{CertStorage, FileStorage};
use super::table::{Place, Resolver, Served, ServerNames};
use super::terms::Terms;
use super::{Certificates, Shared, renewal, self_signed};
use crate::base::{Backoff, Clock, Tasks};
use crate::config::Config;
use crate::config::model::{PemPair, Site, SiteTls};
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
        let alike = before.filter(|before| before.terms == terms);
        let served_before = before.map(|before| before.served(&terms)).unwrap_or_default();
        let resolver = Arc::new(Resolver::default());
        let mut sources = Sources {
            config,
            served_before,
            alike,
            shared,
            transport: None,
            clock,
            authority: None,
            acme: None,
        };

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

/// Where certificates come from; each is set up once, if a site needs it.
struct Sources<'a> {
    config: &'a Config,
    /// What is served until a reload.
    served_before: Vec<Held>,
    /// What is in force until then, if it is ordered alike.
    alike: Option<&'a Certificates>,
    shared: Shared,
    transport: Option<Arc<Transport>>,
    clock: Arc<dyn Clock>,
    authority: Option<Arc<LocalAuthority>>,
    acme: Option<Arc<Acme>>,
}

impl Sources<'_> {
    /// What certificates a site wants and who makes each; none without TLS.
    async fn issuers(&mut self, site: &Site) -> Result<Vec<(Wanted, Issuer)>, CertError> {
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
    async fn first(
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

    fn transport(&mut self) -> Result<Arc<Transport>, CertError> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        let roots = self.config.acme.ca.as_deref();
        let transport = Arc::new(Transport::new(roots, Arc::clone(&self.clock))?);
        Ok(Arc::clone(self.transport.insert(transport)))
    }

    /// Hosts that clients name, if a site answers for such.
    fn on_demand(
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::base::ManualClock;
    use crate::certs::status::{CertificateStatus, IssuerKind, unix_seconds};
    use crate::certs::storage::Item;
    use crate::certs::testing::{config, now};

    async fn start(config: &Config, at: SystemTime, tasks: &Tasks) -> Result<Arc<Certificates>, CertError> {
        let clock = Arc::new(ManualClock::at(at));
        Certificates::start(config, clock, tasks, Arc::default()).await
    }

    async fn status(config: &Config, at: SystemTime) -> Vec<CertificateStatus> {
        start(config, at, &Tasks::new()).await.unwrap().status()
    }

    fn internal(state: &Path, site: &str) -> Config {
        config(state, &[(site, SiteTls::Internal)])
    }

    #[tokio::test]
    async fn every_site_with_tls_has_a_certificate_from_the_start() {
        let state = tempfile::tempdir().unwrap();
        let sites = [
            ("a.test", SiteTls::Off),
            ("[::1]", SiteTls::Internal),
            ("b.test", SiteTls::Acme),
            ("*", SiteTls::Internal),
        ];
        let status = status(&config(state.path(), &sites), now()).await;
        let names: Vec<String> = status.iter().map(|status| status.names.join(" ")).collect();
        assert_eq!(names, ["::1", "b.test", "localhost 127.0.0.1 ::1"]);
        let kinds: Vec<IssuerKind> = status.iter().map(|status| status.issuer).collect();
        assert_eq!(kinds, [IssuerKind::Internal, IssuerKind::Acme, IssuerKind::Internal]);
        let waiting: Vec<bool> = status.iter().map(|status| status.not_after.is_none()).collect();
        assert_eq!(waiting, [false, true, false]);
    }

    #[tokio::test]
    async fn a_stored_certificate_is_used_again_unless_broken_or_over() {
        let state = tempfile::tempdir().unwrap();
        let (config, file) = (internal(state.path(), "a.test"), state.path().join("internal/a.test.pem"));
        let first = status(&config, now()).await;
        let stored = fs::read(&file).unwrap();
        assert_eq!(status(&config, now() + Duration::from_secs(60)).await[0].not_after, first[0].not_after);
        assert_eq!(fs::read(&file).unwrap(), stored);

        fs::write(&file, &stored[..stored.len() / 2]).unwrap();
        status(&config, now()).await;
        let replaced = fs::read(&file).unwrap();
        assert_ne!(replaced, stored);

        status(&config, now() + Duration::from_secs(91 * 24 * 3600)).await;
        assert_ne!(fs::read(&file).unwrap(), replaced);
    }

    #[tokio::test]
    async fn a_site_that_no_authority_can_certify_is_an_error() {
        let state = tempfile::tempdir().unwrap();
        let any_host = config(state.path(), &[("*", SiteTls::Acme)]);
        let error = start(&any_host, now(), &Tasks::new()).await.unwrap_err();
        assert!(matches!(error, CertError::NoName { .. }), "{error}");
    }

    #[tokio::test]
    async fn dropping_the_certificates_ends_what_is_on_demand() {
        // Nobody answers.
        let gatekeeper = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "[acme]\ndirectory = [\"https://127.0.0.1:9/directory\"]\n\
             on_demand = {{ ask = \"http://{}\" }}\n[site.\"*\"]\norigins = [\"127.0.0.1:9\"]",
            gatekeeper.local_addr().unwrap()
        );
        let state = tempfile::tempdir().unwrap();
        let config = crate::config::parse("test", &text, state.path()).unwrap().config;
        let config = Config { state_dir: state.path().to_owned(), ..config };
        let tasks = Tasks::new();
        let certs = start(&config, now(), &tasks).await.unwrap();
        let ready = tokio::time::timeout(Duration::from_millis(50), certs.ready("a.example.com"));
        assert!(ready.await.is_err());
        assert_eq!(tasks.running(), 3);
        drop(certs);
        tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await.unwrap();
    }

    #[tokio::test]
    async fn those_that_follow_know_what_could_not_be_written() {
        let state = tempfile::tempdir().unwrap();
        // A file where a directory has to be: not even root writes under it.
        fs::write(state.path().join("acme"), b"").unwrap();
        let config = config(state.path(), &[("a.test", SiteTls::Acme)]);
        let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
        let before = start(&config, now(), &tasks).await.unwrap();
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        let item = Item::acme_certificate(&config.acme.directories[0], "a.test");
        before.shared.remembering.store(&item, pem.into()).await.unwrap();
        let after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
        assert!(after.status()[0].not_after.is_some());
    }

    #[tokio::test]
    async fn half_written_files_of_those_before_are_left_to_them() {
        let state = tempfile::tempdir().unwrap();
        let config = internal(state.path(), "a.test");
        let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
        let before = start(&config, now(), &tasks).await.unwrap();
        let half_written = state.path().join("internal/a.test.pem.0123.tmp");
        fs::write(&half_written, b"half").unwrap();
        let _after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
        assert!(half_written.exists());
    }

    #[tokio::test]
    async fn a_certificate_that_lacks_a_new_name_is_served_until_there_is_another() {
        let state = tempfile::tempdir().unwrap();
        let before = config(state.path(), &[("a.test", SiteTls::Acme)]);
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        let item = Item::acme_certificate(&before.acme.directories[0], "a.test");
        FileStorage::open(state.path(), now()).unwrap().store(&item, pem.into()).await.unwrap();
        let site = Site { aliases: vec!["www.a.test".into()], ..Site::clone(&before.sites[0]) };
        let config = Config { sites: vec![Arc::new(site)], ..before };
        let status = status(&config, now()).await.remove(0);
        assert!(status.not_after.is_some());
        assert_eq!(status.why_then, Some("the one in use lacks a name"));
        assert_eq!(status.next_renewal, Some(unix_seconds(now())));

        let other = Site { name: "b.test".into(), ..Site::clone(&config.sites[0]) };
        let other = Site { aliases: vec!["a.b.test".into()], ..other };
        let item = Item::acme_certificate(&config.acme.directories[0], "b.test");
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        FileStorage::open(state.path(), now()).unwrap().store(&item, pem.into()).await.unwrap();
        let config = Config { sites: vec![Arc::new(other)], ..config };
        assert_eq!(self::status(&config, now()).await[0].not_after, None, "made for none of the names");
    }

    fn pem(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem() + &made.signing_key.serialize_pem()).into()
    }

    /// Whatever storage has for the sites as they are then.
    #[tokio::test]
    async fn what_was_served_before_a_reload_is_served_until_there_is_another() {
        const OTHER_DIRECTORY: &str = "https://127.0.0.1:9/other";
        for case in ["swapped", "split", "other directory", "from files", "lost", "broken", "lacks a name"] {
            let state = tempfile::tempdir().unwrap();
            let pattern = config(state.path(), &[("a.test", SiteTls::Acme)]);
            let with_tls = |tls: &SiteTls, name: &str, aliases: &[&str]| {
                let aliases = aliases.iter().map(|alias| (*alias).into()).collect();
                let site = Site::clone(&pattern.sites[0]);
                Arc::new(Site { name: name.into(), aliases, tls: tls.clone(), ..site })
            };
            let site = |name: &str, aliases: &[&str]| with_tls(&SiteTls::Acme, name, aliases);
            let storage = FileStorage::open(state.path(), now()).unwrap();
            let item = Item::acme_certificate(&pattern.acme.directories[0], "a.test");
            let both = pem(&["a.test", "www.a.test"]);
            let mut config = Config { sites: vec![site("a.test", &["www.a.test"])], ..pattern.clone() };
            if case == "from files" {
                let file = state.path().join("own.pem");
                fs::write(&file, both).unwrap();
                let files = SiteTls::Files(vec![PemPair { cert: file.clone(), key: file }]);
                config.sites = vec![with_tls(&files, "a.test", &["www.a.test"])];
            } else {
                storage.store(&item, both).await.unwrap();
            }
            let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
            let before = start(&config, now(), &tasks).await.unwrap();

            config.sites = vec![site("a.test", &["www.a.test"])];
            match case {
                "swapped" => config.sites = vec![site("www.a.test", &["a.test"])],
                "split" => config.sites = vec![site("a.test", &[]), site("www.a.test", &[])],
                "other directory" => config.acme.directories = vec![OTHER_DIRECTORY.into()],
                "lost" => storage.remove(&item).await.unwrap(),
                "broken" => storage.store(&item, b"none".to_vec()).await.unwrap(),
                "lacks a name" => storage.store(&item, pem(&["a.test"])).await.unwrap(),
                _ => {}
            }
            let after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
            let told = after.status().pop().unwrap();
            // A restart would lose it.
            assert_eq!(told.why_then, Some("the one in use is not in storage for the site"), "{case}");
            assert_eq!(told.next_renewal, Some(unix_seconds(now())), "{case}");
            for name in ["a.test", "www.a.test"] {
                let [first, second] = [&before, &after].map(|certificates| {
                    certificates.resolver.certificate(Some(name), None).unwrap().cert[0].clone()
                });
                assert_eq!(first, second, "{case}: {name}");
            }
        }
    }

    #[tokio::test]
    async fn dropping_the_certificates_ends_their_upkeep() {
        let state = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let certs = start(&internal(state.path(), "a.test"), now(), &tasks).await.unwrap();
        assert_eq!(tasks.running(), 2);
        drop(certs);
        tasks.wait().await;
    }
}
