//! Tells a server of the user's that a certificate could not be made: who has
//! no eye on the log gets to know it while there is time.

use std::sync::Arc;
use std::time::Duration;

use super::acme::Transport;
use super::status::CertificateStatus;
use crate::base::Tasks;
use crate::config::model::Webhook;

/// The server has so long to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where notices go.
#[derive(Debug)]
pub(super) struct Notices {
    webhook: Webhook,
    transport: Arc<Transport>,
    tasks: Tasks,
}

impl Notices {
    /// They go to `webhook`.
    pub(super) fn new(webhook: &Webhook, transport: &Arc<Transport>, tasks: &Tasks) -> Self {
        Self { webhook: webhook.clone(), transport: Arc::clone(transport), tasks: tasks.clone() }
    }

    /// Tells of a certificate whose last try failed; waits for nothing.
    pub(super) fn failed(&self, certificate: &CertificateStatus) {
        let Ok(told) = serde_json::to_value(certificate) else { return };
        let content = serde_json::json!({ "event": "certificate-failed", "certificate": told }).to_string();
        let (webhook, transport) = (self.webhook.clone(), Arc::clone(&self.transport));
        self.tasks.spawn_until_stopped(async move {
            if let Err(error) = transport.post(&webhook, "", content, DEADLINE).await {
                // Not the URL, which may itself be the secret.
                tracing::warn!(error = &*error, "nobody could be told of a certificate that failed");
            }
        });
    }
}
