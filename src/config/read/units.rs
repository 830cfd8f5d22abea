//! Durations, sizes, rates and percentages: text with a unit, both ways.

use std::time::Duration;

use super::Fault;
use crate::config::model::Frequency;

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A duration such as `10s`, `500ms` or `1h30m`, the larger units first.
pub(crate) fn duration(text: &str) -> Result<Duration, Fault> {
    let mut rest = text;
    let mut sum: u64 = 0;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(|| {
            Fault::new("not a duration").help("write it as \"10s\", \"500ms\" or \"1h30m\"")
        })?;
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
            Fault::new(unit_fault(unit))
                .help(format!("the units are ms, s, m, h and d: \"{}s\"", number_text(rest)))
        })?;
        if *factor >= smaller_than {
            return Err(Fault::new("units out of order").help("the larger unit comes first: \"1h30m\""));
        }
        smaller_than = *factor;
        sum = number.checked_mul(*factor).and_then(|part| sum.checked_add(part)).ok_or_else(too_large)?;
        rest = after;
    }
    Ok(Duration::from_millis(sum))
}

/// A size in bytes such as `8KiB`, `100MB` or `512B`.
pub(crate) fn size(text: &str) -> Result<u64, Fault> {
    let Some((number, unit, "")) = number_and_unit(text) else {
        return Err(Fault::new("not a size").help("write it as \"512B\", \"8KiB\" or \"100MiB\""));
    };
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let meant = SIZE_UNITS.iter().find(|(name, _)| {
            name.eq_ignore_ascii_case(unit)
                || name.strip_suffix("iB").is_some_and(|k| k.eq_ignore_ascii_case(unit))
        });
        let unit_meant = meant.map_or("MiB", |(name, _)| name);
        return Err(Fault::new(unit_fault(unit)).help(format!(
            "the units are B, KiB, MiB, GiB, TiB and KB, MB, GB, TB: \"{}{unit_meant}\"",
            number_text(text)
        )));
    };
    number.checked_mul(*factor).ok_or_else(too_large)
}

/// Bytes a second, such as `500B/s`.
pub(crate) fn rate(text: &str) -> Result<u64, Fault> {
    let how = "write it as \"500B/s\" or \"8KiB/s\"";
    let amount = text.strip_suffix("/s").ok_or_else(|| Fault::new("not a rate").help(how))?;
    size(amount).map_err(|fault| Fault::new(fault.reason).help(how))
}

/// How often something may happen, such as `100/10s`.
pub(crate) fn frequency(text: &str) -> Result<Frequency, Fault> {
    let how = "write it as \"100/10s\"";
    let fault = || Fault::new("not a number of times within a duration").help(how);
    let (times, within) = text.split_once('/').ok_or_else(fault)?;
    let is_number = !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit());
    let times = times.parse().ok().filter(|times| is_number && *times > 0).ok_or_else(fault)?;
    let within = duration(within).map_err(|fault| Fault::new(fault.reason).help(how))?;
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    if !range.contains(&within) {
        return Err(Fault::new("out of range").help("the duration is between 1s and 1h"));
    }
    Ok(Frequency { times, within })
}

/// A percentage, such as `20%`.
pub(crate) fn percent(text: &str) -> Result<u32, Fault> {
    text.strip_suffix('%')
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Fault::new("not a percentage").help("write it as \"20%\""))
}

/// A duration as a user would write it.
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size as a user would write it: the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// The number at the beginning, the letters after it, and what is left. A
/// number that does not fit is as large as can be.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let (digits, after) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if digits.is_empty() {
        return None;
    }
    let (unit, rest) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
    let starts_another = rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit());
    starts_another.then(|| (digits.parse().unwrap_or(u64::MAX), unit, rest))
}

fn number_text(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(text)
}

fn unit_fault(unit: &str) -> String {
    if unit.is_empty() { "a number without a unit".to_owned() } else { format!("unknown unit `{unit}`") }
}

fn too_large() -> Fault {
    Fault::new("too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_none() {
        for (text, reason) in [
            ("", "not a duration"),
            ("s", "not a duration"),
            ("-1s", "not a duration"),
            ("1.5h", "not a duration"),
            ("10 s", "not a duration"),
            ("10", "a number without a unit"),
            ("10sec", "unknown unit `sec`"),
            ("10µs", "unknown unit `µs`"),
            ("30m1h", "units out of order"),
            ("1s1s", "units out of order"),
            ("18446744073709551615s", "too large"),
            ("99999999999999999999999d", "too large"),
        ] {
            assert_eq!(duration(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
        assert_eq!(
            duration("75").unwrap_err().help.as_deref(),
            Some("the units are ms, s, m, h and d: \"75s\"")
        );
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("8KiB", 8192),
            ("8KB", 8000),
            ("100MiB", 100 << 20),
            ("1GiB", 1 << 30),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_none() {
        for (text, reason) in [
            ("", "not a size"),
            ("MiB", "not a size"),
            ("-1MiB", "not a size"),
            ("1.5GiB", "not a size"),
            ("1GiB5MiB", "not a size"),
            ("100", "a number without a unit"),
            ("100mib", "unknown unit `mib`"),
            ("99999999TiB", "too large"),
        ] {
            assert_eq!(size(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
        assert!(size("8k").unwrap_err().help.unwrap().ends_with("\"8KiB\""));
        assert!(size("8gib").unwrap_err().help.unwrap().ends_with("\"8GiB\""));
    }

    #[test]
    fn rates_and_percentages() {
        assert_eq!(rate("500B/s"), Ok(500));
        assert_eq!(rate("1KiB/s"), Ok(1024));
        assert!(rate("500B").is_err());
        assert!(rate("500/s").is_err());
        let ten_seconds = Duration::from_secs(10);
        assert_eq!(frequency("100/10s"), Ok(Frequency { times: 100, within: ten_seconds }));
        for wrong in ["100", "100/", "/10s", "+1/10s", "0/10s", "100/10", "1/1ms", "1/2h", "99999999999/10s"]
        {
            assert!(frequency(wrong).is_err(), "{wrong}");
        }
        assert_eq!(percent("20%"), Ok(20));
        for wrong in ["20", "%", "-1%", "+1%", "2.5%", "99999999999%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for millis in [0, 1, 999, 1_000, 61_001, 5_400_000, 86_400_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&duration_text(value)), Ok(value));
        }
        for bytes in [0, 1, 1000, 1023, 1024, 8192, 1 << 30, 1_500_000] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }
        assert_eq!(size_text(8192), "8KiB");
        assert_eq!(duration_text(Duration::from_secs(5400)), "1h30m");
    }
}
