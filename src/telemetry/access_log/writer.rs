//! The one thread that writes the access log. It sleeps until a buffer is
//! worth a write, or for a second, and never makes a worker wait.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use tokio::time::Instant;

use super::buffers::Buffers;
use super::output::{Output, Unwritten};
use crate::base::{Clock, SystemClock};
use crate::telemetry::{Metrics, TelemetryError};

/// No record waits longer in a buffer.
const OLDEST: Duration = Duration::from_secs(1);
/// The shortest time between two complaints about the same log.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// How long the end of the process waits for the last records.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the writer is asked to do, besides to write.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) reopen: AtomicBool,
    stop: AtomicBool,
}

/// The writing end of the access log: whoever holds it decides when the log is
/// complete. Dropping it does what [`AccessLogWriter::finish`] does.
#[derive(Debug)]
pub struct AccessLogWriter(Option<Running>);

#[derive(Debug)]
struct Running {
    orders: Arc<Orders>,
    wake: SyncSender<()>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl AccessLogWriter {
    /// A log that is not written.
    pub(super) fn off() -> Self {
        Self(None)
    }

    /// Starts the thread.
    pub(super) fn start(
        output: Output,
        buffers: Arc<Buffers>,
        orders: Arc<Orders>,
        (wake, woken): (SyncSender<()>, Receiver<()>),
        metrics: Arc<Metrics>,
    ) -> Result<Self, TelemetryError> {
        let (end, ended) = std::sync::mpsc::sync_channel(0);
        let thread = Thread {
            output,
            buffers,
            orders: Arc::clone(&orders),
            woken,
            metrics,
            complaints: Complaints::default(),
            spare: Vec::new(),
            _end: end,
        };
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || thread.run())
            .map_err(TelemetryError::Thread)?;
        Ok(Self(Some(Running { orders, wake, ended })))
    }

    /// Has everything written that was logged before, and waits for it, at most
    /// five seconds. It blocks: call it when the runtimes have ended.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        running.orders.stop.store(true, SeqCst);
        // A wake-up that is under way already is as good as this one.
        let _ = running.wake.try_send(());
        if let Err(RecvTimeoutError::Timeout) = running.ended.recv_timeout(FINISH_TIMEOUT) {
            tracing::error!("the access log takes no more records, its last ones are lost");
        }
    }
}

/// What the thread works with.
struct Thread {
    output: Output,
    buffers: Arc<Buffers>,
    orders: Arc<Orders>,
    woken: Receiver<()>,
    metrics: Arc<Metrics>,
    complaints: Complaints,
    spare: Vec<u8>,
    _end: SyncSender<()>,
}

impl Thread {
    fn run(mut self) {
        loop {
            let nobody_logs = self.woken.recv_timeout(OLDEST) == Err(RecvTimeoutError::Disconnected);
            // Read before the buffers are: what was logged before the order is written.
            let stop = nobody_logs || self.orders.stop.load(SeqCst);
            let reopen = self.orders.reopen.swap(false, SeqCst);
            self.write_buffers();
            if stop {
                return;
            }
            if reopen && let Err(error) = self.output.reopen() {
                tracing::error!(error = &error as &dyn Error, "the access log stays with its old file");
            }
        }
    }

    fn write_buffers(&mut self) {
        let Self { output, buffers, metrics, complaints, spare, .. } = self;
        buffers.take_each(spare, |lines| {
            if let Err(Unwritten { error, records }) = output.write(lines) {
                metrics.access_records_dropped.add(records);
                if let Some(records) = complaints.lost(records, SystemClock.now()) {
                    tracing::error!(error = &error as &dyn Error, records, "access records are lost");
                }
            }
        });
    }
}

/// Lost records that nobody was told of yet.
#[derive(Debug, Default)]
struct Complaints {
    untold: u64,
    last: Option<Instant>,
}

impl Complaints {
    /// Adds lost `records`; returns how many to tell of, if it is time to.
    fn lost(&mut self, records: u64, now: Instant) -> Option<u64> {
        self.untold += records;
        if self.last.is_some_and(|last| now.duration_since(last) < COMPLAINT_INTERVAL) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_come_once_a_minute_and_forget_nothing() {
        let mut complaints = Complaints::default();
        let start = SystemClock.now();
        let told: Vec<Option<u64>> = [0, 1, 59, 60, 119, 121]
            .into_iter()
            .map(|second| complaints.lost(10, start + Duration::from_secs(second)))
            .collect();
        assert_eq!(told, [Some(10), None, None, Some(30), None, Some(20)]);
    }
}
