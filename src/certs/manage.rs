//! Keeps the certificate of each site valid: has one made when it is due, and
//! goes on serving the old one as long as that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::acme::{Acme, Failure};
use super::caught::caught;
use super::error::CertError;
use super::files::{FilePair, Marks};
use super::issuer::{Held, Issuer, Wanted};
use super::notice::Notices;
use super::renewal;
use super::standing::{Now, Reason, Standing, Step};
use super::status::{CertificateStatus, IssuerKind, key_name, unix_seconds};
use super::table::{Place, Resolver};
use crate::base::{Backoff, Clock, random_unit};
use crate::telemetry::Metrics;

/// The clock of the day may jump, so no sleep trusts it for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A site's certificate and how it comes to be.
#[derive(Debug)]
pub(super) struct SiteCertificate {
    wanted: Wanted,
    issuer: Issuer,
    place: Place,
    standing: Mutex<Standing>,
    /// What is served; `None` stands for a placeholder.
    held: Mutex<Option<Held>>,
    /// Told when the standing was changed from outside.
    changed: Notify,
    /// The files it was loaded from, as they were before.
    loaded_from: Option<Marks>,
}

/// What every loop needs.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) backoff: Backoff,
    /// How often files of the user's are looked at.
    pub(super) look_every: Duration,
    /// Who is told of failures.
    pub(super) notices: Option<Notices>,
}

impl SiteCertificate {
    /// A certificate that is in place; `None` stands for a placeholder.
    pub(super) fn new(
        wanted: Wanted,
        issuer: Issuer,
        place: Place,
        held: Option<&Held>,
        loaded_from: Option<Marks>,
        now: Instant,
    ) -> Self {
        let mut standing = Standing::new(held.map(Held::current), issuer.renews(), now, random_unit());
        if held.is_some_and(|held| !held.certificate.is_for_all(&wanted.names)) {
            standing.lacks_name();
        }
        let (standing, held) = (Mutex::new(standing), Mutex::new(held.cloned()));
        Self { wanted, issuer, place, standing, held, changed: Notify::new(), loaded_from }
    }

    /// The certificate is not in storage for the site: another one is made at once.
    pub(super) fn is_not_stored(&self) {
        self.standing().is_not_stored();
    }

    /// The certificate that is served, if it is no placeholder.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on where `before` is, of the certificates before a reload that are ordered
    /// alike, if it is for the same names; says whether it is.
    pub(super) fn follow(&self, before: &Self) -> bool {
        let wanted = |it: &Self| (Arc::clone(&it.wanted.site), it.wanted.names.clone());
        let is_same = self.acme().is_some() && before.acme().is_some() && wanted(self) == wanted(before);
        if is_same {
            let before = before.standing().clone();
            self.standing().follow(&before);
        }
        is_same
    }

    /// The certificate as it stands.
    pub(super) fn status(&self, now: Now) -> CertificateStatus {
        let standing = self.standing();
        let next = standing.next_renewal(now);
        let server =
            standing.current().and_then(|current| current.source.as_ref()).map(|source| source.server);
        CertificateStatus {
            site: self.wanted.site.to_string(),
            names: self.wanted.names.clone(),
            issuer: match &self.issuer {
                Issuer::Files(_) => IssuerKind::Files,
                Issuer::Internal(_) => IssuerKind::Internal,
                Issuer::Acme(_) => IssuerKind::Acme,
            },
            authority: self.acme().and_then(|acme| acme.directory(server.unwrap_or(0))).map(str::to_owned),
            key: standing.current().map(|current| key_name(current.key)),
            not_after: standing.current().map(|current| unix_seconds(current.validity.not_after)),
            next_renewal: next.map(|(at, _)| unix_seconds(at)),
            why_then: match (standing.last_error(), next) {
                (Some(_), Some(_)) => Some("it is tried again after a failure"),
                (None, Some((_, reason))) => Some(reason.as_str()),
                (_, None) => None,
            },
            last_error: standing.last_error().map(CertError::story),
            what_to_do: standing.last_error().and_then(CertError::advice),
            warnings: self.acme().map(|acme| acme.warnings(&self.wanted.site)).unwrap_or_default(),
        }
    }

    /// Has a new certificate made as soon as may be; says whether there is
    /// somebody who makes it.
    pub(super) fn renew_now(&self) -> bool {
        let is_renewed = self.standing().renew_now();
        self.changed.notify_one();
        is_renewed
    }

    /// True for the name of the site, or one that the certificate is made for.
    pub(super) fn is_named(&self, name: &str) -> bool {
        *self.wanted.site == *name || self.wanted.names.iter().any(|own| own == name)
    }

    /// The site's name in the config, or the host that clients named.
    pub(super) fn site(&self) -> &str {
        &self.wanted.site
    }

    /// True if somebody asked for a new certificate, who waits for it still.
    pub(super) fn is_renewal_asked_for(&self) -> bool {
        self.standing().is_renewal_asked_for()
    }

    fn acme(&self) -> Option<&Acme> {
        match &self.issuer {
            Issuer::Acme(acme) => Some(acme),
            Issuer::Internal(_) | Issuer::Files(_) => None,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::First => "it is the first one",
            Self::Lifetime => "most of the lifetime is over then",
            Self::Suggested => "the authority suggests it",
            Self::NotYet => "the one in use is not valid yet",
            Self::Names => "the one in use lacks a name",
            Self::Unstored => "the one in use is not in storage for the site",
            Self::Asked => "it was asked for",
        }
    }
}

impl Upkeep {
    /// Renews `certificate` whenever it is due, for ever. Cancel safe.
    pub(super) async fn keep(&self, certificate: &SiteCertificate) {
        if let Issuer::Files(pair) = &certificate.issuer {
            return self.watch(certificate, pair).await;
        }
        loop {
            match (self.next_step(certificate).await, certificate.acme()) {
                (Step::Ask, Some(acme)) => self.ask(certificate, acme).await,
                _ => self.renew(certificate).await,
            }
        }
    }

    /// Takes what is put into the files in the place of what was there. Files
    /// that do not suit each other may be on their way: they are complained of
    /// once they have stayed so.
    async fn watch(&self, certificate: &SiteCertificate, pair: &FilePair) {
        let mut taken = certificate.loaded_from;
        let mut refused = None;
        loop {
            tokio::time::sleep(self.look_every).await;
            let marks = pair.marks().await;
            if taken == Some(marks) {
                // Those that were refused are gone, and what is served is there again.
                if refused.take().is_some() {
                    certificate.standing().recovered();
                }
                continue;
            }
            let loading = certificate.issuer.issue(&certificate.wanted, None, self.clock.wall());
            match caught(loading).await {
                Ok(loaded) => {
                    self.install(certificate, &loaded);
                    (taken, refused) = (Some(marks), None);
                }
                Err(failure) if refused == Some((marks, false)) => {
                    self.complain(certificate, failure.error);
                    refused = Some((marks, true));
                }
                Err(_) if refused.is_some_and(|(before, _)| before == marks) => {}
                Err(_) => refused = Some((marks, false)),
            }
        }
    }

    fn complain(&self, certificate: &SiteCertificate, error: CertError) {
        self.metrics.certificate_failures.increment();
        let (site, reason) = (&*certificate.wanted.site, error.story());
        tracing::error!(site, reason, "new certificate files cannot be used; the old certificate is served");
        certificate.standing().failed(error, self.clock.now(), Duration::ZERO);
        self.notify(certificate);
    }

    fn notify(&self, certificate: &SiteCertificate) {
        if let Some(notices) = &self.notices {
            notices.failed(&certificate.status(Now::of(&*self.clock)));
        }
    }

    /// Waits until there is something to do, and says what. Cancel safe.
    pub(super) async fn next_step(&self, certificate: &SiteCertificate) -> Step {
        loop {
            let next = certificate.standing().next(Now::of(&*self.clock));
            let left = match next {
                None => LONGEST_SLEEP,
                Some((left, step)) if left.is_zero() => return step,
                Some((left, _)) => left.min(LONGEST_SLEEP),
            };
            let _either = tokio::time::timeout(left, certificate.changed.notified()).await;
        }
    }

    /// Asks the ACME server when it wants `certificate` to be renewed.
    pub(super) async fn ask(&self, certificate: &SiteCertificate, acme: &Acme) {
        let source = certificate.standing().current().and_then(|current| current.source.clone());
        let Some(source) = source else { return };
        let suggestion = caught(acme.suggestion(&source)).await;
        let (now, mut standing) = (self.clock.now(), certificate.standing());
        match suggestion {
            Ok(Some((window, wait))) => {
                standing.suggested(window, now, renewal::until_question(wait), random_unit());
            }
            Ok(None) => standing.not_suggested(now, None),
            Err(error) => {
                let (site, reason) = (&*certificate.wanted.site, error.story());
                tracing::debug!(site, reason, "no suggestion when to renew");
                standing.not_suggested(now, Some(renewal::AFTER_NO_SUGGESTION));
            }
        }
    }

    /// Has a new certificate made, and serves it.
    pub(super) async fn renew(&self, certificate: &SiteCertificate) {
        if let Ok(issued) = self.issue(certificate).await {
            self.install(certificate, &issued);
        }
    }

    /// Has a new certificate made.
    ///
    /// # Errors
    /// When it is to be tried again, if that failed, which is noted and told.
    pub(super) async fn issue(&self, certificate: &SiteCertificate) -> Result<Held, Duration> {
        let in_use = certificate.standing().current().and_then(|current| current.source.clone());
        let issuing = certificate.issuer.issue(&certificate.wanted, in_use.as_ref(), self.clock.wall());
        match caught(issuing).await {
            Ok(issued) => {
                self.metrics.certificates_issued.increment();
                Ok(issued)
            }
            Err(failure) => Err(self.put_off(certificate, failure)),
        }
    }

    /// Serves what is `held` from the next handshake on.
    pub(super) fn serve(&self, certificate: &SiteCertificate, held: &Held) {
        self.resolver.install(&certificate.place, &held.certificate.certified);
    }

    /// Serves what was `issued` just now from the next handshake on.
    pub(super) fn install(&self, certificate: &SiteCertificate, issued: &Held) {
        self.serve(certificate, issued);
        *certificate.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(issued.clone());
        let (site, now) = (&*certificate.wanted.site, Now::of(&*self.clock));
        // However short its lifetime, an issuer is never asked without a pause.
        let pause = certificate.standing().renewed(issued.current(), now, &self.backoff, random_unit());
        tracing::info!(site, "a new certificate is in use");
        if pause > self.backoff.first {
            let pause_seconds = pause.as_secs();
            tracing::warn!(
                site,
                pause_seconds,
                "each new certificate is due to be renewed at once, as where the clock is wrong or the authority \
                 says so: the next one waits"
            );
        }
    }

    /// Notes and tells that no certificate was made; says how long it is before the
    /// next try.
    pub(super) fn put_off(&self, certificate: &SiteCertificate, failure: Failure) -> Duration {
        let Failure { error, retry_after } = failure;
        let mut standing = certificate.standing();
        let failures = standing.count_failure();
        let left = standing.left(self.clock.wall());
        let wait = renewal::wait(&self.backoff, failures, (left, retry_after), random_unit());
        self.metrics.certificate_failures.increment();
        let (site, reason) = (&*certificate.wanted.site, error.story());
        let next_try_seconds = wait.as_secs();
        let until_then = match (standing.current(), &certificate.place) {
            (Some(_), _) => "the old certificate",
            (None, Place::Slot(_)) => "a self-signed certificate",
            (None, Place::Host(_)) => "nothing",
        };
        tracing::warn!(
            site,
            reason,
            failures,
            next_try_seconds,
            "no new certificate; {until_then} is served"
        );
        standing.failed(error, self.clock.now(), wait);
        drop(standing);
        self.notify(certificate);
        wait
    }
}

#[cfg(test)]
mod tests;
