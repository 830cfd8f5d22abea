//! One ACME server (RFC 8555): an account there, the orders, and how long it
//! wants to be left alone.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{CertificateIdentifier, SuggestedWindow};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

use super::Failure;
use super::challenge::Challenges;
use super::dns::Records;
use super::experience::Known;
use super::transport::{Identities, RetryAfter, Transport};
use super::warnings::Warnings;
use crate::base::Clock;
use crate::certs::certificate::Certificate;
use crate::certs::error::CertError;
use crate::certs::renewal::{self, Window};
use crate::certs::standing::Issued;
use crate::certs::storage::{CertStorage, Item, Lock};
use crate::config::model::Acme as Config;

/// Orders in a row that may end by a rejected nonce.
const NONCE_TRIES: u32 = 5;

/// Questions about renewal that run at a time, and how long one may take, with
/// its wait for a turn. A renewal that is due waits for it.
pub(super) const QUESTIONS_AT_A_TIME: usize = 8;
const QUESTION_DEADLINE: Duration = Duration::from_secs(90);

/// No order takes longer.
const ORDER_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// An ACME server and what it takes to order from it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) directory: String,
    pub(super) email: Option<String>,
    pub(super) config: Arc<Config>,
    pub(super) transport: Arc<Transport>,
    pub(super) storage: Arc<dyn CertStorage>,
    pub(super) challenges: Arc<Challenges>,
    /// Sets the records that dns-01 looks for.
    pub(super) records: Option<Arc<Records>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) known: Arc<Known>,
    /// What it is called in CAA records.
    pub(super) identities: Identities,
    pub(super) warnings: Arc<Warnings>,
    /// Questions about renewal that run at a time.
    pub(super) questions: Semaphore,
    /// Which one of those in the config; all but the first stand in.
    pub(super) number: usize,
}

/// What is ordered.
#[derive(Clone, Copy)]
pub(super) struct Ordered<'a> {
    pub(super) site: &'a str,
    pub(super) names: &'a [String],
    /// The certificate in whose place it comes.
    pub(super) in_use: Option<&'a Issued>,
}

impl Server {
    /// Where a site's certificate is stored.
    pub(super) fn item(&self, site: &str) -> Item {
        Item::acme_certificate(&self.directory, site)
    }

    /// Orders a certificate and stores it with its key. One that cannot be stored
    /// is still served. Ends within ten minutes, and ten more where another process
    /// is at the same order. Cancel safe: the next call goes on where it can.
    pub(super) async fn issue(&self, wanted: Ordered<'_>) -> Result<Certificate, Failure> {
        let site = wanted.site;
        let retry_after = RetryAfter::default();
        let _alone = self.lock(site).await;
        if let Some(certificate) = self.made_by_another(wanted).await {
            return Ok(certificate);
        }
        if let Some(wait) = self.known.rests.wait(site, self.clock.now()) {
            return Err(Failure { error: CertError::Resting { wait }, retry_after: Some(wait) });
        }
        let obtained =
            tokio::time::timeout(ORDER_DEADLINE, self.obtain_with_good_nonces(wanted, &retry_after)).await;
        let outcome = obtained.unwrap_or(Err(CertError::OrderDeadline));
        if let Err(error) = &outcome
            && error.is_out_of_time()
            && let Err(error) = self.give_up_if_old(site).await
        {
            tracing::warn!(site, reason = error.story(), "an order that hangs may be taken up again");
        }
        outcome.map_err(|error| {
            let asked = retry_after.asked();
            if let Some(pause) = asked.filter(|_| error.is_of_server()) {
                // A limit is one of the names more often than not.
                let only = (error.acme_problem() == Some("rateLimited")).then_some(site);
                self.known.rests.note(only, pause, self.clock.now());
            }
            let own = match &error {
                CertError::TooManyFailed { wait, .. } => Some(*wait),
                _ => None,
            };
            Failure { error, retry_after: own.or(asked) }
        })
    }

    /// Other processes on the same state directory wait until the order is done.
    async fn lock(&self, site: &str) -> Option<Lock> {
        let item = self.item(site);
        match tokio::time::timeout(ORDER_DEADLINE, self.storage.lock(&item)).await {
            Ok(Ok(lock)) => Some(lock),
            Ok(Err(error)) => {
                tracing::warn!(
                    site,
                    reason = error.story(),
                    "other processes may order the same certificate"
                );
                None
            }
            Err(_) => {
                tracing::warn!(
                    site,
                    "another process has been at the same order for long; it is made all the same"
                );
                None
            }
        }
    }

    /// A certificate that another process has stored in the meantime.
    async fn made_by_another(&self, wanted: Ordered<'_>) -> Option<Certificate> {
        let stored = self.storage.load(&self.item(wanted.site)).await.ok()??;
        let certificate = Certificate::from_pem(&stored, &stored).ok()?;
        let now = self.clock.wall();
        let is_newer = wanted.in_use.is_none_or(|in_use| certificate.validity.not_before > in_use.not_before);
        let is_due = renewal::due(&certificate.validity, 0.0) <= now;
        (is_newer && !is_due && certificate.check(wanted.names, now).is_ok()).then_some(certificate)
    }

    /// When it wants a certificate that it issued to be renewed, and how soon it
    /// wants to be asked again; `None` if it has no suggestions.
    pub(super) async fn suggestion(
        &self,
        leaf: &CertificateDer<'static>,
    ) -> Result<Option<(Window, Duration)>, CertError> {
        let asked = async {
            // INVARIANT: the semaphore is never closed.
            let _turn = self.questions.acquire().await.ok();
            let Some(account) = self.known_account(&RetryAfter::default()).await? else { return Ok(None) };
            let Ok(id) = CertificateIdentifier::try_from(leaf) else { return Ok(None) };
            match account.renewal_info(&id).await {
                Ok((info, wait)) => {
                    let SuggestedWindow { start, end } = info.suggested_window;
                    Ok(Some((Window { start: start.into(), end: end.into() }, wait)))
                }
                Err(instant_acme::Error::Unsupported(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        tokio::time::timeout(QUESTION_DEADLINE, asked).await.unwrap_or(Err(CertError::NoAnswer))
    }

    /// A rejected nonce is no failure (RFC 8555 s6.5): instant-acme has sent the
    /// request thrice by then, so that the order begins anew at once.
    async fn obtain_with_good_nonces(
        &self,
        wanted: Ordered<'_>,
        retry_after: &RetryAfter,
    ) -> Result<Certificate, CertError> {
        for _ in 1..NONCE_TRIES {
            let outcome = self.obtain(wanted, retry_after).await;
            if !matches!(&outcome, Err(error) if error.acme_problem() == Some("badNonce")) {
                return outcome;
            }
        }
        self.obtain(wanted, retry_after).await
    }

    async fn obtain(&self, wanted: Ordered<'_>, retry_after: &RetryAfter) -> Result<Certificate, CertError> {
        let Ordered { site, names, .. } = wanted;
        let account = self.account(retry_after).await?;
        let mut ordered = self.order(&account, wanted, retry_after).await;
        if let Ok((bundle, true)) = &ordered
            && self.is_old(bundle, wanted)
        {
            self.conclude(site, None).await?;
            ordered = self.order(&account, wanted, retry_after).await;
        }
        let bundle = match ordered {
            Ok((bundle, _)) => bundle,
            Err(error) => {
                self.forget_unknown_account(&error).await?;
                return Err(error);
            }
        };
        let certificate = Certificate::from_pem(bundle.as_bytes(), bundle.as_bytes());
        let checked = certificate.and_then(|it| it.check(names, self.clock.wall()).map(|()| it));
        if let Err(error) = self.conclude(site, checked.is_ok().then_some(bundle)).await {
            tracing::error!(site, reason = error.story(), "a certificate could not be stored");
        }
        Ok(checked?)
    }

    /// True for what an order that was left brought long ago.
    fn is_old(&self, bundle: &str, wanted: Ordered<'_>) -> bool {
        let Ok(certificate) = Certificate::from_pem(bundle.as_bytes(), bundle.as_bytes()) else {
            return false;
        };
        let validity = certificate.validity;
        wanted.in_use.is_some_and(|in_use| validity.not_before <= in_use.not_before)
            || renewal::due(&validity, 0.0) <= self.clock.wall()
    }

    /// Stores the outcome of an order, and only then forgets the order.
    async fn conclude(&self, site: &str, bundle: Option<String>) -> Result<(), CertError> {
        if let Some(bundle) = bundle {
            self.storage.store(&self.item(site), bundle.into()).await?;
        }
        self.storage.remove(&Item::order(&self.directory, site)).await
    }
}
