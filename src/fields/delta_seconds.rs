//! `delta-seconds` (RFC 9111 s1.2.2).

/// What larger numbers count as: 2^31.
pub const MAX: u32 = 1 << 31;

/// A number of seconds; one that is too large to hold counts as [`MAX`].
/// `None` if it is anything but digits.
pub fn parse(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |seconds, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        Some(seconds.saturating_mul(10).saturating_add(digit).min(MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_number_and_large_ones_are_capped() {
        for (text, expected) in [
            ("0", Some(0)),
            ("003600", Some(3600)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(MAX)),
            ("2147483649", Some(MAX)),
            ("99999999999999999999999999", Some(MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1s", None),
            (" 1", None),
            ("99999999999x", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
