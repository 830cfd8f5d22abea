//! Accounts (RFC 8555 s7.3), and whether what they sign may be done.

use http::StatusCode;
use http::header::LOCATION;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::endpoints::{Answer, field, json_content};
use super::jws::Jws;
use super::problem::Problem;
use super::state::{Account, AccountRecord, State};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    #[serde(default)]
    contact: Vec<String>,
    #[serde(default)]
    only_return_existing: bool,
    external_account_binding: Option<Value>,
}

impl Shared {
    /// Checks what protects a request from being used again or elsewhere
    /// (RFC 8555 s6.4, s6.5), after its signature.
    fn is_fresh(&self, state: &mut State, jws: &Jws, head: &Parts) -> Result<(), Problem> {
        let nonce =
            jws.protected.nonce.as_deref().ok_or_else(|| Problem::new("badNonce", 400, "no nonce"))?;
        state.nonces.take(nonce)?;
        let url = format!("{}{}", self.base, head.uri);
        if jws.protected.url != url {
            return Err(Problem::unauthorized(format!("signed for {} in place of {url}", jws.protected.url)));
        }
        Ok(())
    }

    /// The account that signed a request.
    pub(super) fn account_of(&self, state: &mut State, jws: &Jws, head: &Parts) -> Result<usize, Problem> {
        let (None, Some(kid)) = (&jws.protected.jwk, &jws.protected.kid) else {
            return Err(Problem::malformed("kid, and no jwk, belongs here"));
        };
        let index = kid.strip_prefix(&format!("{}/account/", self.base)).and_then(|index| index.parse().ok());
        let account = index.and_then(|index: usize| state.accounts.get(index));
        let account = account.ok_or_else(|| Problem::new("accountDoesNotExist", 400, kid))?;
        jws.verify(&account.key)?;
        self.is_fresh(state, jws, head)?;
        Ok(index.unwrap_or_default())
    }

    /// RFC 8555 s7.3.
    pub(super) fn new_account(&self, state: &mut State, jws: &Jws, head: &Parts) -> Result<Answer, Problem> {
        let (Some(key), None) = (&jws.protected.jwk, &jws.protected.kid) else {
            return Err(Problem::malformed("jwk, and no kid, belongs here"));
        };
        jws.verify(key)?;
        self.is_fresh(state, jws, head)?;
        let new: NewAccount = jws.json()?;
        if let Some(index) = state.accounts.iter().position(|account| account.key == *key) {
            return Ok(self.account(StatusCode::OK, &state.accounts[index], index));
        }
        if new.only_return_existing {
            return Err(Problem::new("accountDoesNotExist", 400, "no account has this key"));
        }
        let external_account = self.external_account(jws, new.external_account_binding)?;
        let record = AccountRecord { contact: new.contact, external_account };
        let account = Account { key: key.clone(), record };
        let res = self.account(StatusCode::CREATED, &account, state.accounts.len());
        state.accounts.push(account);
        Ok(res)
    }

    /// The external account that a new one is bound to (RFC 8555 s7.3.4).
    fn external_account(&self, outer: &Jws, binding: Option<Value>) -> Result<Option<String>, Problem> {
        let Some((id, key)) = &self.options.external_account else { return Ok(None) };
        let binding = binding
            .ok_or_else(|| Problem::new("externalAccountRequired", 403, "a binding is required"))?
            .to_string();
        let binding = Jws::parse(binding.as_bytes())?;
        let protected = &binding.protected;
        if protected.kid.as_deref() != Some(id) {
            return Err(Problem::unauthorized("the external account is unknown"));
        }
        binding.verify_external(key)?;
        if protected.nonce.is_some() || protected.url != outer.protected.url {
            return Err(Problem::malformed("the binding has a nonce or another URL"));
        }
        if Some(binding.json()?) != outer.protected.jwk {
            return Err(Problem::malformed("the binding is for another key"));
        }
        Ok(Some((*id).to_owned()))
    }

    fn account(&self, status: StatusCode, account: &Account, index: usize) -> Answer {
        let document = json!({ "status": "valid", "contact": account.record.contact });
        let mut res = json_content(status, &document);
        res.headers_mut().insert(LOCATION, field(&format!("{}/account/{index}", self.base)));
        res
    }
}
