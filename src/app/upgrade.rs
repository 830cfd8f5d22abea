//! An upgrade from the side of the running process: what is left to the new one
//! besides the edge itself, and what follows once that serves.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::edge::Live;
use super::service_manager;
use super::succession::{Listening, Program, Scheme, UpgradeError};
use crate::base::Tasks;
use crate::control::Upgraded;

/// What an upgrade needs.
pub(super) struct Upgrade {
    pub(super) edge: Arc<Live>,
    pub(super) program: Program,
    /// Where metrics are read, with the tasks that answer there.
    pub(super) metrics: Option<(SocketAddr, TcpListener)>,
    pub(super) metrics_tasks: Tasks,
    /// Cancelled once the new process serves.
    pub(super) stop: CancellationToken,
}

impl Upgrade {
    /// Has the new process take over, and this one end. To be run to its end.
    pub(super) async fn carry_out(&self) -> Result<Upgraded, UpgradeError> {
        tracing::info!("an upgrade was asked for on the admin socket");
        let handed_over = self.edge.hand_over(&self.program, self.beside()?).await;
        let upgraded = handed_over.inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "no other process took over; this one serves on");
        })?;
        tracing::info!(pid = upgraded.pid, version = upgraded.version, "another process took over");
        service_manager::tell(&format!("MAINPID={}", upgraded.pid));
        self.metrics_tasks.stop();
        self.stop.cancel();
        Ok(upgraded)
    }

    fn beside(&self) -> Result<Vec<Listening>, UpgradeError> {
        let Some((address, socket)) = &self.metrics else { return Ok(Vec::new()) };
        Ok(vec![((Scheme::Metrics, *address), vec![socket.try_clone()?])])
    }
}
