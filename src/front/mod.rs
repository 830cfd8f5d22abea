//! From connections to requests: speaks HTTP/1.1 and HTTP/2 with clients, brings
//! each request into normal form, hands it to the handler and sends what comes
//! back. It never decides what the answer is.
//!
//! A request goes through the files in this order: `connection` (the bytes, which
//! `paced` tells `pace` and `framing` of), `service` (one exchange), `normalize`
//! and `identity` (what is asked, by whom), the handler, `respond` (what is
//! sent), `observe` (what is recorded).

mod challenge;
mod connection;
mod content;
mod framing;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod identity;
mod normalize;
mod observe;
mod pace;
mod paced;
mod respond;
mod service;
mod stream_pace;
mod tunnel;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Tasks};
use crate::certs::Certificates;
use crate::config::model::{Config, Limits};
use crate::exchange::Handler;
use crate::telemetry::Telemetry;

/// The protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionProtocol {
    /// HTTP/1.0 and HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// What every connection shares.
pub struct Front {
    handler: Arc<dyn Handler>,
    certificates: Arc<Certificates>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    draining: CancellationToken,
}

impl Front {
    /// A front for one configuration. `tasks` are waited for by a drain, which
    /// `draining` begins.
    pub fn new(
        config: &Config,
        handler: Arc<dyn Handler>,
        certificates: Arc<Certificates>,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        draining: CancellationToken,
    ) -> Self {
        Self {
            handler,
            certificates,
            telemetry,
            clock,
            tasks,
            limits: config.limits.clone(),
            trusted_proxies: config.listen.trusted_proxies.clone(),
            draining,
        }
    }

    /// The clock of its deadlines.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What clients may use up.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is told about the traffic.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Resolves when a drain begins, and at once after that.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Runs connections' tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("limits", &self.limits).finish_non_exhaustive()
    }
}
