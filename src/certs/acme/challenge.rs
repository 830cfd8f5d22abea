//! What proves that a name is served here (RFC 8555 s8.3, RFC 8737): answers
//! that stand until the order that needs them is decided.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use instant_acme::{ChallengeType, KeyAuthorization};

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
    TlsAlpn01 { name: String },
}

impl Challenges {
    /// No answer yet. Certificates that answer go to `resolver`.
    pub(in crate::certs) fn new(resolver: Arc<Resolver>) -> Self {
        Self { http01: Mutex::default(), resolver }
    }

    /// The key authorization for `token`.
    pub(in crate::certs) fn http01(&self, token: &str) -> Option<String> {
        self.http01.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Answers the challenge for `name` until the answer is dropped.
    pub(super) fn answer(
        self: &Arc<Self>,
        challenge: AcmeChallenge,
        name: &str,
        token: &str,
        proof: &KeyAuthorization,
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
                self.resolver.begin_challenge(name, &certificate);
                Question::TlsAlpn01 { name: name.to_owned() }
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
            Question::TlsAlpn01 { name } => self.challenges.resolver.end_challenge(name),
        }
    }
}

/// True if `challenge` can prove `name`: the server name of TLS, which
/// TLS-ALPN-01 rests on, cannot be an address.
pub(super) fn suits(challenge: AcmeChallenge, name: &str) -> bool {
    challenge == AcmeChallenge::Http01 || name.parse::<IpAddr>().is_err()
}

/// The challenge as instant-acme names it.
pub(super) fn challenge_type(challenge: AcmeChallenge) -> ChallengeType {
    match challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}
