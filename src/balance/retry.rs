//! Whether a request that failed is sent once more (RFC 9110 s9.2.2). Pure.

use std::time::Duration;

use http::StatusCode;

use crate::config::model::{Retry, RetryOn};
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::proxy_status::ProxyErrorType as Kind;

/// What came of sending a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending<'a> {
    /// A response.
    Answered(StatusCode),
    /// None.
    Failed(&'a FetchError),
}

/// What matters of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Processing it twice does no harm.
    pub(super) is_idempotent: bool,
    /// All of it can be sent again.
    pub(super) is_at_hand: bool,
    /// How often it was sent.
    pub(super) number: u32,
    /// Since it was sent first.
    pub(super) elapsed: Duration,
}

/// True if `policy` lets the request be sent once more after `ending`; the
/// budget is asked afterwards.
pub(super) fn may_retry(ending: Ending<'_>, attempt: Attempt, policy: &Retry) -> bool {
    let is_safe = match ending {
        Ending::Answered(_) => attempt.is_idempotent,
        Ending::Failed(error) => match error.progress {
            RequestProgress::NotSent => true,
            RequestProgress::Sent => attempt.is_idempotent,
            RequestProgress::Answered => false,
        },
    };
    is_safe
        && attempt.is_at_hand
        && attempt.number <= policy.times
        && attempt.elapsed < policy.within
        && reason(ending).is_some_and(|reason| policy.on.contains(&reason))
}

/// The reason to try again that `ending` is.
fn reason(ending: Ending<'_>) -> Option<RetryOn> {
    let error = match ending {
        Ending::Answered(status) => return Some(RetryOn::Status(status)),
        Ending::Failed(error) if error.request_body.is_some() => return None,
        Ending::Failed(error) => error,
    };
    match error.kind {
        Kind::ConnectionRefused
        | Kind::ConnectionTimeout
        | Kind::TlsProtocolError
        | Kind::TlsCertificateError => Some(RetryOn::Connect),
        Kind::ConnectionTerminated => Some(RetryOn::Reset),
        Kind::HttpResponseTimeout | Kind::ConnectionReadTimeout | Kind::ConnectionWriteTimeout => {
            Some(RetryOn::Timeout)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::BodyError;

    const GET: Attempt =
        Attempt { is_idempotent: true, is_at_hand: true, number: 1, elapsed: Duration::ZERO };
    const POST: Attempt = Attempt { is_idempotent: false, ..GET };

    fn policy(on: &[RetryOn]) -> Retry {
        Retry { times: 2, within: Duration::from_secs(10), on: on.to_vec(), budget_percent: 20 }
    }

    fn after(kind: Kind, progress: RequestProgress, attempt: Attempt, on: &[RetryOn]) -> bool {
        may_retry(Ending::Failed(&FetchError::new(kind, progress)), attempt, &policy(on))
    }

    #[test]
    fn what_was_not_sent_may_be_sent_by_any_method() {
        for attempt in [GET, POST] {
            let refused = (Kind::ConnectionRefused, RequestProgress::NotSent);
            assert!(after(refused.0, refused.1, attempt, &[RetryOn::Connect]));
            assert!(!after(refused.0, refused.1, attempt, &[RetryOn::Reset]));
        }
    }

    #[test]
    fn what_was_sent_may_be_sent_again_if_idempotent() {
        let on = [RetryOn::Reset];
        assert!(after(Kind::ConnectionTerminated, RequestProgress::Sent, GET, &on));
        assert!(!after(Kind::ConnectionTerminated, RequestProgress::Sent, POST, &on));
    }

    #[test]
    fn what_was_answered_is_never_sent_again() {
        let on = [RetryOn::Reset, RetryOn::Connect, RetryOn::Timeout];
        for kind in [Kind::ConnectionTerminated, Kind::HttpResponseTimeout, Kind::HttpProtocolError] {
            assert!(!after(kind, RequestProgress::Answered, GET, &on));
        }
    }

    #[test]
    fn a_status_counts_where_it_is_listed() {
        let on = policy(&[RetryOn::Status(StatusCode::BAD_GATEWAY)]);
        assert!(may_retry(Ending::Answered(StatusCode::BAD_GATEWAY), GET, &on));
        assert!(!may_retry(Ending::Answered(StatusCode::BAD_GATEWAY), POST, &on));
        assert!(!may_retry(Ending::Answered(StatusCode::OK), GET, &on));
    }

    #[test]
    fn tries_time_and_content_are_bounded() {
        let on = [RetryOn::Connect];
        let refused = |attempt| after(Kind::ConnectionRefused, RequestProgress::NotSent, attempt, &on);
        assert!(refused(Attempt { number: 2, ..GET }));
        assert!(!refused(Attempt { number: 3, ..GET }));
        assert!(!refused(Attempt { elapsed: Duration::from_secs(10), ..GET }));
        assert!(!refused(Attempt { is_at_hand: false, ..GET }));
    }

    #[test]
    fn a_failure_of_the_client_is_no_reason() {
        let mut error = FetchError::new(Kind::ConnectionTerminated, RequestProgress::NotSent);
        error.request_body = Some(BodyError::TooLarge { limit: 1 });
        assert!(!may_retry(Ending::Failed(&error), GET, &policy(&[RetryOn::Reset])));
    }
}
