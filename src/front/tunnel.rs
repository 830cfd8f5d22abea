//! After a change of protocols: bytes both ways, until both ends close, nothing
//! passes for too long, or the edge stops.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::observe::Observation;
use crate::base::Clock;
use crate::config::model::Limits;
use crate::exchange::{ExchangeEnd, OpenEnd, Tunnel};
use crate::telemetry::metrics::Limit;

/// Bytes on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// How long the client's end may take to change protocols after the 101.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nothing may pass once one end has closed: the other one may still have
/// something to say, but not everyone closes in return.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(30);

/// A client's end of a tunnel, once it has changed protocols.
pub(super) enum ClientEnd {
    /// The connection.
    Http1(OnUpgrade),
    /// One of its streams.
    Http2(oneshot::Receiver<OpenEnd>),
}

impl ClientEnd {
    async fn open(self) -> io::Result<OpenEnd> {
        match self {
            Self::Http1(upgrade) => OpenEnd::of_upgrade(upgrade).await,
            Self::Http2(opened) => opened.await.map_err(io::Error::other),
        }
    }
}

/// Joins the two ends of a tunnel and finishes its exchange when it ends.
pub(super) async fn join(client: ClientEnd, origin: Tunnel, mut observation: Box<Observation>) {
    let front = Arc::clone(&observation.client.front);
    let metrics = &front.telemetry.metrics;
    let Tunnel { end: origin, carrier: _carrier } = origin;
    let client = match tokio::time::timeout(SWITCH_TIMEOUT, client.open()).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no tunnel");
            observation.record.end = ExchangeEnd::ClientLeft;
            return;
        }
        Err(_) => return,
    };
    metrics.tunnels_open.add(1);
    let activity = Activity::new(Arc::clone(&front.clock));
    let limits = front.limits();
    let ended = tokio::select! {
        ended = pass(client, origin, &activity, &limits) => ended,
        () = activity.ceases_for(limits.tunnel_idle) => Err(Limit::TunnelIdle),
        // As far as anybody can tell it has ended.
        () = activity.ends_for(HALF_CLOSED_IDLE) => Ok(ExchangeEnd::Complete),
    };
    metrics.tunnels_open.add(-1);
    observation.record.end = ended.unwrap_or_else(|limit| {
        metrics.limit(limit);
        ExchangeEnd::Cut
    });
    observation.record.bytes_out = activity.to_client.load(Relaxed);
    observation.bytes_in = Some(Arc::clone(&activity.to_origin));
}

/// How it ended, or the limit that ended it.
async fn pass(
    client: OpenEnd,
    mut origin: OpenEnd,
    activity: &Activity,
    limits: &Limits,
) -> Result<ExchangeEnd, Limit> {
    let to_client =
        Way { count: &activity.to_client, deadline: limits.write_timeout, limit: Limit::WriteTimeout };
    // An origin server may take its time.
    let to_origin =
        Way { count: &activity.to_origin, deadline: limits.tunnel_idle, limit: Limit::TunnelIdle };
    // Kept to the end: to drop a writer resets its stream, too, which is no leaving.
    let OpenEnd { mut reader, mut writer, mut leaves } = client;
    let both = async {
        tokio::try_join!(
            copy(&mut reader, &mut origin.writer, activity, to_origin),
            copy(&mut origin.reader, &mut writer, activity, to_client),
        )
    };
    tokio::select! {
        // What ends with the copies ended well.
        biased;
        copied = both => match copied {
            Ok(_) => Ok(ExchangeEnd::Complete),
            Err(Stop::Untaken(limit)) => Err(limit),
            Err(_) if leaves.as_mut().now_or_never().is_some() => Ok(ExchangeEnd::ClientLeft),
            Err(Stop::Failed(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a tunnel broke");
                Ok(ExchangeEnd::Cut)
            }
        },
        () = &mut leaves => Ok(ExchangeEnd::ClientLeft),
    }
}

/// One direction of a tunnel.
struct Way<'a> {
    count: &'a AtomicU64,
    /// How long its end may take nothing of what it is sent, and the limit that says so.
    deadline: Duration,
    limit: Limit,
}

/// Why no more is passed on.
#[derive(Debug)]
enum Stop {
    Failed(io::Error),
    /// The end took nothing in time.
    Untaken(Limit),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
    way: Way<'_>,
) -> Result<(), Stop> {
    let mut buffer = vec![0; BUFFER];
    let mut failed = None;
    loop {
        let length = read(&mut from, &mut buffer, &mut failed).await?;
        activity.touch();
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let written = way.in_time(to.write(rest)).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            activity.touch();
            rest = &rest[written..];
        }
        way.count.fetch_add(length as u64, Relaxed);
        if length == 0 {
            way.in_time(to.shutdown()).await?;
            activity.half_closed.notify_one();
            return Ok(());
        }
        way.in_time(to.flush()).await?;
        activity.touch();
    }
}

impl Way<'_> {
    async fn in_time<T>(&self, step: impl Future<Output = io::Result<T>>) -> Result<T, Stop> {
        match tokio::time::timeout(self.deadline, step).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Stop::Untaken(self.limit)),
        }
    }
}

/// Waits for the first bytes and takes what else is there: frames of HTTP/2 come one
/// by one, however small they are. 0 at the end. An error behind bytes has `failed` until
/// these were passed on.
async fn read(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    failed: &mut Option<io::Error>,
) -> io::Result<usize> {
    if let Some(error) = failed.take() {
        return Err(error);
    }
    poll_fn(|context| {
        let mut space = ReadBuf::new(buffer);
        while space.remaining() > 0 {
            let before = space.filled().len();
            match Pin::new(&mut *from).poll_read(context, &mut space) {
                Poll::Pending if before > 0 => break,
                Poll::Ready(Err(error)) if before > 0 => {
                    *failed = Some(error);
                    break;
                }
                polled => ready!(polled)?,
            }
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
    half_closed: Notify,
    to_client: Arc<AtomicU64>,
    to_origin: Arc<AtomicU64>,
}

impl Activity {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let opened = clock.now();
        Self {
            clock,
            opened,
            last: AtomicU64::new(0),
            half_closed: Notify::new(),
            to_client: Arc::default(),
            to_origin: Arc::default(),
        }
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

    /// Waits until one end has closed and nothing has passed for as long.
    async fn ends_for(&self, idle: Duration) {
        self.half_closed.notified().await;
        self.ceases_for(idle).await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::base::SystemClock;

    /// Bytes, and an error that comes with them.
    struct Broken(&'static [u8]);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            into.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_passed_on() {
        let activity = Activity::new(Arc::new(SystemClock));
        let mut received = Vec::new();
        let copied = copy(Broken(b"last words"), &mut received, &activity, way(&activity.to_origin, 1));
        let Err(Stop::Failed(error)) = copied.await else { panic!("it did not fail") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(received, b"last words");
    }

    fn way(count: &AtomicU64, seconds: u64) -> Way<'_> {
        Way { count, deadline: Duration::from_secs(seconds), limit: Limit::WriteTimeout }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_waited_for() {
        let activity = Activity::new(Arc::new(SystemClock));
        let (near, mut far) = tokio::io::duplex(1);
        let sent = [7; 30];
        let copied = copy(&sent[..], near, &activity, way(&activity.to_client, 10));
        let taken = async {
            let mut taken = Vec::new();
            while let Ok(byte) = far.read_u8().await {
                taken.push(byte);
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            taken
        };
        let (copied, taken) = tokio::join!(copied, taken);
        assert!(copied.is_ok());
        assert_eq!(taken, sent);

        let (near, _far) = tokio::io::duplex(1);
        let copied = copy(&sent[..], near, &activity, way(&activity.to_client, 10)).await;
        assert!(matches!(copied, Err(Stop::Untaken(Limit::WriteTimeout))), "{copied:?}");
    }
}
