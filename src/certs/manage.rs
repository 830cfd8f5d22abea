//! Keeps the certificate of each site valid: has one made when it is due, and
//! goes on serving the old one as long as that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::acme::{Acme, Failure};
use super::authority::LocalAuthority;
use super::certificate::{Certificate, Validity};
use super::error::CertError;
use super::renewal;
use super::status::{CertificateStatus, IssuerKind, unix_seconds};
use super::storage::{CertStorage, Item};
use super::table::{Resolver, Slot};
use crate::base::{Backoff, Clock, random_unit};
use crate::telemetry::Metrics;

/// The clock of the day may jump, so no sleep trusts it for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Who makes certificates.
#[derive(Clone, Debug)]
pub(super) enum Issuer {
    /// The local CA.
    Internal(Arc<LocalAuthority>),
    /// An ACME server.
    Acme(Arc<Acme>),
}

/// What a site's certificate has to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The site's name in the config.
    pub(super) site: Arc<str>,
    /// What it is made for.
    pub(super) names: Vec<String>,
}

/// A site's certificate and how it comes to be.
#[derive(Debug)]
pub(super) struct SiteCertificate {
    wanted: Wanted,
    issuer: Option<Issuer>,
    slot: Slot,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    /// `None` while a placeholder is served.
    validity: Option<Validity>,
    next_renewal: Option<SystemTime>,
    failures: u32,
    last_error: Option<CertError>,
}

/// What every loop needs.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) backoff: Backoff,
}

impl Issuer {
    /// The stored certificate that lasts longest of those that may be used. A
    /// broken one counts as none.
    pub(super) async fn stored(
        &self,
        wanted: &Wanted,
        storage: &dyn CertStorage,
        now: SystemTime,
    ) -> Option<Certificate> {
        let mut longest = None::<Certificate>;
        for item in self.items(&wanted.site) {
            let Some(found) = self.stored_as(&item, wanted, storage, now).await else { continue };
            if longest.as_ref().is_none_or(|other| found.validity.not_after > other.validity.not_after) {
                longest = Some(found);
            }
        }
        longest
    }

    async fn stored_as(
        &self,
        item: &Item,
        wanted: &Wanted,
        storage: &dyn CertStorage,
        now: SystemTime,
    ) -> Option<Certificate> {
        let checked = match storage.load(item).await {
            Ok(bundle) => self.check(&bundle?, wanted, now),
            Err(error) => Err(error),
        };
        checked
            .inspect_err(|error| {
                let (site, reason) = (&*wanted.site, error.story());
                tracing::warn!(site, reason, "a stored certificate is not used: a new one is made");
            })
            .ok()
    }

    fn check(&self, bundle: &[u8], wanted: &Wanted, now: SystemTime) -> Result<Certificate, CertError> {
        let certificate = Certificate::from_pem(bundle, bundle)?;
        certificate.check(&wanted.names, now)?;
        if let Self::Internal(authority) = self {
            authority.check(&certificate, now)?;
        }
        Ok(certificate)
    }

    async fn issue(&self, wanted: &Wanted, now: SystemTime) -> Result<Certificate, Failure> {
        match self {
            Self::Internal(authority) => {
                let issued = authority.issue(&wanted.site, &wanted.names, now).await;
                issued.map_err(|error| Failure { error, retry_after: None })
            }
            Self::Acme(acme) => acme.issue(&wanted.site, &wanted.names).await,
        }
    }

    fn items(&self, site: &str) -> Vec<Item> {
        match self {
            Self::Internal(_) => vec![Item::internal_certificate(site)],
            Self::Acme(acme) => acme.items(site),
        }
    }
}

impl SiteCertificate {
    /// A certificate that is in place, or a placeholder where `validity` is
    /// `None`. Without an `issuer` it is never renewed.
    pub(super) fn new(
        wanted: Wanted,
        issuer: Option<Issuer>,
        slot: Slot,
        validity: Option<Validity>,
        now: SystemTime,
    ) -> Self {
        let due = validity.map_or(now, |validity| renewal::due(&validity, random_unit()));
        let next_renewal = issuer.is_some().then_some(due);
        let standing = Standing { validity, next_renewal, failures: 0, last_error: None };
        Self { wanted, issuer, slot, standing: Mutex::new(standing) }
    }

    /// The certificate as it stands.
    pub(super) fn status(&self) -> CertificateStatus {
        let standing = self.standing();
        CertificateStatus {
            site: self.wanted.site.to_string(),
            names: self.wanted.names.clone(),
            issuer: match &self.issuer {
                None => IssuerKind::Files,
                Some(Issuer::Internal(_)) => IssuerKind::Internal,
                Some(Issuer::Acme(_)) => IssuerKind::Acme,
            },
            not_after: standing.validity.map(|validity| unix_seconds(validity.not_after)),
            next_renewal: standing.next_renewal.map(unix_seconds),
            last_error: standing.last_error.as_ref().map(CertError::story),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upkeep {
    /// Renews `certificate` whenever it is due; ends only if nobody makes it.
    /// Cancel safe.
    pub(super) async fn keep(&self, certificate: &SiteCertificate) {
        let Some(issuer) = &certificate.issuer else { return };
        loop {
            let due = certificate.standing().next_renewal;
            self.wait_until(due).await;
            match issuer.issue(&certificate.wanted, self.clock.wall()).await {
                Ok(issued) => self.install(certificate, &issued),
                Err(failure) => self.put_off(certificate, failure),
            }
        }
    }

    async fn wait_until(&self, due: Option<SystemTime>) {
        let left = || due?.duration_since(self.clock.wall()).ok().filter(|left| !left.is_zero());
        while let Some(left) = left() {
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    fn install(&self, certificate: &SiteCertificate, issued: &Certificate) {
        self.resolver.install(certificate.slot, &issued.certified);
        // However short its lifetime, an issuer is never asked without a pause.
        let earliest = self.clock.wall() + self.backoff.first;
        let due = renewal::due(&issued.validity, random_unit()).max(earliest);
        *certificate.standing() = Standing {
            validity: Some(issued.validity),
            next_renewal: Some(due),
            failures: 0,
            last_error: None,
        };
        self.metrics.certificates_issued.increment();
        tracing::info!(site = &*certificate.wanted.site, "a new certificate is in use");
    }

    fn put_off(&self, certificate: &SiteCertificate, failure: Failure) {
        let Failure { error, retry_after } = failure;
        let mut standing = certificate.standing();
        standing.failures = standing.failures.saturating_add(1);
        let wait = renewal::wait(&self.backoff, standing.failures, retry_after, random_unit());
        standing.next_renewal = Some(self.clock.wall() + wait);
        self.metrics.certificate_failures.increment();
        let (site, failures, reason) = (&*certificate.wanted.site, standing.failures, error.story());
        let next_try_seconds = wait.as_secs();
        let until_then = match standing.validity {
            Some(_) => "the old certificate",
            None => "a self-signed certificate",
        };
        tracing::warn!(
            site,
            reason,
            failures,
            next_try_seconds,
            "no new certificate; {until_then} is served"
        );
        standing.last_error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Tasks};
    use crate::certs::Certificates;
    use crate::certs::table::ServerNames;
    use crate::certs::testing::{config, now};
    use crate::config::model::SiteTls;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    async fn start(state: &std::path::Path, at: SystemTime) -> (Arc<Certificates>, Arc<Metrics>) {
        let (clock, metrics) = (Arc::new(ManualClock::at(at)), Arc::<Metrics>::default());
        let config = config(state, &[("a.test", SiteTls::Internal)]);
        let tasks = Tasks::new();
        let certs = Certificates::start(&config, clock, &tasks, Arc::clone(&metrics)).await;
        (certs.unwrap(), metrics)
    }

    #[tokio::test]
    async fn a_certificate_that_is_due_is_renewed_while_it_is_served() {
        let state = tempfile::tempdir().unwrap();
        let (certs, _) = start(state.path(), now()).await;
        let first = certs.status().remove(0);

        let (certs, metrics) = start(state.path(), now() + 61 * DAY).await;
        assert_eq!(certs.status()[0].not_after, first.not_after);
        let renewed = async {
            while metrics.certificates_issued.value() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap();
        let second = certs.status().remove(0);
        assert_eq!(second.not_after.unwrap() - first.not_after.unwrap(), (61 * DAY).as_secs());
        assert!(second.next_renewal.unwrap() > unix_seconds(now() + (61 + 50) * DAY));
    }

    #[test]
    fn a_failure_keeps_the_certificate_and_puts_the_next_try_off() {
        let clock = Arc::new(ManualClock::at(now()));
        let (resolver, metrics) = (Arc::<Resolver>::default(), Arc::<Metrics>::default());
        let backoff = Backoff { first: 2 * DAY, most: 4 * DAY };
        let upkeep = Upkeep { clock, resolver, metrics: Arc::clone(&metrics), backoff };
        let wanted = Wanted { site: "a.test".into(), names: vec!["a.test".to_owned()] };
        let validity = Validity { not_before: now() - 60 * DAY, not_after: now() + 30 * DAY };
        let slot = ServerNames::default().add(["a.test".to_owned()].into_iter());
        let certificate = SiteCertificate::new(wanted, None, slot, Some(validity), now());

        let mut earliest = Vec::new();
        for retry_after in [None, Some(5 * DAY)] {
            upkeep.put_off(&certificate, Failure { error: CertError::OrderDeadline, retry_after });
            earliest.push(certificate.status().next_renewal.unwrap() - unix_seconds(now()));
        }
        assert!(earliest[0] <= (2 * DAY).as_secs() && earliest[0] >= DAY.as_secs());
        assert_eq!(earliest[1], (5 * DAY).as_secs());
        let status = certificate.status();
        assert_eq!(status.not_after, Some(unix_seconds(validity.not_after)));
        assert_eq!(status.last_error.as_deref(), Some("the ACME order did not end in time"));
        assert_eq!(metrics.certificate_failures.value(), 2);
    }
}
