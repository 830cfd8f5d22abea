//! How much a server that has come back is trusted with: little at first, for
//! its caches are cold and its connections closed. Pure.

use std::time::Duration;

/// In hundredths: all of its weight.
pub(super) const WARM: u32 = 100;

/// What a server begins with.
const COLD: u32 = 10;

/// Hundredths of its weight that a server gets so long after its return, where
/// all of it is reached after `slow_start`: in a straight line.
pub(super) fn warmth(since_return: Duration, slow_start: Duration) -> u32 {
    if since_return >= slow_start {
        return WARM;
    }
    let gained = since_return.as_secs_f64() / slow_start.as_secs_f64();
    COLD + (gained * f64::from(WARM - COLD)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_a_tenth_to_all_in_a_straight_line() {
        let after = |seconds| warmth(Duration::from_secs(seconds), Duration::from_secs(30));
        assert_eq!([0, 10, 15, 20, 29, 30, 3_000].map(after), [10, 40, 55, 70, 97, 100, 100]);
        assert_eq!(warmth(Duration::ZERO, Duration::ZERO), WARM);
    }
}
