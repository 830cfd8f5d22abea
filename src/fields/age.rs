//! `Age` (RFC 9111 s5.1).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::{delta_seconds, list};

/// The age a response states, in seconds. The first of several members counts,
/// and one that is no number is ignored.
pub fn of(fields: &HeaderMap) -> Option<u32> {
    delta_seconds::parse(list::field_members(fields, &header::AGE).next()?)
}

/// The value that states an age, in whole seconds.
#[expect(clippy::expect_used, reason = "digits are field content")]
pub fn value(age: Duration) -> HeaderValue {
    // By `HeaderValue::from` a number takes two allocations, and this is in each hit.
    HeaderValue::from_str(itoa::Buffer::new().format(age.as_secs())).expect("a field value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_is_read() {
        for seconds in [0, 7, 7200, 2_147_483_648] {
            let fields =
                HeaderMap::from_iter([(header::AGE, value(Duration::from_millis(seconds * 1000 + 999)))]);
            assert_eq!(of(&fields).map(u64::from), Some(seconds));
        }
        assert_eq!(value(Duration::MAX), u64::MAX.to_string().as_str());
    }

    #[test]
    fn the_first_member_counts_and_nonsense_is_ignored() {
        for (lines, expected) in [
            (&[][..], None),
            (&["0"], Some(0)),
            (&["7200"], Some(7200)),
            (&["7200, 0"], Some(7200)),
            (&["0", "7200"], Some(0)),
            (&["2147483649"], Some(delta_seconds::MAX)),
            (&["abc"], None),
            (&["-7200"], None),
            (&["7200.0"], None),
            (&["7200;a=1"], None),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(header::AGE, line.parse().unwrap());
            }
            assert_eq!(of(&fields), expected, "{lines:?}");
        }
    }
}
