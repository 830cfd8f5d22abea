//! The access log: one line for each exchange, put into a buffer of the worker
//! thread and written by a thread of its own. For a record a worker makes no
//! system call and waits for nothing; where the writer falls behind, records
//! are dropped and counted.

mod buffers;
mod combined;
mod dates;
mod json;
mod output;
mod redact;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{SyncSender, sync_channel};

use http::HeaderValue;

use self::buffers::{Buffers, Lines};
pub use self::combined::format_combined;
pub use self::dates::Dates;
pub use self::json::format_json;
use self::output::Output;
pub use self::redact::Redaction;
pub use self::writer::AccessLogWriter;
use self::writer::Orders;
use super::metrics::Limit;
use super::{Metrics, TelemetryError};
use crate::config::model::{AccessLogFormat, Log};
use crate::exchange::ExchangeRecord;

/// A buffer of this many bytes is worth a write.
const WORTH_A_WRITE: usize = 256 << 10;
/// A buffer of this many bytes takes no further record.
const FULL: usize = 1 << 20;

/// The end of the access log that workers hold.
#[derive(Debug)]
pub(super) struct AccessLog {
    format: AccessLogFormat,
    redaction: Redaction,
    buffers: Arc<Buffers>,
    orders: Arc<Orders>,
    wake: SyncSender<()>,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    /// Opens the log and starts its writer; `None` where the config wants none.
    pub(super) fn start(
        log: &Log,
        metrics: &Arc<Metrics>,
    ) -> Result<(Option<Self>, AccessLogWriter), TelemetryError> {
        match Output::open(&log.access)? {
            Some(output) => Self::start_with(output, log, metrics).map(|(log, writer)| (Some(log), writer)),
            None => Ok((None, AccessLogWriter::off())),
        }
    }

    fn start_with(
        output: Output,
        log: &Log,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, AccessLogWriter), TelemetryError> {
        let (wake, woken) = sync_channel(1);
        let access_log = Self {
            format: log.format,
            redaction: Redaction::new(&log.redact_query),
            buffers: Arc::default(),
            orders: Arc::default(),
            wake: wake.clone(),
            metrics: Arc::clone(metrics),
        };
        let (buffers, orders) = (Arc::clone(&access_log.buffers), Arc::clone(&access_log.orders));
        let writer = AccessLogWriter::start(output, buffers, orders, (wake, woken), Arc::clone(metrics))?;
        Ok((access_log, writer))
    }

    /// Logs one exchange with the name of its `site`, which is empty where it has none, or
    /// drops it and counts that.
    pub(super) fn append(&self, record: &ExchangeRecord, site: &str) {
        let redaction = &self.redaction;
        let worth_a_write = self.buffers.with_own(|Lines { bytes, dates }| {
            let before = bytes.len();
            if before >= FULL {
                self.metrics.access_records_dropped.increment();
                self.metrics.limit(Limit::AccessLog);
                return false;
            }
            match self.format {
                AccessLogFormat::Json => format_json((record, site), bytes, redaction, dates),
                AccessLogFormat::Combined => format_combined(record, bytes, redaction, dates),
            }
            before < WORTH_A_WRITE && bytes.len() >= WORTH_A_WRITE
        });
        if worth_a_write {
            self.wake();
        }
    }

    /// Has the writer open its file anew.
    pub(super) fn reopen(&self) {
        self.orders.reopen.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        // A full channel is a wake-up that is under way already.
        let _ = self.wake.try_send(());
    }
}

/// The bytes of a field value that was sent and is not empty.
fn field_bytes(value: Option<&HeaderValue>) -> Option<&[u8]> {
    value.map(HeaderValue::as_bytes).filter(|value| !value.is_empty())
}
