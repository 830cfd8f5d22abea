//! Dates as logs write them, worked out once a second.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes dates in UTC and remembers the last second it wrote.
#[derive(Debug, Default)]
pub struct Dates {
    second: Option<u64>,
    rfc3339: String,
    clf: String,
}

impl Dates {
    /// Writes `time` as RFC 3339 with milliseconds: `2026-11-22T10:11:12.345Z`.
    pub(super) fn rfc3339(&mut self, time: SystemTime, line: &mut Vec<u8>) {
        let millis = self.move_to(time);
        line.extend_from_slice(self.rfc3339.as_bytes());
        line.extend([b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    /// Writes `time` as the common log format: `22/Nov/2026:10:11:12 +0000`.
    pub(super) fn clf(&mut self, time: SystemTime, line: &mut Vec<u8>) {
        self.move_to(time);
        line.extend_from_slice(self.clf.as_bytes());
    }

    /// Makes both texts say the second of `time`; returns its milliseconds.
    fn move_to(&mut self, time: SystemTime) -> u32 {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since_epoch.as_secs()) {
            self.second = Some(since_epoch.as_secs());
            self.spell_out(since_epoch.as_secs());
        }
        since_epoch.subsec_millis()
    }

    fn spell_out(&mut self, second: u64) {
        let date = i64::try_from(second)
            .ok()
            .and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, day) = (date.year(), date.day());
        let (hour, minute, second) = date.to_hms();
        let month = date.month() as usize;
        let name = MONTHS.get(month - 1).unwrap_or(&"-");
        self.rfc3339.clear();
        self.clf.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.rfc3339, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        let _ = write!(self.clf, "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
    }
}

/// The last decimal digit of `number`.
fn digit(number: u32) -> u8 {
    b"0123456789"[number as usize % 10]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn both(dates: &mut Dates, time: SystemTime) -> (String, String) {
        let (mut rfc3339, mut clf) = (Vec::new(), Vec::new());
        dates.rfc3339(time, &mut rfc3339);
        dates.clf(time, &mut clf);
        (String::from_utf8(rfc3339).unwrap(), String::from_utf8(clf).unwrap())
    }

    #[test]
    fn follows_the_clock_forward_and_back() {
        let mut dates = Dates::default();
        let leap = UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
        for (time, rfc3339, clf) in [
            (leap, "2024-02-29T12:34:56.007Z", "29/Feb/2024:12:34:56 +0000"),
            (leap + Duration::from_millis(990), "2024-02-29T12:34:56.997Z", "29/Feb/2024:12:34:56 +0000"),
            (leap + Duration::from_millis(993), "2024-02-29T12:34:57.000Z", "29/Feb/2024:12:34:57 +0000"),
            (leap, "2024-02-29T12:34:56.007Z", "29/Feb/2024:12:34:56 +0000"),
            (UNIX_EPOCH - Duration::from_secs(9), "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        ] {
            assert_eq!(both(&mut dates, time), (rfc3339.to_owned(), clf.to_owned()));
        }
    }
}
