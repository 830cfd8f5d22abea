//! `Retry-After` (RFC 9110 s10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::{date, delta_seconds};

/// How long a response asks to wait, as of `now`. `None` where it does not, or
/// means a time that is over.
pub fn of(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = fields.get(header::RETRY_AFTER)?.as_bytes().trim_ascii();
    let wait = match delta_seconds::parse(value) {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None => date::parse(value)?.duration_since(now).ok()?,
    };
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_what_is_over_is_no_wait() {
        let now = date::parse(b"Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 1 ", Some(1)),
            ("0", None),
            ("Sun, 22 Nov 2026 10:01:00 GMT", Some(60)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", None),
            ("99999999999999999999", Some(1 << 31)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let fields = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(of(&fields, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(of(&HeaderMap::new(), now), None);
    }
}
