//! What is known of ACME servers whatever the configuration is: who reloads it often
//! has nobody asked more often for that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::FailedOrders;
use super::queue::Queue;
use super::rest::Rests;
use super::warnings::Warnings;

/// What is known of all servers.
#[derive(Debug, Default)]
pub(in crate::certs) struct Experience {
    /// By directory: so many as there were in a config since the start.
    servers: Mutex<HashMap<String, Arc<Known>>>,
    pub(super) queue: Arc<Queue>,
    pub(super) warnings: Arc<Warnings>,
}

/// What is known of one server.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) failed: FailedOrders,
    pub(super) rests: Rests,
    /// Held while an account is made there.
    pub(super) account_gate: tokio::sync::Mutex<()>,
}

impl Experience {
    /// What is known of the server with this directory.
    pub(super) fn of(&self, directory: &str) -> Arc<Known> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(servers.entry(directory.to_owned()).or_default())
    }
}
