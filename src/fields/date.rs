//! `HTTP-date` (RFC 9110 s5.6.7), read in its three forms and written in one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::HttpDate;

/// No form is longer: `Wednesday, 06-Nov-94 08:49:37 GMT`.
const LONGEST: usize = 33;

/// The last second that can be written: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// The names of days, as two forms shorten them and the third does not.
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A date in any of the three forms. Names of days and months and the zone may
/// be in any case (RFC 9111 s4.2); any other zone than GMT, and any other
/// spacing, makes it invalid. Years of two digits are those from 1970 to 2069. A
/// day of the week that is not that of the date says nothing: the date counts.
pub fn parse(text: &[u8]) -> Option<SystemTime> {
    let text = text.trim_ascii();
    let mut written = [0; LONGEST];
    let written = written.get_mut(..text.len())?;
    let mut inside_word = false;
    for (to, from) in written.iter_mut().zip(text) {
        *to = if inside_word { from.to_ascii_lowercase() } else { from.to_ascii_uppercase() };
        inside_word = from.is_ascii_alphabetic();
    }
    if let Some(zone) = written.last_chunk_mut::<4>().filter(|zone| *zone == b" Gmt") {
        *zone = *b" GMT";
    }
    let text = std::str::from_utf8(written).ok()?;
    let date = text.parse::<HttpDate>().ok().or_else(|| on_its_own_day(text))?;
    Some(SystemTime::from(date))
}

/// The date without regard to the day of the week it names.
fn on_its_own_day(text: &str) -> Option<HttpDate> {
    let (day, rest) = text.split_at(text.find([',', ' '])?);
    let is_long = DAYS.contains(&day);
    if !is_long && !DAYS.iter().any(|name| name.get(..3) == Some(day)) {
        return None;
    }
    let names = DAYS.iter().filter_map(|name| if is_long { Some(*name) } else { name.get(..3) });
    names.filter_map(|name| format!("{name}{rest}").parse().ok()).next()
}

/// The date of a field value, see [`parse`].
pub fn of(value: &HeaderValue) -> Option<SystemTime> {
    parse(value.as_bytes())
}

/// A date as a field value. What lies outside 1970 to 9999 becomes the nearest
/// date inside.
pub fn value(time: SystemTime) -> HeaderValue {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().min(LAST));
    let written = HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    HeaderValue::from_maybe_shared(bytes::Bytes::from(written))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_in_any_case_are_the_same_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 nov 1994 08:49:37 gmt",
            "sunday, 06-NOV-94 08:49:37 Gmt",
            "sUN nOV  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(UNIX_EPOCH + Duration::from_secs(784_111_777)), "{text}");
        }
        assert!(parse(b"Wednesday, 09-Nov-94 08:49:37 GMT").is_some());
        for text in
            ["Mon, 06 Nov 1994 08:49:37 GMT", "wednesday, 06-Nov-94 08:49:37 GMT", "Sat Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes()), parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Monday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 N\u{f6}v 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn written_dates_are_read_again_and_never_panic() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (LAST + 5, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(value(UNIX_EPOCH + Duration::from_secs(seconds)), text);
            assert_eq!(
                of(&HeaderValue::from_static(text)),
                Some(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST)))
            );
        }
        assert_eq!(value(UNIX_EPOCH - Duration::from_secs(5)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    proptest! {
        #[test]
        fn every_written_date_is_read_again(seconds in 0..=LAST) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(of(&value(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>, near in "[A-Z][a-z]{2,8},? [0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9:. ]{8} [A-Z]{3}") {
            let _ = (parse(&text), parse(near.as_bytes()));
        }
    }
}
