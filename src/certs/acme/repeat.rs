//! Which failures of a step are passed over within the same order, and how
//! often: those that say nothing of the order (RFC 8555 s6.5, s6.6).

use std::time::Duration;

use super::transport::RetryAfter;
use crate::certs::error::CertError;

/// The pause before a step is taken again; the next one is twice as long, up to
/// the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// A step that fails is taken again at most so often.
const MOST: u32 = 10;

/// How often a step was taken again.
#[derive(Debug, Default)]
pub(super) struct Repeats(u32);

impl Repeats {
    /// Waits for the time after which a step that failed so is taken again;
    /// false if it is not, for that would change nothing, or the server asks for
    /// a time of its own.
    pub(super) async fn pause(&mut self, error: &CertError, retry_after: &RetryAfter) -> bool {
        let Some(pause) = self.next(error, retry_after.asked()) else { return false };
        tracing::debug!(reason = error.story(), ?pause, "a step of an ACME order is taken again");
        tokio::time::sleep(pause).await;
        true
    }

    fn next(&mut self, error: &CertError, asked: Option<Duration>) -> Option<Duration> {
        if self.0 == MOST || asked.is_some() || !error.is_passing() {
            return None;
        }
        self.0 += 1;
        Some((FIRST_PAUSE * (1 << (self.0 - 1))).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use instant_acme::{Error, Problem};

    use super::*;

    fn problem(kind: &str, status: u16) -> CertError {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let text = serde_json::json!({ "type": kind, "detail": "x", "status": status });
        CertError::Acme(Error::Api(serde_json::from_value::<Problem>(text).unwrap()))
    }

    #[test]
    fn what_passes_is_waited_out() {
        let broken = || CertError::Acme(Error::Other("connection reset".into()));
        let garbage = || CertError::Acme(Error::Json(serde_json::from_str::<u8>("<html>").unwrap_err()));
        for passing in [problem("badNonce", 400), problem("serverInternal", 503), broken(), garbage()] {
            let mut repeats = Repeats::default();
            let pauses: Vec<_> =
                std::iter::from_fn(|| repeats.next(&passing, None)).map(|pause| pause.as_secs()).collect();
            assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32, 32, 32], "{passing}");
            assert_eq!(Repeats::default().next(&passing, Some(Duration::ZERO)), None, "{passing}");
        }
        for lasting in
            [problem("rateLimited", 429), problem("rejectedIdentifier", 400), CertError::OrderDeadline]
        {
            assert_eq!(Repeats::default().next(&lasting, None), None, "{lasting}");
        }
    }
}
