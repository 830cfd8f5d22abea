//! Obtains certificates from ACME servers (RFC 8555): from the first one of the
//! config, and where that is out of order or refuses more orders from the next.
//! It is asked for one at a time by the loop of each site; when to ask is
//! decided in `renewal`.

mod account;
mod budget;
mod caa;
mod challenge;
mod dns;
mod experience;
mod lookup;
mod order;
mod preflight;
mod queue;
mod repeat;
mod rest;
mod server;
mod transport;
mod warnings;

use std::sync::Arc;
use std::time::Duration;

pub use caa::CaaRefusal;
pub(super) use challenge::Challenges;
use dns::Records;
pub(super) use experience::Experience;
use queue::Queue;
use server::{Ordered, QUESTIONS_AT_A_TIME, Server};
use tokio::sync::Semaphore;
use transport::Identities;
pub(super) use transport::Transport;
#[cfg(fuzzing)]
pub(super) use transport::fuzzing;
use warnings::Warnings;

use super::caught::caught;
use super::error::CertError;
use super::issuer::{Held, Wanted};
use super::renewal::Window;
use super::standing::Issued;
use super::storage::{CertStorage, Item};
use crate::base::Clock;
use crate::config::Config;

/// The ACME servers that are asked, the first of them first.
#[derive(Debug)]
pub(super) struct Acme {
    servers: Vec<Server>,
    queue: Arc<Queue>,
    warnings: Arc<Warnings>,
}

/// Why there is no certificate, and how long the server wants to be left alone.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) error: CertError,
    /// What the server's `Retry-After` says.
    pub(super) retry_after: Option<Duration>,
}

impl From<CertError> for Failure {
    fn from(error: CertError) -> Self {
        Self { error, retry_after: None }
    }
}

impl Acme {
    /// Prepares to order from the directories of `config`; asks nothing yet.
    pub(super) fn new(
        config: &Config,
        storage: &Arc<dyn CertStorage>,
        (challenges, experience): (&Arc<Challenges>, &Experience),
        transport: &Arc<Transport>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, CertError> {
        let acme = Arc::new(config.acme.clone());
        let warnings = &experience.warnings;
        let records = acme
            .dns
            .as_ref()
            .map(|dns| Arc::new(Records::new(dns, acme.resolver, transport, clock, &challenges.records)));
        let server = |(number, directory): (usize, &String)| Server {
            directory: directory.clone(),
            email: config.email.clone(),
            config: Arc::clone(&acme),
            transport: Arc::clone(transport),
            storage: Arc::clone(storage),
            challenges: Arc::clone(challenges),
            records: records.clone(),
            clock: Arc::clone(clock),
            known: experience.of(directory),
            identities: Identities::default(),
            warnings: Arc::clone(warnings),
            questions: Semaphore::new(QUESTIONS_AT_A_TIME),
            number,
        };
        let servers: Vec<_> = acme.directories.iter().enumerate().map(server).collect();
        if servers.is_empty() {
            return Err(CertError::NoDirectory);
        }
        let (queue, warnings) = (Arc::clone(&experience.queue), Arc::clone(warnings));
        Ok(Self { servers, queue, warnings })
    }

    /// Where a site's certificate may be stored.
    pub(super) fn items(&self, site: &str) -> Vec<Item> {
        self.servers.iter().map(|server| server.item(site)).collect()
    }

    /// The directory of a server.
    pub(super) fn directory(&self, server: usize) -> Option<&str> {
        self.servers.get(server).map(|server| &*server.directory)
    }

    /// What was found before the last order of a site that may have it fail.
    pub(super) fn warnings(&self, site: &str) -> Vec<String> {
        self.warnings.of(site)
    }

    /// Nobody is told of them any more.
    pub(super) fn clear_warnings(&self, site: &str) {
        self.warnings.clear(site);
    }

    /// When a server wants what it issued to be renewed, and how soon it wants to
    /// be asked again (RFC 9773 s4); `None` if it has no suggestions. Cancel safe.
    pub(super) async fn suggestion(&self, of: &Issued) -> Result<Option<(Window, Duration)>, CertError> {
        match self.servers.get(of.server) {
            Some(server) => server.suggestion(&of.leaf).await,
            None => Ok(None),
        }
    }

    /// Orders the certificate that is `wanted` and stores it with its key, in the
    /// place of the one `in_use`. The next server is asked where one fails, but
    /// not where it finds fault with the names. Who is asked for has its turn
    /// before others. Ends within twenty minutes a server of its turn. Cancel safe:
    /// the next call goes on where it can.
    pub(super) async fn issue(&self, wanted: &Wanted, in_use: Option<&Issued>) -> Result<Held, Failure> {
        let Wanted { site, names, is_asked_for, is_on_demand } = wanted;
        let (site, ordered) = (&**site, Ordered { site, names, in_use });
        let _turn = self.queue.turn(is_asked_for, *is_on_demand).await;
        let mut failures = Vec::new();
        for server in &self.servers {
            let directory = &*server.directory;
            match caught(server.issue(ordered)).await {
                Ok(certificate) => {
                    self.warnings.clear(site);
                    return Ok(Held { certificate, server: Some(server.number) });
                }
                Err(failure) if failure.error.is_of_server() => {
                    let (reason, left) = (failure.error.story(), self.servers.len() - failures.len() - 1);
                    tracing::warn!(site, directory, reason, left, "an ACME server issues nothing");
                    failures.push((directory.to_owned(), failure));
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(together(failures))
    }
}

/// The failures of all servers as one, which is over as soon as one of them is.
fn together(mut failures: Vec<(String, Failure)>) -> Failure {
    if failures.len() == 1
        && let Some((_, failure)) = failures.pop()
    {
        return failure;
    }
    let retry_after = failures.iter().map(|(_, failure)| failure.retry_after).min().flatten();
    let errors = failures.into_iter().map(|(directory, failure)| (directory, failure.error)).collect();
    Failure { error: CertError::EveryServer(errors), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(seconds: Option<u64>) -> (String, Failure) {
        let retry_after = seconds.map(Duration::from_secs);
        ("https://ca.test/dir".to_owned(), Failure { error: CertError::OrderDeadline, retry_after })
    }

    #[test]
    fn it_is_tried_again_when_the_first_server_may_be_asked() {
        for (asked, expected) in [
            (&[Some(60)][..], Some(60)),
            (&[Some(3600), Some(60)], Some(60)),
            (&[Some(3600), None], None),
            (&[None], None),
        ] {
            let together = together(asked.iter().map(|seconds| failure(*seconds)).collect());
            assert_eq!(together.retry_after, expected.map(Duration::from_secs), "{asked:?}");
        }
        let told = together(vec![failure(None), failure(None)]).error.story();
        let one = "https://ca.test/dir: the ACME order did not end in time";
        assert_eq!(told, format!("no ACME server issues a certificate: {one}; {one}"));
    }
}
