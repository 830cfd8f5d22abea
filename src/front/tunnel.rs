//! After a change of protocols: bytes both ways, until one end closes, nothing
//! passes for too long, or the edge stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::observe::Observation;
use crate::base::Clock;
use crate::exchange::ExchangeEnd;
use crate::telemetry::metrics::Limit;

/// Bytes on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// How long the two ends may take to change protocols after the 101.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Joins the two ends of a tunnel and finishes its exchange when it ends.
pub(super) async fn join(client: OnUpgrade, origin: OnUpgrade, mut observation: Box<Observation>) {
    let front = Arc::clone(&observation.front);
    let metrics = &front.telemetry.metrics;
    let both = async { tokio::try_join!(client, origin) };
    let (client, origin) = match tokio::time::timeout(SWITCH_TIMEOUT, both).await {
        Ok(Ok(ends)) => ends,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no tunnel");
            observation.record.end = ExchangeEnd::Cut;
            return;
        }
        Err(_) => return,
    };
    metrics.tunnels_open.add(1);
    let activity = Activity::new(Arc::clone(&front.clock));
    let end = tokio::select! {
        end = pass(client, origin, &activity, front.limits.write_timeout) => end,
        () = activity.ceases_for(front.limits.tunnel_idle) => {
            metrics.limit(Limit::TunnelIdle);
            ExchangeEnd::Cut
        }
    };
    metrics.tunnels_open.add(-1);
    observation.record.end = end;
    observation.record.bytes_out = activity.to_client.load(Relaxed);
    observation.bytes_in = Some(Arc::clone(&activity.to_origin));
}

async fn pass(client: Upgraded, origin: Upgraded, activity: &Activity, deadline: Duration) -> ExchangeEnd {
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (origin_read, origin_write) = tokio::io::split(TokioIo::new(origin));
    let outcome = tokio::try_join!(
        copy(client_read, origin_write, activity, &activity.to_origin, deadline),
        copy(origin_read, client_write, activity, &activity.to_client, deadline),
    );
    if outcome.is_ok() { ExchangeEnd::Complete } else { ExchangeEnd::Cut }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
    count: &AtomicU64,
    deadline: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        activity.touch();
        let written = async {
            if length == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..length]).await?;
            to.flush().await
        };
        tokio::time::timeout(deadline, written).await.map_err(|_| io::ErrorKind::TimedOut)??;
        activity.touch();
        count.fetch_add(length as u64, Relaxed);
        if length == 0 {
            return Ok(());
        }
    }
}

/// When bytes passed last, and how many.
struct Activity {
    clock: Arc<dyn Clock>,
    opened: Instant,
    last: AtomicU64,
    to_client: Arc<AtomicU64>,
    to_origin: Arc<AtomicU64>,
}

impl Activity {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let opened = clock.now();
        Self { clock, opened, last: AtomicU64::new(0), to_client: Arc::default(), to_origin: Arc::default() }
    }

    fn touch(&self) {
        let passed = self.clock.now().saturating_duration_since(self.opened);
        self.last.store(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    async fn ceases_for(&self, idle: Duration) {
        loop {
            let until = self.opened + Duration::from_millis(self.last.load(Relaxed)) + idle;
            if self.clock.now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}
