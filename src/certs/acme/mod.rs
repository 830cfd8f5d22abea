//! Obtains certificates from an ACME server (RFC 8555). It is asked for one at
//! a time by the loop of each site; when to ask is decided in `renewal`.

mod account;
mod budget;
mod challenge;
mod order;
mod repeat;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use budget::FailedOrders;
pub(super) use challenge::Challenges;
use tokio::sync::{Mutex, Semaphore};
use transport::{RetryAfter, Transport};

use super::certificate::Certificate;
use super::error::CertError;
use super::storage::{CertStorage, Item};
use crate::base::Clock;
use crate::config::Config;
use crate::config::model::AcmeChallenge;

/// Orders that run at a time; others wait.
const ORDERS_AT_A_TIME: usize = 4;

/// Orders in a row that may end by a rejected nonce.
const NONCE_TRIES: u32 = 5;

/// No order takes longer.
const ORDER_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// An ACME server and what it takes to order from it.
#[derive(Debug)]
pub(super) struct Acme {
    directory: String,
    email: Option<String>,
    challenge_types: Vec<AcmeChallenge>,
    transport: Transport,
    storage: Arc<dyn CertStorage>,
    challenges: Arc<Challenges>,
    clock: Arc<dyn Clock>,
    account_gate: Mutex<()>,
    failed: FailedOrders,
    orders: Semaphore,
}

/// Why there is no certificate, and how long the server wants to be left alone.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) error: CertError,
    /// What the server's `Retry-After` says.
    pub(super) retry_after: Option<Duration>,
}

impl Acme {
    /// Prepares to order from the first directory of `config`; asks nothing yet.
    pub(super) fn new(
        config: &Config,
        storage: Arc<dyn CertStorage>,
        challenges: Arc<Challenges>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CertError> {
        Ok(Self {
            directory: config.acme.directories.first().ok_or(CertError::NoDirectory)?.clone(),
            email: config.email.clone(),
            challenge_types: config.acme.challenges.clone(),
            transport: Transport::new(config.acme.ca.as_deref(), Arc::clone(&clock))?,
            storage,
            challenges,
            clock,
            account_gate: Mutex::default(),
            failed: FailedOrders::default(),
            orders: Semaphore::new(ORDERS_AT_A_TIME),
        })
    }

    /// Where a site's certificate is stored.
    pub(super) fn item(&self, site: &str) -> Item {
        Item::acme_certificate(&self.directory, site)
    }

    /// Orders a certificate for `names` and stores it with its key. One that
    /// cannot be stored is still served. Ends within ten minutes of its turn.
    /// Cancel safe: the next call goes on where it can.
    pub(super) async fn issue(&self, site: &str, names: &[String]) -> Result<Certificate, Failure> {
        // INVARIANT: the semaphore is never closed.
        let _turn = self.orders.acquire().await.ok();
        let retry_after = RetryAfter::default();
        let obtained =
            tokio::time::timeout(ORDER_DEADLINE, self.obtain_with_good_nonces(site, names, &retry_after))
                .await;
        let outcome = obtained.unwrap_or(Err(CertError::OrderDeadline));
        outcome.map_err(|error| Failure {
            retry_after: match &error {
                CertError::TooManyFailed { wait, .. } => Some(*wait),
                _ => retry_after.asked(),
            },
            error,
        })
    }

    /// A rejected nonce is no failure (RFC 8555 s6.5): instant-acme has sent the
    /// request thrice by then, so that the order begins anew at once.
    async fn obtain_with_good_nonces(
        &self,
        site: &str,
        names: &[String],
        retry_after: &RetryAfter,
    ) -> Result<Certificate, CertError> {
        for _ in 1..NONCE_TRIES {
            let outcome = self.obtain(site, names, retry_after).await;
            if !matches!(&outcome, Err(error) if error.acme_problem() == Some("badNonce")) {
                return outcome;
            }
        }
        self.obtain(site, names, retry_after).await
    }

    async fn obtain(
        &self,
        site: &str,
        names: &[String],
        retry_after: &RetryAfter,
    ) -> Result<Certificate, CertError> {
        let account = self.account(retry_after).await?;
        let bundle = match self.order(&account, site, names, retry_after).await {
            Ok(bundle) => bundle,
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

    /// Stores the outcome of an order, and only then forgets the order.
    async fn conclude(&self, site: &str, bundle: Option<String>) -> Result<(), CertError> {
        if let Some(bundle) = bundle {
            self.storage.store(&self.item(site), bundle.into()).await?;
        }
        self.storage.remove(&Item::order(&self.directory, site)).await
    }
}
