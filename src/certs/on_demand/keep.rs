//! Keeps the certificates of hosts up as long as they are used and allowed, and
//! so many of them. The table of handshakes is changed under the lock of the
//! hosts, by who is held there: what a task does after it was ended is nothing.

use std::sync::Arc;

use super::hosts::{HeldHost, Hosts};
use super::{MOST_HOSTS, OnDemand};
use crate::certs::error::CertError;
use crate::certs::issuer::Held;
use crate::certs::manage::{SiteCertificate, Upkeep};
use crate::certs::standing::Step;

/// So many make room at a time, for which all are looked at.
const LET_GO_AT_A_TIME: usize = MOST_HOSTS / 16;

impl OnDemand {
    /// Holds a certificate, which `serve` serves, and keeps it up.
    pub(super) fn hold(self: &Arc<Self>, certificate: &Arc<SiteCertificate>, serve: impl FnOnce(&Upkeep)) {
        let host: Arc<str> = certificate.site().into();
        let end = self.end.child_token();
        let (on_demand, kept, ended) = (Arc::clone(self), Arc::clone(certificate), end.clone());
        let held = HeldHost { certificate: Arc::clone(certificate), _ends_upkeep: end.drop_guard() };
        let mut hosts = self.hosts();
        self.make_room(&mut hosts);
        hosts.forget_failure(&host);
        hosts.held.insert(Arc::clone(&host), held);
        serve(&self.upkeep);
        drop(hosts);
        self.refused.invalidate(&host);
        self.tasks.spawn_until_stopped(async move {
            ended.run_until_cancelled(on_demand.keep(&kept)).await;
        });
    }

    /// What is let go is in storage still.
    fn make_room(&self, hosts: &mut Hosts) {
        if hosts.held.len() < MOST_HOSTS {
            return;
        }
        let mut unused = self.upkeep.resolver.unused_of_late(LET_GO_AT_A_TIME);
        if unused.is_empty() {
            unused.extend(hosts.held.keys().next().cloned());
        }
        for host in unused {
            self.forget(hosts, &host);
        }
    }

    /// Renews a certificate whenever it is due, as long as it is used and may be
    /// had.
    async fn keep(&self, certificate: &Arc<SiteCertificate>) {
        let host = certificate.site();
        loop {
            if self.upkeep.next_step(certificate).await == Step::Ask {
                self.upkeep.ask(certificate, &self.acme).await;
                continue;
            }
            if !self.upkeep.resolver.is_used(host) && !certificate.is_renewal_asked_for() {
                tracing::debug!(host, "a certificate that nobody uses is not renewed");
                self.let_go(certificate);
                return;
            }
            match self.gate.ask(host).await {
                Ok(()) => {
                    if let Ok(issued) = self.upkeep.issue(certificate).await {
                        self.install(certificate, &issued);
                    }
                }
                Err(error @ CertError::NotAllowed { .. }) => {
                    if self.let_go(certificate) {
                        tracing::info!(host, reason = error.story(), "a certificate is not renewed");
                        self.refuse(&host.into(), &error);
                    }
                    return;
                }
                Err(error) => {
                    self.upkeep.put_off(certificate, error.into());
                }
            }
        }
    }

    fn install(&self, certificate: &Arc<SiteCertificate>, issued: &Held) {
        let hosts = self.hosts();
        if is_held(&hosts, certificate) {
            self.upkeep.install(certificate, issued);
        }
    }

    /// Holds it no longer; says whether it did.
    fn let_go(&self, certificate: &Arc<SiteCertificate>) -> bool {
        let mut hosts = self.hosts();
        let is_held = is_held(&hosts, certificate);
        if is_held {
            self.forget(&mut hosts, certificate.site());
        }
        is_held
    }

    fn forget(&self, hosts: &mut Hosts, host: &str) {
        hosts.held.remove(host);
        self.upkeep.resolver.remove_host(host);
        self.acme.clear_warnings(host);
    }
}

/// The host may have got another one since.
fn is_held(hosts: &Hosts, certificate: &Arc<SiteCertificate>) -> bool {
    hosts.held.get(certificate.site()).is_some_and(|held| Arc::ptr_eq(&held.certificate, certificate))
}
