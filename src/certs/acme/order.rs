//! One order, from the names to the chain (RFC 8555 s7.4). What must outlive a
//! crash, the key and the order's URL, is stored before the order is finalized.

use std::time::Duration;

use instant_acme::{Account, AuthorizationStatus, Identifier, NewOrder, Order, OrderStatus, RetryPolicy};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};

use super::Acme;
use super::challenge::{Answer, challenge_type, suits};
use crate::certs::error::CertError;
use crate::certs::storage::Item;
use crate::config::model::AcmeChallenge;

const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// What is stored of an order that is about to be finalized.
#[derive(Serialize, Deserialize)]
struct OpenOrder {
    url: String,
    names: Vec<String>,
    key: String,
}

impl Acme {
    /// Obtains a key and chain for `names`, as one PEM text: goes on with an
    /// order that was left, if the server still knows it, else orders anew, with
    /// one challenge after another.
    pub(super) async fn order(
        &self,
        account: &Account,
        site: &str,
        names: &[String],
    ) -> Result<String, CertError> {
        match self.resume(account, site, names).await {
            Ok(Some(bundle)) => return Ok(bundle),
            Err(error) if error.acme_problem().is_none() => return Err(error),
            Ok(None) | Err(_) => {}
        }
        let mut failure = None;
        for challenge in self.challenge_types.iter().copied() {
            match self.prove(account, names, challenge).await {
                Ok(order) => return self.finalize(order, site, names).await,
                Err(error @ (CertError::Unproven { .. } | CertError::NoChallenge { .. })) => {
                    tracing::info!(site, reason = error.story(), "an ACME challenge failed");
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| CertError::NoChallenge { name: site.to_owned() }))
    }

    /// A new order with all of its names proven.
    async fn prove(
        &self,
        account: &Account,
        names: &[String],
        challenge: AcmeChallenge,
    ) -> Result<Order, CertError> {
        let identifiers: Vec<Identifier> = names.iter().map(|name| identifier(name)).collect();
        let new = NewOrder::new(&identifiers);
        let mut order = account.new_order(&new).await?;
        if order.state().status != OrderStatus::Pending {
            return Ok(order);
        }
        let _until_decided = self.answer(&mut order, challenge).await?;
        let decided = order.poll_ready(&POLLING).await;
        if order.state().status == OrderStatus::Invalid {
            return Err(why_invalid(&mut order, challenge).await);
        }
        decided?;
        Ok(order)
    }

    /// Answers the challenges of all names that are not proven yet.
    async fn answer(&self, order: &mut Order, challenge: AcmeChallenge) -> Result<Vec<Answer>, CertError> {
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut offer) =
                authorization.challenge(challenge_type(challenge)).filter(|_| suits(challenge, &name))
            else {
                return Err(CertError::NoChallenge { name });
            };
            let proof = offer.key_authorization();
            answers.push(self.challenges.answer(
                challenge,
                &name,
                &offer.token,
                &proof,
                self.clock.wall(),
            )?);
            offer.set_ready().await?;
        }
        Ok(answers)
    }

    async fn finalize(&self, mut order: Order, site: &str, names: &[String]) -> Result<String, CertError> {
        let open = OpenOrder {
            url: order.url().to_owned(),
            names: names.to_owned(),
            key: KeyPair::generate()?.serialize_pem(),
        };
        let item = Item::order(&self.directory, site);
        self.storage.store(&item, serde_json::to_vec_pretty(&open)?).await?;
        request_certificate(&mut order, &open.key, names).await?;
        collect(&mut order, &open.key).await
    }

    /// Goes on with an order whose proofs were through when the process ended.
    async fn resume(
        &self,
        account: &Account,
        site: &str,
        names: &[String],
    ) -> Result<Option<String>, CertError> {
        let stored = self.storage.load(&Item::order(&self.directory, site)).await?;
        let open = stored.and_then(|stored| serde_json::from_slice::<OpenOrder>(&stored).ok());
        let Some(open) = open.filter(|open| open.names == names) else { return Ok(None) };
        let mut order = account.order(open.url).await?;
        match order.state().status {
            OrderStatus::Ready => request_certificate(&mut order, &open.key, names).await?,
            OrderStatus::Processing | OrderStatus::Valid => {}
            OrderStatus::Pending | OrderStatus::Invalid => return Ok(None),
        }
        collect(&mut order, &open.key).await.map(Some)
    }
}

async fn request_certificate(order: &mut Order, key: &str, names: &[String]) -> Result<(), CertError> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&KeyPair::from_pem(key)?)?;
    Ok(order.finalize_csr(request.der()).await?)
}

async fn collect(order: &mut Order, key: &str) -> Result<String, CertError> {
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(format!("{key}{chain}"))
}

/// What the server says of the first name that it found unproven.
async fn why_invalid(order: &mut Order, challenge: AcmeChallenge) -> CertError {
    let order_problem = order.state().error.clone();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_ok() && authorization.status == AuthorizationStatus::Invalid {
            let name = authorization.identifier().to_string();
            let source = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
            return CertError::Unproven { name, challenge, source };
        }
    }
    CertError::Unproven { name: "the order".to_owned(), challenge, source: order_problem }
}

fn identifier(name: &str) -> Identifier {
    name.parse().map_or_else(|_| Identifier::Dns(name.to_owned()), Identifier::Ip)
}
