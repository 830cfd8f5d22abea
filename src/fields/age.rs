//! `Age` (RFC 9111 s5.1).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::{delta_seconds, list};

/// The age a response states, in seconds. The first of several members counts,
/// and one that is no number is ignored.
pub fn of(fields: &HeaderMap) -> Option<u32> {
    delta_seconds::parse(list::field_members(fields, &header::AGE).next()?)
}

/// Its value for an age, in whole seconds.
pub fn value(age: Duration) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    let seconds = digits.format(age.as_secs());
    HeaderValue::from_str(seconds).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_in_whole_seconds() {
        for (age, expected) in [(0, "0"), (999, "0"), (7_200_500, "7200")] {
            assert_eq!(value(Duration::from_millis(age)), expected);
        }
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
