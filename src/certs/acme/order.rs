//! One order, from the names to the chain (RFC 8555 s7.4). What must outlive a
//! crash, the order's URL and the key, is stored as soon as there is an order:
//! the next process goes on with it, whatever step it had come to.

use std::collections::HashMap;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, Error, Identifier, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};

use super::budget::Wait;
use super::challenge::{Answer, challenge_type, suits};
use super::repeat::Repeats;
use super::server::{Ordered, Server};
use super::transport::RetryAfter;
use crate::certs::error::CertError;
use crate::certs::status::unix_seconds;
use crate::certs::storage::Item;
use crate::config::model::AcmeChallenge;

const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// An order that a try could not bring to its end is taken up by the next one until it
/// is so old: a server that has not decided by then may never do.
const TAKEN_UP_FOR: Duration = Duration::from_secs(3600);

/// What is stored of an order under way.
#[derive(Serialize, Deserialize)]
struct Noted {
    url: String,
    names: Vec<String>,
    /// What the config said then.
    #[serde(default)]
    profile: Option<String>,
    key: String,
    /// When it was begun, in seconds since 1970.
    #[serde(default)]
    begun: u64,
}

/// An order under way.
struct UnderWay {
    order: Order,
    key: String,
}

impl Server {
    /// Obtains a key and chain for `names`, as one PEM text: goes on with an order
    /// that was left, if the server still knows it, else orders anew, with one
    /// challenge after another. True beside it for an order that was left.
    pub(super) async fn order(
        &self,
        account: &Account,
        wanted: Ordered<'_>,
        retry_after: &RetryAfter,
    ) -> Result<(String, bool), CertError> {
        let Ordered { site, names, .. } = wanted;
        let mut left = self.left(account, site, names).await?;
        let (mut failure, mut is_left) = (None, left.is_some());
        for challenge in self.config.challenges.iter().copied() {
            let mut under_way = match left.take() {
                Some(left) => left,
                None => {
                    is_left = false;
                    self.begin(account, wanted).await?
                }
            };
            let error = match self.prove(&mut under_way.order, challenge, retry_after).await {
                Ok(()) => return Ok((self.finish(under_way, names, retry_after).await?, is_left)),
                Err(error) => error,
            };
            match &error {
                CertError::Unproven { is_open: false, .. } => {
                    self.known.failed.note(names, self.clock.now(), &error.story());
                }
                // Another challenge may prove the same order.
                CertError::Unproven { .. }
                | CertError::NoChallenge { .. }
                | CertError::Dns { .. }
                | CertError::DnsProgram { .. }
                | CertError::DnsWebhook { .. } => left = Some(under_way),
                _ => return Err(error),
            }
            tracing::info!(site, reason = error.story(), "an ACME challenge failed");
            failure = Some(error);
        }
        Err(failure.unwrap_or_else(|| CertError::NoChallenge { name: site.to_owned() }))
    }

    /// The order that was left when a process ended, or a try failed on the way:
    /// if it is for these names, and the server has not given it up.
    async fn left(
        &self,
        account: &Account,
        site: &str,
        names: &[String],
    ) -> Result<Option<UnderWay>, CertError> {
        let noted = self.noted(site).await?;
        let Some(Noted { url, key, .. }) =
            noted.filter(|noted| noted.names == names && noted.profile == self.config.profile)
        else {
            return Ok(None);
        };
        let mut order = match account.order(url).await.map_err(CertError::from) {
            Ok(order) => order,
            Err(error) if error.is_about_unknown() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((order.state().status != OrderStatus::Invalid).then_some(UnderWay { order, key }))
    }

    async fn noted(&self, site: &str) -> Result<Option<Noted>, CertError> {
        let stored = self.storage.load(&Item::order(&self.directory, site)).await?;
        Ok(stored.and_then(|stored| serde_json::from_slice(&stored).ok()))
    }

    /// A try ended without a decision: if the order is old by now, the next one orders
    /// anew. Where the clock was put back since, nobody knows how old it is.
    pub(super) async fn give_up_if_old(&self, site: &str) -> Result<(), CertError> {
        let Some(Noted { url, begun, .. }) = self.noted(site).await? else { return Ok(()) };
        let age = unix_seconds(self.clock.wall()).checked_sub(begun);
        if age.is_some_and(|age| age < TAKEN_UP_FOR.as_secs()) {
            return Ok(());
        }
        tracing::warn!(site, url, "an ACME order that the server does not decide on is given up");
        self.storage.remove(&Item::order(&self.directory, site)).await
    }

    async fn begin(&self, account: &Account, wanted: Ordered<'_>) -> Result<UnderWay, CertError> {
        let Ordered { site, names, in_use } = wanted;
        if let Some(Wait { name, time, last }) = self.known.failed.wait(names, self.clock.now()) {
            return Err(CertError::TooManyFailed { name, wait: time, last });
        }
        let key = KeyPair::generate()?.serialize_pem();
        let identifiers: Vec<Identifier> = names.iter().map(|name| identifier(name)).collect();
        let profile = self.profile(account)?;
        self.preflight(account.id(), wanted).await?;
        let new = || {
            let new = NewOrder::new(&identifiers);
            if let Some(profile) = profile { new.profile(profile) } else { new }
        };
        // A server knows what it has issued itself.
        let replaced = in_use.filter(|in_use| in_use.server == self.number);
        let order = match replaced.and_then(|replaced| CertificateIdentifier::try_from(&replaced.leaf).ok()) {
            Some(id) => match account.new_order(&new().replaces(id)).await.map_err(CertError::from) {
                // If that was not the reason it is told once more.
                Err(error) if error.may_be_about_replacing() => account.new_order(&new()).await?,
                replacing => replacing?,
            },
            None => account.new_order(&new()).await?,
        };
        let (url, names) = (order.url().to_owned(), names.to_owned());
        let begun = unix_seconds(self.clock.wall());
        let noted = Noted { url, names, profile: self.config.profile.clone(), key, begun };
        self.storage.store(&Item::order(&self.directory, site), serde_json::to_vec_pretty(&noted)?).await?;
        Ok(UnderWay { order, key: noted.key })
    }

    /// The profile of the config, if the server has it. One that stands in gives
    /// what it has.
    fn profile(&self, account: &Account) -> Result<Option<&str>, CertError> {
        let Some(wanted) = self.config.profile.as_deref() else { return Ok(None) };
        let mut known: Vec<_> = account.profiles().map(|known| known.name.to_owned()).collect();
        known.sort_unstable();
        match known.iter().any(|known| known == wanted) {
            true => Ok(Some(wanted)),
            false if self.number > 0 => Ok(None),
            false => Err(CertError::NoProfile { profile: wanted.to_owned(), known }),
        }
    }

    /// Has all names of the order proven.
    async fn prove(
        &self,
        order: &mut Order,
        challenge: AcmeChallenge,
        retry_after: &RetryAfter,
    ) -> Result<(), CertError> {
        if order.state().status != OrderStatus::Pending {
            return Ok(());
        }
        // They stand until the order is decided, however often a step is taken.
        let mut answers = HashMap::new();
        let proven = self.prove_by(&mut answers, order, challenge, retry_after).await;
        answers.into_values().for_each(Answer::end);
        proven
    }

    /// The same; all that is answered is among `answers`.
    async fn prove_by(
        &self,
        answers: &mut HashMap<String, Answer>,
        order: &mut Order,
        challenge: AcmeChallenge,
        retry_after: &RetryAfter,
    ) -> Result<(), CertError> {
        let mut repeats = Repeats::default();
        while let Err(error) = self.answer(order, challenge, answers).await {
            if !repeats.pause(&error, retry_after).await {
                return Err(error);
            }
        }
        if let Some(records) = self.records.as_ref().filter(|_| challenge == AcmeChallenge::Dns01) {
            tokio::time::sleep(records.wait()).await;
        }
        let (mut repeats, mut is_again) = (Repeats::default(), false);
        while let Err(error) = claim(order, challenge, is_again).await {
            if !repeats.pause(&error, retry_after).await {
                return Err(error);
            }
            is_again = true;
        }
        let mut repeats = Repeats::default();
        loop {
            let decided = order.poll_ready(&POLLING).await.map_err(CertError::from);
            if order.state().status == OrderStatus::Invalid {
                return Err(why_invalid(order, challenge).await);
            }
            match decided {
                Ok(_) => return Ok(()),
                Err(error) if repeats.pause(&error, retry_after).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees to it that the challenges of all names are answered that are not proven
    /// yet.
    async fn answer(
        &self,
        order: &mut Order,
        challenge: AcmeChallenge,
        answers: &mut HashMap<String, Answer>,
    ) -> Result<(), CertError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            if authorization.status == AuthorizationStatus::Valid || answers.contains_key(&name) {
                continue;
            }
            let offer = authorization.challenge(challenge_type(challenge));
            let Some(offer) = offer.filter(|_| suits(challenge, &name)) else {
                return Err(CertError::NoChallenge { name });
            };
            let (proof, asked) = (offer.key_authorization(), (name.as_str(), offer.token.as_str()));
            let answer = self.challenges.answer(challenge, asked, &proof, self.records.as_ref()).await?;
            answers.insert(name, answer);
        }
        Ok(())
    }

    /// Has the certificate issued for an order whose names are proven, and fetches
    /// it.
    async fn finish(
        &self,
        mut under_way: UnderWay,
        names: &[String],
        retry_after: &RetryAfter,
    ) -> Result<String, CertError> {
        let UnderWay { order, key } = &mut under_way;
        let mut repeats = Repeats::default();
        let mut outcome = issue(order, key, names).await;
        while let Err(error) = &outcome {
            if !repeats.pause(error, retry_after).await {
                break;
            }
            // The server may have done what was not answered.
            outcome = match order.refresh().await {
                Ok(_) => issue(order, key, names).await,
                Err(error) => Err(error.into()),
            };
        }
        if let Err(error) = &outcome
            && order.state().status == OrderStatus::Invalid
        {
            self.known.failed.note(names, self.clock.now(), &error.story());
        }
        Ok(format!("{key}{}", outcome?))
    }
}

/// Has the server look at the answers; where that `is_again`, at those only that
/// it does not look at yet.
async fn claim(order: &mut Order, challenge: AcmeChallenge, is_again: bool) -> Result<(), CertError> {
    let (name, problem) = match claim_each(order, challenge, is_again).await {
        Ok(()) => return Ok(()),
        Err((name, Error::Api(problem))) => (name, problem),
        Err((_, error)) => return Err(error.into()),
    };
    let is_open = match status(order, &name).await {
        // It has looked at once, and found nothing.
        Some(AuthorizationStatus::Invalid) => false,
        // The same, but the name may still be proven otherwise.
        Some(AuthorizationStatus::Pending) if is_about_proof(&problem) => true,
        _ => return Err(Error::Api(problem).into()),
    };
    Err(CertError::Unproven { name, challenge, source: Some(problem), is_open })
}

/// True for what an authority finds that looks for a proof (RFC 8555 s6.7).
fn is_about_proof(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next());
    matches!(kind, Some("connection" | "dns" | "incorrectResponse" | "tls" | "unauthorized"))
}

/// The same; fails with the name at which it did.
async fn claim_each(
    order: &mut Order,
    challenge: AcmeChallenge,
    is_again: bool,
) -> Result<(), (String, Error)> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| (String::new(), error))?;
        let name = authorization.identifier().to_string();
        if is_again && let Err(error) = authorization.refresh().await {
            return Err((name, error));
        }
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let offer = authorization.challenge(challenge_type(challenge));
        let Some(mut offer) = offer.filter(|offer| offer.status == ChallengeStatus::Pending) else {
            continue;
        };
        offer.set_ready().await.map_err(|error| (name, error))?;
    }
    Ok(())
}

/// How the authorization for a name stands now; `None` if that cannot be found out.
async fn status(order: &mut Order, name: &str) -> Option<AuthorizationStatus> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.identifier().to_string() == name {
            return authorization.refresh().await.ok().map(|state| state.status);
        }
    }
    None
}

async fn issue(order: &mut Order, key: &str, names: &[String]) -> Result<String, CertError> {
    if order.state().status == OrderStatus::Ready {
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = DistinguishedName::new();
        let request = parameters.serialize_request(&KeyPair::from_pem(key)?)?;
        order.finalize_csr(request.der()).await?;
    }
    Ok(order.poll_certificate(&POLLING).await?)
}

/// What the server says of the first name that it found unproven.
async fn why_invalid(order: &mut Order, challenge: AcmeChallenge) -> CertError {
    let order_problem = order.state().error.clone();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_ok() && authorization.status == AuthorizationStatus::Invalid {
            let name = authorization.identifier().to_string();
            let source = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
            return CertError::Unproven { name, challenge, source, is_open: false };
        }
    }
    CertError::Unproven { name: "the order".to_owned(), challenge, source: order_problem, is_open: false }
}

fn identifier(name: &str) -> Identifier {
    name.parse().map_or_else(|_| Identifier::Dns(name.to_owned()), Identifier::Ip)
}
