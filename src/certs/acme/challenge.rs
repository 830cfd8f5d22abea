//! What proves that a name is served here (RFC 8555 s8.3, RFC 8737). An answer
//! outlives the order that needs it, and the configuration: an authority that looks
//! while a reload has another one take the order up finds it all the same.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use instant_acme::{ChallengeType, KeyAuthorization};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use super::dns::{Records, StandingRecords};
use crate::base::{Clock, Tasks};
use crate::certs::error::CertError;
use crate::certs::self_signed;
use crate::config::model::AcmeChallenge;

/// An answer stands for so long: longer than any order takes.
const STANDS_FOR: Duration = Duration::from_secs(15 * 60);

/// The DNS record of an order that was left on the way stays for so long, within which
/// somebody takes the order up, or nobody does.
const LEFT_FOR: Duration = Duration::from_secs(60);

/// So many answers of a kind stand; more take the place of the oldest.
const MOST: usize = 1024;

/// The answers that stand now.
#[derive(Debug)]
pub(in crate::certs) struct Challenges {
    /// Key authorizations by token.
    http01: Shown<String>,
    /// Certificates by server name.
    tls_alpn01: Shown<Arc<CertifiedKey>>,
    /// Those of dns-01.
    pub(super) records: Arc<StandingRecords>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

/// Answers of one kind, and until when they stand.
#[derive(Debug)]
struct Shown<T>(Mutex<HashMap<String, (T, Instant)>>);

/// An answer that was given.
#[derive(Debug)]
pub(super) enum Answer {
    /// It stands for a while.
    Shown,
    /// It is taken away once this is dropped.
    Record(SetRecord),
}

/// A DNS record that answers.
#[derive(Debug)]
pub(super) struct SetRecord {
    records: Arc<Records>,
    record: String,
    value: String,
    /// True once the order was decided.
    is_over: bool,
    tasks: Tasks,
}

impl Challenges {
    /// No answer yet. What takes time to be taken back is among `tasks`.
    pub(in crate::certs) fn new(clock: Arc<dyn Clock>, tasks: &Tasks) -> Self {
        let (http01, tls_alpn01) = (Shown::default(), Shown::default());
        Self { http01, tls_alpn01, records: Arc::default(), clock, tasks: tasks.clone() }
    }

    /// The key authorization for `token`.
    pub(in crate::certs) fn http01(&self, token: &str) -> Option<String> {
        self.http01.get(token, self.clock.now())
    }

    /// What those get who check the challenge for a server name.
    pub(in crate::certs) fn tls_alpn01(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        self.tls_alpn01.get(server_name, self.clock.now())
    }

    /// Answers the challenge for `name`; dns-01 by `records`.
    pub(super) async fn answer(
        &self,
        challenge: AcmeChallenge,
        (name, token): (&str, &str),
        proof: &KeyAuthorization,
        records: Option<&Arc<Records>>,
    ) -> Result<Answer, CertError> {
        match challenge {
            AcmeChallenge::Http01 => {
                self.http01.put(token.to_owned(), proof.as_str().to_owned(), self.clock.now());
            }
            AcmeChallenge::TlsAlpn01 => {
                let certificate = self_signed::challenge(name, proof.digest().as_ref(), self.clock.wall())?;
                self.tls_alpn01.put(server_name(name), certificate, self.clock.now());
            }
            AcmeChallenge::Dns01 => {
                let records = records.ok_or_else(|| CertError::NoChallenge { name: name.to_owned() })?;
                let value = proof.dns_value();
                let record = records.set(name, &value).await?;
                let (records, tasks) = (Arc::clone(records), self.tasks.clone());
                return Ok(Answer::Record(SetRecord { records, record, value, is_over: false, tasks }));
            }
        }
        Ok(Answer::Shown)
    }
}

impl<T: Clone> Shown<T> {
    fn put(&self, to: String, answer: T, now: Instant) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (_, until)| *until > now);
        if answers.len() >= MOST
            && let Some((oldest, _)) = answers.iter().min_by_key(|(_, (_, until))| *until)
        {
            let oldest = oldest.clone();
            answers.remove(&oldest);
        }
        answers.insert(to, (answer, now + STANDS_FOR));
    }

    fn get(&self, to: &str, now: Instant) -> Option<T> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(to).filter(|(_, until)| *until > now).map(|(answer, _)| answer.clone())
    }
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Answer {
    /// Nobody looks for it any more.
    pub(super) fn end(self) {
        if let Self::Record(mut set) = self {
            set.is_over = true;
        }
    }
}

impl Drop for SetRecord {
    fn drop(&mut self) {
        let (records, tasks, is_over) = (Arc::clone(&self.records), self.tasks.clone(), self.is_over);
        let (record, value) = (mem::take(&mut self.record), mem::take(&mut self.value));
        self.tasks.spawn(async move {
            if !is_over {
                let _or_all_ends = tokio::time::timeout(LEFT_FOR, tasks.stopped()).await;
            }
            if let Err(error) = records.take_away(&record, &value).await {
                tracing::warn!(record, reason = error.story(), "a DNS record could not be taken away");
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemClock;

    #[test]
    fn answers_stand_for_a_while_and_only_so_many() {
        let (shown, now) = (Shown::default(), SystemClock.now());
        shown.put("a".to_owned(), 1, now);
        let soon = now + STANDS_FOR / 2;
        shown.put("a".to_owned(), 2, soon);
        let late = now + STANDS_FOR;
        assert_eq!((shown.get("a", late), shown.get("b", late)), (Some(2), None));
        assert_eq!(shown.get("a", soon + STANDS_FOR), None);
        for number in 0..MOST {
            shown.put(number.to_string(), number, late);
        }
        assert_eq!((shown.get("a", late), shown.get("0", late)), (None, Some(0)));
        shown.put("b".to_owned(), 3, late + STANDS_FOR);
        assert_eq!(shown.0.lock().unwrap().len(), 1);
    }
}
