//! Something that only some may know.

use std::fmt;

use aws_lc_rs::constant_time;

/// A secret, which no log and no dump of a configuration shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for who computes with them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the same bytes. How long that takes tells nothing but whether
    /// there are as many of them.
    pub fn is(&self, other: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, other).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_and_not_shown() {
        let secret = Secret::new(b"0123456789abcdef");
        assert!(secret.is(b"0123456789abcdef"));
        for other in [&b""[..], b"0123456789abcdeF", b"0123456789abcde", b"0123456789abcdef "] {
            assert!(!secret.is(other));
        }
        assert_eq!(format!("{secret:?}"), "Secret(...)");
    }
}
