//! The log as a whole: workers, buffers and the writer.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::*;
use crate::base::{Clock, SystemClock};
use crate::config::model::AccessLogTarget;
use crate::telemetry::{Telemetry, fixtures};

fn config(access: AccessLogTarget) -> Log {
    Log { access, format: AccessLogFormat::Json, redact_query: Vec::new(), level: "info".to_owned() }
}

fn in_directory() -> (tempfile::TempDir, PathBuf, Log) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = config(AccessLogTarget::File(path.clone()));
    (directory, path, log)
}

fn ids(path: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string();
    text.lines().map(id).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(20);
    while !holds() {
        assert!(SystemClock.now() < deadline, "{what} did not come");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn every_record_of_four_threads_is_one_line() {
    let (_directory, path, log) = in_directory();
    let (telemetry, writer) = Telemetry::start(&log).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let telemetry = &telemetry;
            scope.spawn(move || {
                (0..1000).for_each(|n| telemetry.finish(&fixtures::record_with_id(thread * 1000 + n)));
            });
        }
    });
    writer.finish();
    let mut ids = ids(&path);
    assert_eq!(ids.len(), 4000);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4000);
    assert_eq!(telemetry.metrics.access_records_dropped.value(), 0);
}

#[test]
fn a_record_has_the_name_of_its_site() {
    let (_directory, path, log) = in_directory();
    let (telemetry, writer) = Telemetry::start(&log).unwrap();
    let site = ["a.test", "b.test"].map(|name| telemetry.metrics.number(&name.into()))[1];
    for site in [Some(site), None] {
        telemetry.finish(&ExchangeRecord { site, ..fixtures::record() });
    }
    writer.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    let sites =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["site"].clone());
    assert_eq!(sites.collect::<Vec<_>>(), [serde_json::json!("b.test"), serde_json::Value::Null]);
}

#[test]
fn a_lone_record_is_written_by_and_by() {
    let (_directory, path, log) = in_directory();
    let (telemetry, _writer) = Telemetry::start(&log).unwrap();
    telemetry.finish(&fixtures::record());
    wait_until("the record", || ids(&path).len() == 1);
}

#[test]
fn a_renamed_file_is_left_and_a_new_one_begun() {
    let (directory, path, log) = in_directory();
    let (telemetry, writer) = Telemetry::start(&log).unwrap();
    telemetry.finish(&fixtures::record_with_id(1));
    let rotated = directory.path().join("access.log.1");
    std::fs::rename(&path, &rotated).unwrap();
    telemetry.reopen();
    wait_until("the new file", || path.exists());
    telemetry.finish(&fixtures::record_with_id(2));
    writer.finish();
    assert_eq!((ids(&rotated).len(), ids(&path).len()), (1, 1));
}

#[test]
fn where_a_file_cannot_be_opened_again_the_old_one_stays() {
    let (directory, path, log) = in_directory();
    let (telemetry, writer) = Telemetry::start(&log).unwrap();
    let away = directory.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    telemetry.reopen();
    telemetry.finish(&fixtures::record());
    writer.finish();
    assert_eq!(ids(&away).len(), 1);
}

#[test]
fn without_a_log_exchanges_are_counted_all_the_same() {
    let (telemetry, writer) = Telemetry::start(&config(AccessLogTarget::Off)).unwrap();
    telemetry.finish(&fixtures::record());
    telemetry.reopen();
    writer.finish();
    assert_eq!(telemetry.metrics.without_site.responses[2].value(), 1);
}

/// Says that a write has begun and takes nothing until it is let go.
struct Stuck {
    begun: SyncSender<()>,
    release: Receiver<()>,
    lines: SyncSender<usize>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.try_send(());
        let _ = self.release.recv();
        let _ = self.lines.try_send(bytes.iter().filter(|byte| **byte == b'\n').count());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_falls_behind_costs_records_and_no_time() {
    let (begun, has_begun) = sync_channel(1);
    let (release, released) = sync_channel::<()>(0);
    let (lines, written) = sync_channel(100);
    let output = Output::new(Box::new(Stuck { begun, release: released, lines }));
    let metrics = Arc::default();
    let (log, writer) = AccessLog::start_with(output, &config(AccessLogTarget::Off), &metrics).unwrap();
    log.append(&fixtures::record(), "");
    has_begun.recv_timeout(Duration::from_secs(20)).unwrap();
    let mut logged = 1;
    while metrics.access_records_dropped.value() < 100 {
        log.append(&fixtures::record(), "");
        logged += 1;
    }
    assert!(log.buffers.with_own(|lines| lines.bytes.len()) < FULL + 1024);
    drop(release);
    writer.finish();
    assert_eq!(written.try_iter().sum::<usize>(), logged - 100);
    assert_eq!(metrics.limits[Limit::AccessLog as usize].value(), 100);
}
