//! Runs the health checks of a pool: every server by itself, the first time at
//! once, and as long as the pool is in use and the server belongs to it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Pool;
use super::health::Outcome;
use super::member::Member;
use crate::base::{Tasks, random_unit, story};
use crate::config::model::HealthCheck;

/// Between two rounds in which idle connections are closed that are over, at least and most:
/// what a server closes is looked at by nobody else.
const SWEEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Starts the checks of `pool`, and the closing of its idle connections, so
/// that a drain does not wait for them. Both end when the pool is dropped.
pub(super) fn start(pool: &Arc<Pool>) {
    pool.members().iter().for_each(|member| watch(pool, member));
    let (least, most) = SWEEP;
    let every = (pool.config().timeouts.keep_alive / 2).clamp(least, most);
    let tasks = pool.tasks();
    tasks.spawn(sweep_idle(Arc::downgrade(pool), every, tasks.clone()));
}

/// Starts the checks of `member`, which end when it leaves `pool`.
pub(super) fn watch(pool: &Arc<Pool>, member: &Arc<Member>) {
    let Some(check) = &pool.config().health else { return };
    let checks = check_server(Arc::downgrade(pool), Arc::downgrade(member), check.clone());
    let departure = member.departure().clone();
    pool.tasks().spawn_until_stopped(async move {
        departure.run_until_cancelled(checks).await;
    });
}

async fn check_server(pool: Weak<Pool>, member: Weak<Member>, check: HealthCheck) {
    while let (Some(pool), Some(member)) = (pool.upgrade(), member.upgrade()) {
        let outcome = match member.origin.probe(&check).await {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                let chain = story(&error);
                tracing::debug!(pool = %pool.config().name, server = %member.label, error = %chain, "health check failed");
                member.note_error(chain);
                Outcome::Failed
            }
        };
        pool.observe_health(&member, outcome);
        drop((pool, member));
        sleep(check.every.mul_f64(0.9 + 0.2 * random_unit())).await;
    }
}

async fn sweep_idle(pool: Weak<Pool>, every: Duration, tasks: Tasks) {
    loop {
        let is_stopped = timeout(every, tasks.stopped()).await.is_ok();
        let Some(pool) = pool.upgrade() else { return };
        if is_stopped {
            return pool.close_idle();
        }
        pool.sweep_idle();
    }
}
