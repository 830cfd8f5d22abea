//! The account at an ACME server (RFC 8555 s7.3): made once, stored, used for
//! every order.

use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};

use super::server::Server;
use super::transport::RetryAfter;
use crate::certs::error::CertError;
use crate::certs::storage::Item;

const LETS_ENCRYPT: &str = ".letsencrypt.org/";

impl Server {
    /// The stored account, or a new one.
    pub(super) async fn account(&self, retry_after: &RetryAfter) -> Result<Account, CertError> {
        if let Some(account) = self.known_account(retry_after).await? {
            return Ok(account);
        }
        let _one_account_for_all_orders = self.known.account_gate.lock().await;
        if let Some(account) = self.known_account(retry_after).await? {
            return Ok(account);
        }
        let contact = self.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact = contact.as_deref();
        let new = NewAccount {
            contact: contact.as_slice(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.external_account();
        let (account, credentials) =
            self.builder(retry_after).create(&new, self.directory.clone(), external.as_ref()).await?;
        let credentials = serde_json::to_vec_pretty(&credentials)?;
        self.storage.store(&Item::account(&self.directory), credentials).await?;
        tracing::info!(directory = self.directory, "made an ACME account");
        Ok(account)
    }

    /// The stored account, if there is one.
    pub(super) async fn known_account(&self, retry_after: &RetryAfter) -> Result<Option<Account>, CertError> {
        match self.stored_account().await? {
            Some(credentials) => Ok(Some(self.builder(retry_after).from_credentials(credentials).await?)),
            None => Ok(None),
        }
    }

    fn builder(&self, retry_after: &RetryAfter) -> AccountBuilder {
        Account::builder_with_http(self.transport.client(retry_after, &self.identities))
    }

    /// Has the next order make a new account, where the server does not know
    /// the stored one.
    pub(super) async fn forget_unknown_account(&self, error: &CertError) -> Result<(), CertError> {
        if error.acme_problem() != Some("accountDoesNotExist") {
            return Ok(());
        }
        self.storage.remove(&Item::account(&self.directory)).await
    }

    /// The account that one here is bound to (RFC 8555 s7.3.4). Let's Encrypt
    /// has none, so that it can stand by for an authority that has.
    fn external_account(&self) -> Option<ExternalAccountKey> {
        let account = self.config.external_account.as_ref();
        let account = account.filter(|_| !self.directory.contains(LETS_ENCRYPT))?;
        Some(ExternalAccountKey::new(account.kid.clone(), account.hmac.bytes()))
    }

    async fn stored_account(&self) -> Result<Option<AccountCredentials>, CertError> {
        let Some(stored) = self.storage.load(&Item::account(&self.directory)).await? else {
            return Ok(None);
        };
        let credentials = serde_json::from_slice(&stored);
        Ok(credentials
            .inspect_err(
                |error| tracing::warn!(%error, "the stored ACME account is broken: making a new one"),
            )
            .ok())
    }
}
