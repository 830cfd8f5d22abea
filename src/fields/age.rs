//! `Age` (RFC 9111 s5.1).

use http::{HeaderMap, header};

use super::{delta_seconds, list};

/// The age a response states, in seconds. The first of several members counts,
/// and one that is no number is ignored.
pub fn of(fields: &HeaderMap) -> Option<u32> {
    delta_seconds::parse(list::field_members(fields, &header::AGE).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
