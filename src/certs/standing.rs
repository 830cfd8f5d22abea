//! How a site's certificate stands, and what is to be done about it next. Pure:
//! of what happened, of when, and of chance.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureAlgorithm;
use rustls_pki_types::CertificateDer;

use super::certificate::Validity;
use super::error::CertError;
use super::renewal::{self, Window};

/// A certificate that is in use, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Current {
    /// When it may be used.
    pub(super) validity: Validity,
    /// How its key signs.
    pub(super) key: SignatureAlgorithm,
    /// Who issued it, if an ACME server did.
    pub(super) source: Option<Issued>,
}

/// What an ACME server issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// Which one of those in the config.
    pub(super) server: usize,
    /// The certificate itself.
    pub(super) leaf: CertificateDer<'static>,
    /// When its lifetime began.
    pub(super) not_before: SystemTime,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To ask the ACME server when it wants the certificate to be renewed.
    Ask,
    /// To have a new certificate made.
    Renew,
}

/// Why the next certificate is made when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is none yet.
    First,
    /// So much of the lifetime of the one in use will be over.
    Lifetime,
    /// The ACME server suggests it (RFC 9773).
    Suggested,
    /// The one in use lacks a name.
    Names,
    /// Somebody asked for it.
    Asked,
}

#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// `None` while a placeholder is served.
    current: Option<Current>,
    /// When the next one is to be made, and why then; `None` for files.
    plan: Option<(SystemTime, Reason)>,
    /// Whatever is planned, not before this: after a failure, or just after one
    /// was made.
    earliest: Option<SystemTime>,
    failures: u32,
    last_error: Option<Arc<CertError>>,
    /// When the ACME server is asked for its suggestion.
    ask_at: Option<SystemTime>,
    suggested: Option<Window>,
}

impl Standing {
    /// Of a certificate that is in place at `now`; `None` stands for a
    /// placeholder. If it `is_renewed`, by `chance`, of the unit interval, up to
    /// a twentieth of its lifetime earlier than others.
    pub(super) fn new(current: Option<Current>, is_renewed: bool, now: SystemTime, chance: f64) -> Self {
        let mut standing = Self {
            current: None,
            plan: is_renewed.then_some((now, Reason::First)),
            earliest: None,
            failures: 0,
            last_error: None,
            ask_at: None,
            suggested: None,
        };
        if let Some(current) = current {
            standing.put(current, now, chance);
        }
        standing
    }

    /// A new certificate is in use. However short its lifetime, the next one is
    /// not made before `earliest`.
    pub(super) fn renewed(&mut self, new: Current, now: SystemTime, earliest: SystemTime, chance: f64) {
        (self.earliest, self.failures, self.last_error) = (Some(earliest), 0, None);
        self.put(new, now, chance);
    }

    fn put(&mut self, current: Current, now: SystemTime, chance: f64) {
        let due = renewal::due(&current.validity, chance);
        self.plan = self.plan.map(|_| (due, Reason::Lifetime));
        self.ask_at = current.source.as_ref().filter(|_| self.plan.is_some()).map(|_| now);
        self.suggested = None;
        self.current = Some(current);
    }

    /// Goes on where `before` is, of the same names ordered alike, if that is of the same
    /// certificate.
    pub(super) fn follow(&mut self, before: &Self) {
        let in_use = |standing: &Self| Some(standing.current.as_ref()?.source.as_ref()?.leaf.clone());
        if in_use(self) == in_use(before) {
            self.clone_from(before);
        }
    }

    /// A try failed; the next one comes after `wait`.
    pub(super) fn failed(&mut self, error: CertError, now: SystemTime, wait: Duration) {
        self.earliest = now.checked_add(wait);
        self.last_error = Some(Arc::new(error));
    }

    /// Counts a failure; says which one in a row it is.
    pub(super) fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The ACME server suggests a window, and wants to be asked again after
    /// `wait`. A moment in it is picked by `chance` once for each window; one
    /// without an end counts as no answer (RFC 9773 s4.2), and none is waited for
    /// longer than the certificate lasts.
    pub(super) fn suggested(&mut self, window: Window, now: SystemTime, wait: Duration, chance: f64) {
        self.ask_at = now.checked_add(wait);
        let Some(not_after) = self.current.as_ref().map(|current| current.validity.not_after) else { return };
        // What is wanted at once is not put off again.
        let is_asked_for =
            self.plan.is_some_and(|(_, reason)| matches!(reason, Reason::Asked | Reason::Names));
        if self.suggested != Some(window) && window.end > window.start && !is_asked_for {
            self.suggested = Some(window);
            let due = window.pick(chance).min(not_after);
            self.plan = self.plan.map(|_| (due, Reason::Suggested));
        }
    }

    /// There is no suggestion; it is asked for again after `wait`, if at all.
    /// What was suggested before stays.
    pub(super) fn not_suggested(&mut self, now: SystemTime, wait: Option<Duration>) {
        self.ask_at = wait.and_then(|wait| now.checked_add(wait));
    }

    /// The certificate in use lacks a name of the site.
    pub(super) fn lacks_name(&mut self, now: SystemTime) {
        self.plan = self.plan.map(|_| (now, Reason::Names));
    }

    /// Somebody wants a new certificate now; says whether one can be made.
    pub(super) fn renew_now(&mut self, now: SystemTime) -> bool {
        self.earliest = None;
        self.plan = self.plan.map(|_| (now, Reason::Asked));
        self.plan.is_some()
    }

    /// What is to be done next, and when; `None` if nothing is, for ever.
    pub(super) fn next(&self) -> Option<(SystemTime, Step)> {
        let (renew_at, _) = self.next_renewal()?;
        // What is over is not asked about any more (RFC 9773 s4.3).
        let not_after = self.current.as_ref().map(|current| current.validity.not_after);
        match self.ask_at {
            Some(ask_at) if ask_at < renew_at && Some(ask_at) < not_after => Some((ask_at, Step::Ask)),
            _ => Some((renew_at, Step::Renew)),
        }
    }

    /// When the next certificate is made, and why then.
    pub(super) fn next_renewal(&self) -> Option<(SystemTime, Reason)> {
        let (at, reason) = self.plan?;
        Some((self.earliest.map_or(at, |earliest| earliest.max(at)), reason))
    }

    /// The certificate in use, if it is no placeholder.
    pub(super) fn current(&self) -> Option<&Current> {
        self.current.as_ref()
    }

    /// Why the last try failed, if it did.
    pub(super) fn last_error(&self) -> Option<&CertError> {
        self.last_error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing::now;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn current() -> Current {
        let validity = Validity { not_before: now(), not_after: now() + 90 * DAY };
        Current {
            key: SignatureAlgorithm::ECDSA,
            validity,
            source: Some(Issued { server: 0, leaf: CertificateDer::from(vec![1]), not_before: now() }),
        }
    }

    fn window(start: Duration, end: Duration) -> Window {
        Window { start: now() + start, end: now() + end }
    }

    #[test]
    fn the_first_one_is_made_at_once_and_tried_again_after_a_wait() {
        let mut standing = Standing::new(None, true, now(), 0.0);
        assert_eq!(standing.next(), Some((now(), Step::Renew)));
        assert_eq!([standing.count_failure(), standing.count_failure()], [1, 2]);
        standing.failed(CertError::OrderDeadline, now(), HOUR);
        assert_eq!(standing.next(), Some((now() + HOUR, Step::Renew)));
        standing.renewed(current(), now() + HOUR, now(), 0.0);
        assert_eq!(standing.next(), Some((now() + HOUR, Step::Ask)));
        assert_eq!(standing.next_renewal(), Some((now() + 60 * DAY, Reason::Lifetime)));
        assert_eq!(standing.count_failure(), 1);
    }

    #[test]
    fn a_suggestion_counts_from_then_on() {
        let mut standing = Standing::new(Some(current()), true, now(), 0.0);
        assert_eq!(standing.next(), Some((now(), Step::Ask)));
        standing.not_suggested(now(), Some(HOUR));
        assert_eq!(standing.next(), Some((now() + HOUR, Step::Ask)));
        assert_eq!(standing.next_renewal(), Some((now() + 60 * DAY, Reason::Lifetime)));
        standing.suggested(window(70 * DAY, 72 * DAY), now(), 6 * HOUR, 0.5);
        assert_eq!(standing.next_renewal(), Some((now() + 71 * DAY, Reason::Suggested)));
        // The moment in a window is picked once.
        standing.suggested(window(70 * DAY, 72 * DAY), now(), 6 * HOUR, 0.9);
        assert_eq!(standing.next_renewal(), Some((now() + 71 * DAY, Reason::Suggested)));
        assert_eq!(standing.next(), Some((now() + 6 * HOUR, Step::Ask)));
        // It is to be revoked.
        standing.suggested(window(Duration::ZERO, HOUR), now(), 6 * HOUR, 0.5);
        assert_eq!(standing.next(), Some((now() + HOUR / 2, Step::Renew)));
        // One that ends before it begins is none.
        standing.suggested(window(HOUR, Duration::ZERO), now(), 6 * HOUR, 0.5);
        assert_eq!(standing.next(), Some((now() + HOUR / 2, Step::Renew)));
        // The pause after a failure holds all the same.
        standing.failed(CertError::OrderDeadline, now(), DAY);
        assert_eq!(standing.next(), Some((now() + 6 * HOUR, Step::Ask)));
        standing.suggested(window(Duration::ZERO, 2 * HOUR), now(), 2 * DAY, 0.5);
        assert_eq!(standing.next(), Some((now() + DAY, Step::Renew)));
        assert!(standing.renew_now(now()));
        standing.suggested(window(70 * DAY, 72 * DAY), now(), 2 * DAY, 0.5);
        assert_eq!(standing.next_renewal(), Some((now(), Reason::Asked)));
    }

    #[test]
    fn a_suggestion_neither_hurries_nor_outlasts_the_certificate() {
        let mut standing = Standing::new(None, true, now(), 0.0);
        standing.renewed(current(), now(), now() + HOUR, 0.0);
        standing.suggested(window(Duration::ZERO, Duration::from_secs(1)), now(), DAY, 0.5);
        assert_eq!(standing.next(), Some((now() + HOUR, Step::Renew)));
        standing.suggested(window(100 * DAY, 110 * DAY), now(), DAY, 0.5);
        assert_eq!(standing.next_renewal(), Some((now() + 90 * DAY, Reason::Suggested)));
        standing.not_suggested(now(), Some(95 * DAY));
        standing.failed(CertError::OrderDeadline, now() + 90 * DAY, 30 * DAY);
        assert_eq!(standing.next(), Some((now() + 120 * DAY, Step::Renew)));
    }

    #[test]
    fn what_is_planned_for_the_same_certificate_goes_on() {
        let mut before = Standing::new(None, true, now(), 0.0);
        before.count_failure();
        before.failed(CertError::OrderDeadline, now(), HOUR);
        let mut after = Standing::new(None, true, now(), 0.0);
        after.follow(&before);
        assert_eq!((after.next(), after.count_failure()), (Some((now() + HOUR, Step::Renew)), 2));
        assert!(after.last_error().is_some());
        // It has come from elsewhere.
        let mut after = Standing::new(Some(current()), true, now(), 0.0);
        after.follow(&before);
        assert!(after.last_error().is_none());
        assert_eq!(after.next(), Some((now(), Step::Ask)));
    }

    #[test]
    fn files_are_never_renewed() {
        let mut standing = Standing::new(Some(current()), false, now(), 0.0);
        assert!(!standing.renew_now(now()));
        standing.suggested(window(Duration::ZERO, HOUR), now(), HOUR, 0.5);
        assert_eq!(standing.next(), None);
    }

    #[test]
    fn the_shortest_lifetime_leaves_a_pause() {
        let mut standing = Standing::new(None, true, now(), 0.0);
        let validity = Validity { not_before: now() - DAY, not_after: now() + HOUR };
        standing.renewed(
            Current { validity, key: SignatureAlgorithm::ECDSA, source: None },
            now(),
            now() + HOUR,
            0.0,
        );
        assert_eq!(standing.next(), Some((now() + HOUR, Step::Renew)));
    }
}
