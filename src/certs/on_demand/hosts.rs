//! How the hosts that clients named stand: those with a certificate, those that
//! wait for one, and those whose orders failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::certs::manage::SiteCertificate;

/// So many hosts whose orders failed are remembered.
const MOST_FAILED: usize = 1000;
/// For so long they are told of after they could be tried again: who is still
/// wanted has been tried by then.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Hosts whose certificate is on its way: cancelled when that has ended.
    pub(super) on_their_way: HashMap<Arc<str>, CancellationToken>,
    /// Those with a certificate.
    pub(super) held: HashMap<Arc<str>, HeldHost>,
    failed: HashMap<Arc<str>, FailedHost>,
}

/// A host with a certificate.
#[derive(Debug)]
pub(super) struct HeldHost {
    pub(super) certificate: Arc<SiteCertificate>,
    pub(super) _ends_upkeep: DropGuard,
}

/// A host whose last order failed, with the count of those in a row.
#[derive(Debug)]
struct FailedHost {
    certificate: Arc<SiteCertificate>,
    /// It is not tried again before.
    until: Instant,
}

impl Hosts {
    /// The certificate of a host whose orders failed.
    pub(super) fn failed(&self, host: &str) -> Option<&Arc<SiteCertificate>> {
        self.failed.get(host).map(|failed| &failed.certificate)
    }

    /// True for a host whose order failed a short while ago.
    pub(super) fn has_just_failed(&self, host: &str, now: Instant) -> bool {
        self.failed.get(host).is_some_and(|failed| failed.until > now)
    }

    /// The order of a host has failed, and is not made again for `wait`.
    pub(super) fn fail(&mut self, certificate: &Arc<SiteCertificate>, now: Instant, wait: Duration) {
        let failed = FailedHost { certificate: Arc::clone(certificate), until: now + wait };
        self.failed.insert(certificate.site().into(), failed);
    }

    /// Each host whose orders failed, and until when it is not tried again.
    pub(super) fn failures(&self) -> Vec<(Arc<SiteCertificate>, Instant)> {
        self.failed.values().map(|failed| (Arc::clone(&failed.certificate), failed.until)).collect()
    }

    /// A host did not fail, for all that counts now.
    pub(super) fn forget_failure(&mut self, host: &str) {
        self.failed.remove(host);
    }

    /// Forgets failures that were to end more than `ago`, and those for which there
    /// is no room; says which.
    pub(super) fn forget_old_failures(&mut self, now: Instant, ago: Duration) -> Vec<Arc<str>> {
        let is_over = |failed: &FailedHost| failed.until + ago.max(TOLD_FOR) < now;
        let mut over: Vec<Arc<str>> =
            self.failed.extract_if(|_, failed| is_over(failed)).map(|(host, _)| host).collect();
        if self.failed.len() > MOST_FAILED
            && let Some((host, _)) = self.failed.iter().min_by_key(|(_, failed)| failed.until)
        {
            let host = Arc::clone(host);
            self.failed.remove(&host);
            over.push(host);
        }
        over
    }

    /// The certificates there are, and those that failed to come of late.
    pub(super) fn told(&self, now: Instant) -> Vec<Arc<SiteCertificate>> {
        let held = self.held.values().map(|held| &held.certificate);
        let of_late = self.failed.values().filter(|failed| failed.until + TOLD_FOR > now);
        held.chain(of_late.map(|failed| &failed.certificate)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};
    use crate::certs::files::FilePair;
    use crate::certs::issuer::{Issuer, Wanted};
    use crate::certs::table::Place;

    const SECOND: Duration = Duration::from_secs(1);

    fn certificate(host: &str) -> Arc<SiteCertificate> {
        let wanted = Wanted {
            site: host.into(),
            names: vec![host.to_owned()],
            is_asked_for: Arc::default(),
            is_on_demand: true,
        };
        let issuer = Issuer::Files(FilePair { chain: "chain.pem".into(), key: "key.pem".into() });
        Arc::new(SiteCertificate::new(
            wanted,
            issuer,
            Place::Host(host.into()),
            None,
            None,
            SystemClock.now(),
        ))
    }

    #[test]
    fn failures_are_told_for_a_while_and_remembered_for_longer() {
        let (mut hosts, now, day) = (Hosts::default(), SystemClock.now(), 24 * 3600 * SECOND);
        hosts.fail(&certificate("a.test"), now, 60 * SECOND);
        let later = |seconds: u32| now + seconds * SECOND;
        assert!(hosts.has_just_failed("a.test", later(59)) && !hosts.has_just_failed("a.test", later(61)));
        assert_eq!((hosts.told(later(659)).len(), hosts.told(later(661)).len()), (1, 0));
        assert!(hosts.forget_old_failures(later(661), day).is_empty() && hosts.failed("a.test").is_some());
        assert_eq!(hosts.forget_old_failures(later(61) + day, day), ["a.test".into()]);
        assert!(hosts.failed("a.test").is_none());
    }

    #[test]
    fn only_so_many_failures_are_remembered() {
        let (mut hosts, now) = (Hosts::default(), SystemClock.now());
        for number in 0..=MOST_FAILED {
            hosts.fail(&certificate(&format!("n{number}.test")), now, SECOND);
            let over = hosts.forget_old_failures(now, SECOND);
            assert_eq!(
                (over.len(), hosts.failed.len()),
                match number {
                    MOST_FAILED => (1, MOST_FAILED),
                    _ => (0, number + 1),
                }
            );
        }
    }
}
