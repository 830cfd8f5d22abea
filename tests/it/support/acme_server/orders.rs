//! Orders, and what an order leads to: authorizations, challenges and the
//! certificate (RFC 8555 s7.4, s7.5).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use seawall::base::{Clock, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::endpoints::{Answer, content, field, json_content, timestamp};
use super::jws::{Jws, decode};
use super::problem::Problem;
use super::state::{Certificate, Identifier, Order, State, Status};
use super::validation::Claim;

/// Nothing waits longer for the proof of a name.
const VALIDATION_DEADLINE: Duration = Duration::from_secs(5);

/// Nothing here expires: no test runs so long.
const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Deserialize)]
pub(super) struct NewOrder {
    identifiers: Vec<NewIdentifier>,
    profile: Option<String>,
    replaces: Option<String>,
}

#[derive(Deserialize)]
struct NewIdentifier {
    r#type: String,
    value: String,
}

#[derive(Deserialize)]
pub(super) struct Finalize {
    csr: String,
}

impl Shared {
    /// RFC 8555 s7.4.
    pub(super) fn new_order(
        &self,
        state: &mut State,
        account: usize,
        new: NewOrder,
    ) -> Result<Answer, Problem> {
        let identifiers = new.identifiers.iter().map(|new| Identifier::parse(&new.r#type, &new.value));
        let identifiers = identifiers.collect::<Result<Vec<_>, _>>()?;
        if identifiers.is_empty() {
            return Err(Problem::malformed("an order for nothing"));
        }
        if new.profile.as_deref().is_some_and(|profile| !self.options.profiles.contains(&profile)) {
            return Err(Problem::new("invalidProfile", 400, "an unknown profile"));
        }
        // Who has no renewal information does not know the member.
        let replaces = new.replaces.filter(|_| self.options.renewal_info);
        if let Some(id) = &replaces {
            state.may_replace(id, account, &identifiers)?;
        }
        let offered = |identifier: &Identifier| {
            let mut offered = self.options.challenges.clone();
            offered.retain(|challenge| challenge.suits(identifier));
            offered
        };
        if let Some(lost) = identifiers.iter().find(|identifier| offered(identifier).is_empty()) {
            let detail = format!("nothing could prove {}", lost.value());
            return Err(Problem::new("rejectedIdentifier", 400, detail));
        }
        let authorize = |identifier| state.authorize(account, identifier, &offered(identifier));
        let authorizations = identifiers.iter().map(authorize).collect();
        let index = state.orders.len();
        state.orders.push(Order {
            account,
            identifiers,
            authorizations,
            profile: new.profile,
            replaces,
            status: Status::Pending,
            certificate: None,
        });
        state.settle_orders();
        Ok(self.order_content(StatusCode::CREATED, state, index))
    }

    pub(super) fn order(
        &self,
        state: &State,
        account: usize,
        index: usize,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        is_post_as_get(jws)?;
        belongs(account, state.orders.get(index).map(|order| order.account))?;
        Ok(self.order_content(StatusCode::OK, state, index))
    }

    pub(super) fn finalize(
        &self,
        state: &mut State,
        account: usize,
        index: usize,
        finalize: &Finalize,
    ) -> Result<Answer, Problem> {
        belongs(account, state.orders.get(index).map(|order| order.account))?;
        let order = &mut state.orders[index];
        if order.status != Status::Ready {
            return Err(Problem::new("orderNotReady", 403, order.status.name()));
        }
        let names: Vec<_> = order.identifiers.iter().map(Identifier::value).collect();
        let issued = self.issuer.issue(&decode(&finalize.csr)?, &names, state.lifetime)?;
        // As with a real CA, the client learns only by asking again that there
        // is a certificate.
        order.status = Status::Processing;
        let res = self.order_content(StatusCode::OK, state, index);
        if state.undecided.is_some() {
            return Ok(res);
        }
        let order = &mut state.orders[index];
        order.status = Status::Valid;
        order.certificate = Some(state.certificates.len());
        state.certificates.push(Certificate { account, issued });
        Ok(res)
    }

    fn order_content(&self, status: StatusCode, state: &State, index: usize) -> Answer {
        let Self { base, .. } = self;
        let order = &state.orders[index];
        let url = format!("{base}/order/{index}");
        let authorizations = order.authorizations.iter().map(|index| format!("{base}/authorization/{index}"));
        let identifiers = order.identifiers.iter();
        let identifiers =
            identifiers.map(|identifier| json!({ "type": identifier.kind(), "value": identifier.value() }));
        let mut document = json!({
            "status": order.status.name(),
            "expires": timestamp(SystemClock.wall() + EXPIRY),
            "identifiers": identifiers.collect::<Vec<_>>(),
            "authorizations": authorizations.collect::<Vec<_>>(),
            "finalize": format!("{url}/finalize"),
        });
        if let Some(profile) = &order.profile {
            document["profile"] = json!(profile);
        }
        if let Some(replaces) = &order.replaces {
            document["replaces"] = json!(replaces);
        }
        if let Some(certificate) = order.certificate {
            document["certificate"] = json!(format!("{base}/certificate/{certificate}"));
        }
        let mut res = json_content(status, &document);
        res.headers_mut().insert(LOCATION, field(&url));
        if let Some(retry_after) = state.undecided.filter(|_| order.status == Status::Processing) {
            res.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
        }
        res
    }

    /// RFC 8555 s7.5, with deactivation.
    pub(super) fn authorization(
        &self,
        state: &mut State,
        account: usize,
        index: usize,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        belongs(account, state.authorizations.get(index).map(|authorization| authorization.account))?;
        if !jws.payload.is_empty() {
            let change: Value = jws.json()?;
            let authorization = &mut state.authorizations[index];
            if change["status"] != "deactivated"
                || !matches!(authorization.status, Status::Pending | Status::Valid)
            {
                return Err(Problem::malformed("an authorization can only be deactivated, and only once"));
            }
            authorization.status = Status::Deactivated;
            state.settle_orders();
        }
        let authorization = &state.authorizations[index];
        let is_shown = |status| match authorization.status {
            Status::Valid | Status::Invalid => status == authorization.status,
            _ => true,
        };
        let challenges = authorization.challenges.iter().copied();
        let challenges = challenges.filter(|index| is_shown(state.challenges[*index].status));
        let identifier = &authorization.identifier;
        let mut document = json!({
            "status": authorization.status.name(),
            "expires": timestamp(SystemClock.wall() + EXPIRY),
            "identifier": { "type": identifier.kind(), "value": identifier.name() },
            "challenges": challenges.map(|index| self.challenge_document(state, index)).collect::<Vec<_>>(),
        });
        if identifier.is_wildcard() {
            document["wildcard"] = json!(true);
        }
        Ok(json_content(StatusCode::OK, &document))
    }

    /// RFC 8555 s7.5.1.
    pub(super) fn challenge(
        self: &Arc<Self>,
        state: &mut State,
        account: usize,
        index: usize,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let challenge = state.challenges.get_mut(index).ok_or_else(Problem::not_found)?;
        let authorization = &state.authorizations[challenge.authorization];
        belongs(account, Some(authorization.account))?;
        let up = format!("<{}/authorization/{}>;rel=\"up\"", self.base, challenge.authorization);
        let is_open = challenge.status == Status::Pending && authorization.status == Status::Pending;
        if !jws.payload.is_empty() && is_open {
            challenge.status = Status::Processing;
            let thumbprint = state.accounts[account].key.thumbprint();
            let claim = Claim {
                challenge: challenge.kind,
                identifier: authorization.identifier.clone(),
                token: challenge.token.clone(),
                key_authorization: format!("{}.{thumbprint}", challenge.token),
            };
            let (shared, validation) = (Arc::clone(self), state.validation.clone());
            let at_once = self.options.validates_at_once.then(|| validation.check(&claim).now_or_never());
            if let Some(outcome) = at_once.flatten() {
                match outcome {
                    Err(problem) if self.options.leaves_open => state.leave_open(index, &problem),
                    outcome => state.conclude(index, &outcome),
                }
            } else {
                tokio::spawn(async move {
                    let checked = tokio::time::timeout(VALIDATION_DEADLINE, validation.check(&claim)).await;
                    let late = |_| Err(Problem::new("connection", 400, "nothing in time"));
                    shared.state().conclude(index, &checked.unwrap_or_else(late));
                });
            }
        }
        let mut res = json_content(StatusCode::OK, &self.challenge_document(state, index));
        res.headers_mut().append(LINK, field(&up));
        Ok(res)
    }

    fn challenge_document(&self, state: &State, index: usize) -> Value {
        let challenge = &state.challenges[index];
        let mut document = json!({
            "type": challenge.kind.name(),
            "url": format!("{}/challenge/{index}", self.base),
            "status": challenge.status.name(),
            "token": challenge.token,
        });
        if challenge.status == Status::Valid {
            document["validated"] = json!(timestamp(SystemClock.wall()));
        }
        if let Some(error) = &challenge.error {
            document["error"] = error.clone();
        }
        document
    }
}

/// RFC 8555 s7.4.2.
pub(super) fn certificate_of(
    state: &State,
    account: usize,
    index: usize,
    jws: &Jws,
) -> Result<Answer, Problem> {
    is_post_as_get(jws)?;
    let certificate = state.certificates.get(index);
    belongs(account, certificate.map(|certificate| certificate.account))?;
    let chain = certificate.map(|certificate| certificate.issued.chain_pem.clone()).unwrap_or_default();
    let mut res = content(StatusCode::OK, chain);
    let kind = HeaderValue::from_static("application/pem-certificate-chain");
    res.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(res)
}

fn belongs(account: usize, owner: Option<usize>) -> Result<(), Problem> {
    match owner {
        Some(owner) if owner == account => Ok(()),
        Some(_) => Err(Problem::unauthorized("it belongs to another account")),
        None => Err(Problem::not_found()),
    }
}

fn is_post_as_get(jws: &Jws) -> Result<(), Problem> {
    if jws.payload.is_empty() { Ok(()) } else { Err(Problem::malformed("the payload has to be empty")) }
}
