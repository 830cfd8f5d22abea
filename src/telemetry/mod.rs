//! What is told about the traffic: metrics and the access log, both off the
//! way of a request, and the set-up of diagnostics.

pub mod access_log;
pub mod diagnostics;
#[cfg(test)]
mod fixtures;
pub mod metrics;
pub mod prometheus;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::access_log::AccessLog;
pub use self::access_log::AccessLogWriter;
pub use self::metrics::Metrics;
use crate::config::model::Log;
use crate::exchange::ExchangeRecord;

/// Counts and logs exchanges.
#[derive(Debug)]
pub struct Telemetry {
    /// Everything that is counted, of exchanges and of all else.
    pub metrics: Arc<Metrics>,
    access_log: Option<AccessLog>,
}

/// The access log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Its file cannot be opened or made.
    #[error("cannot open the access log {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The standard stream is closed.
    #[error("cannot use the standard stream for the access log")]
    Stream(#[source] io::Error),
    /// Its thread cannot be started.
    #[error("cannot start the thread that writes the access log")]
    Thread(#[source] io::Error),
}

impl Telemetry {
    /// Opens the access log and starts the thread that writes it. Keep the
    /// writer until the last exchange has ended, then finish it.
    pub fn start(log: &Log) -> Result<(Arc<Self>, AccessLogWriter), TelemetryError> {
        let metrics = Arc::default();
        let (access_log, writer) = AccessLog::start(log, &metrics)?;
        Ok((Arc::new(Self { metrics, access_log }), writer))
    }

    /// Counts and logs one exchange: to be called once for each. It takes no
    /// lock that another worker holds and never blocks.
    pub fn finish(&self, record: &ExchangeRecord) {
        self.metrics.with_site(record.site, |site| {
            site.count(record);
            if let Some(log) = &self.access_log {
                log.append(record, &site.name);
            }
        });
    }

    /// Has the file of the access log opened anew, after it was renamed.
    /// Records that were finished before go to the old one.
    pub fn reopen(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }
}
