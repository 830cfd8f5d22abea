//! After a change of protocols: bytes both ways, until one end closes, nothing
//! passes for too long, or the edge stops.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observe::Observation;
use crate::base::Clock;
use crate::exchange::{ExchangeEnd, Tunnel};
use crate::telemetry::metrics::Limit;

/// Bytes on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// How long the two ends may take to change protocols after the 101.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's end of a tunnel.
pub(super) struct ClientEnd {
    pub(super) upgrade: OnUpgrade,
    /// What sends to it, where that is a stream of HTTP/2.
    pub(super) sending: Option<Sending>,
}

/// The sending side of a tunnel that is a stream of HTTP/2: a task of its own, which
/// would else wait for its client for as long as the connection lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    tunnel_is_over: CancellationToken,
    has_ended: CancellationToken,
}

impl Sending {
    /// Runs it until it ends or its tunnel does, which resets the stream.
    pub(super) async fn run(self, side: impl Future<Output = ()>) {
        let _ended = self.has_ended.drop_guard();
        self.tunnel_is_over.run_until_cancelled(side).await;
    }
}

/// Joins the two ends of a tunnel and finishes its exchange when it ends.
pub(super) async fn join(client: ClientEnd, origin: Tunnel, mut observation: Box<Observation>) {
    let front = Arc::clone(&observation.front);
    let metrics = &front.telemetry.metrics;
    let ClientEnd { upgrade: client, sending } = client;
    let Tunnel { upgrade: origin, carrier } = origin;
    let _over = sending.as_ref().map(|sending| sending.tunnel_is_over.clone().drop_guard());
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
    let limits = front.limits();
    let end = tokio::select! {
        end = pass((client, sending), origin, &activity, limits.write_timeout) => end,
        () = activity.ceases_for(limits.tunnel_idle) => {
            metrics.limit(Limit::TunnelIdle);
            ExchangeEnd::Cut
        }
    };
    metrics.tunnels_open.add(-1);
    if end == ExchangeEnd::Cut
        && let Some(carrier) = carrier
    {
        carrier.cut();
    }
    observation.record.end = end;
    observation.record.bytes_out = activity.to_client.load(Relaxed);
    observation.bytes_in = Some(Arc::clone(&activity.to_origin));
}

async fn pass(
    (client, sending): (Upgraded, Option<Sending>),
    origin: Upgraded,
    activity: &Activity,
    deadline: Duration,
) -> ExchangeEnd {
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (origin_read, origin_write) = tokio::io::split(TokioIo::new(origin));
    let to_origin = copy(client_read, origin_write, activity, &activity.to_origin, deadline);
    let to_client = copy(origin_read, client_write, activity, &activity.to_client, deadline);
    let cut = |_| ExchangeEnd::Cut;
    let outcome = tokio::try_join!(async { to_origin.await.map_err(cut) }, async {
        tokio::select! {
            // What ends with the copy ended well.
            biased;
            copied = to_client => copied.map_err(cut),
            () = is_reset(sending.as_ref()) => Err(ExchangeEnd::ClientLeft),
        }
    });
    match outcome {
        Ok(((), ())) => ExchangeEnd::Complete,
        Err(end) => end,
    }
}

/// Waits until the client resets its stream: of that what reads it knows nothing,
/// as it takes a reset for an end, and what writes to it only when it next does.
async fn is_reset(sending: Option<&Sending>) {
    match sending {
        Some(sending) => sending.has_ended.cancelled().await,
        None => std::future::pending().await,
    }
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
        let length = read(&mut from, &mut buffer).await?;
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

/// Waits for the first bytes and takes what else is there: frames of HTTP/2 come one
/// by one, however small they are. 0 at the end.
async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| {
        let mut space = ReadBuf::new(buffer);
        while space.remaining() > 0 {
            let before = space.filled().len();
            let polled = Pin::new(&mut *from).poll_read(context, &mut space);
            if polled.is_pending() && before > 0 {
                break;
            }
            ready!(polled)?;
            if space.filled().len() == before {
                break;
            }
        }
        Poll::Ready(Ok(space.filled().len()))
    })
    .await
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
