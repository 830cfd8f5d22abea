//! What proves that a name is served here (RFC 8555 s8.3, RFC 8737): answers
//! that stand until the order that needs them is decided.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use instant_acme::{ChallengeType, KeyAuthorization};

use super::dns::Records;
use crate::base::Tasks;
use crate::certs::error::CertError;
use crate::certs::self_signed;
use crate::certs::table::Resolver;
use crate::config::model::AcmeChallenge;

/// The answers that stand now.
#[derive(Debug)]
pub(in crate::certs) struct Challenges {
    /// Key authorizations by token.
    http01: Mutex<HashMap<String, String>>,
    resolver: Arc<Resolver>,
    tasks: Tasks,
}

/// Takes an answer back when it is dropped.
#[derive(Debug)]
pub(super) struct Answer {
    challenges: Arc<Challenges>,
    to: Question,
}

#[derive(Debug)]
enum Question {
    Http01 { token: String },
    TlsAlpn01 { server_name: String },
    Dns01 { records: Arc<Records>, record: String, value: String },
}

impl Challenges {
    /// No answer yet. Certificates that answer go to `resolver`; what takes time
    /// to be taken back is among `tasks`.
    pub(in crate::certs) fn new(resolver: Arc<Resolver>, tasks: &Tasks) -> Self {
        Self { http01: Mutex::default(), resolver, tasks: tasks.clone() }
    }

    /// The key authorization for `token`.
    pub(in crate::certs) fn http01(&self, token: &str) -> Option<String> {
        self.http01.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Answers the challenge for `name` until the answer is dropped; dns-01 by
    /// `records`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        challenge: AcmeChallenge,
        (name, token): (&str, &str),
        proof: &KeyAuthorization,
        records: Option<&Arc<Records>>,
        now: SystemTime,
    ) -> Result<Answer, CertError> {
        let to = match challenge {
            AcmeChallenge::Http01 => {
                let mut tokens = self.http01.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(token.to_owned(), proof.as_str().to_owned());
                Question::Http01 { token: token.to_owned() }
            }
            AcmeChallenge::TlsAlpn01 => {
                let certificate = self_signed::challenge(name, proof.digest().as_ref(), now)?;
                let server_name = server_name(name);
                self.resolver.begin_challenge(&server_name, &certificate);
                Question::TlsAlpn01 { server_name }
            }
            AcmeChallenge::Dns01 => {
                let records = records.ok_or_else(|| CertError::NoChallenge { name: name.to_owned() })?;
                let value = proof.dns_value();
                let record = records.set(name, &value).await?;
                Question::Dns01 { records: Arc::clone(records), record, value }
            }
        };
        Ok(Answer { challenges: Arc::clone(self), to })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        match &self.to {
            Question::Http01 { token } => {
                let mut tokens = self.challenges.http01.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.remove(token);
            }
            Question::TlsAlpn01 { server_name } => self.challenges.resolver.end_challenge(server_name),
            Question::Dns01 { records, record, value } => {
                let (records, record, value) = (Arc::clone(records), record.clone(), value.clone());
                self.challenges.tasks.spawn(async move {
                    if let Err(error) = records.take_away(&record, &value).await {
                        tracing::warn!(
                            record,
                            reason = error.story(),
                            "a DNS record could not be taken away"
                        );
                    }
                });
            }
        }
    }
}

/// What an ACME server writes into its hello to see the proof of `name`: for an
/// address, which is no server name of TLS, its place in reverse DNS (RFC 8738 s6).
fn server_name(name: &str) -> String {
    match name.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles = format!("{:032x}", address.to_bits());
            nibbles.chars().rev().flat_map(|nibble| [nibble, '.']).chain("ip6.arpa".chars()).collect()
        }
        Err(_) => name.to_owned(),
    }
}

/// True if `challenge` can prove `name`: a wildcard is proven by DNS alone, and
/// an address not by that (RFC 8738 s7).
pub(super) fn suits(challenge: AcmeChallenge, name: &str) -> bool {
    let is_address = || name.parse::<IpAddr>().is_ok();
    match challenge {
        AcmeChallenge::Http01 | AcmeChallenge::TlsAlpn01 => !name.starts_with("*."),
        AcmeChallenge::Dns01 => !is_address(),
    }
}

/// The challenge as instant-acme names it.
pub(super) fn challenge_type(challenge: AcmeChallenge) -> ChallengeType {
    match challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Dns01 => ChallengeType::Dns01,
    }
}
