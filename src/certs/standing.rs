//! How a site's certificate stands, and what is to be done about it next. Pure:
//! of what happened, of when, and of chance.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureAlgorithm;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::certificate::Validity;
use super::error::CertError;
use super::renewal::{self, Window};
use crate::base::{Backoff, Clock};

/// The time by both clocks: lifetimes go by that of the day, which can jump, and
/// pauses by the other one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The time of day.
    pub(super) wall: SystemTime,
    /// Monotonic time.
    pub(super) instant: Instant,
}

impl Now {
    /// What `clock` says.
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), instant: clock.now() }
    }
}

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
    /// The one in use is not valid yet: it was made here, by a clock that was put
    /// back since.
    NotYet,
    /// The one in use lacks a name.
    Names,
    /// The one in use is not in storage for the site: a restart would lose it.
    Unstored,
    /// Somebody asked for it.
    Asked,
}

#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// `None` while a placeholder is served.
    current: Option<Current>,
    /// When the next one is to be made (`None` stands for at once), and why then;
    /// `None` for files.
    plan: Option<(Option<SystemTime>, Reason)>,
    /// Whatever is planned, not before this: after a failure, or just after one
    /// was made.
    earliest: Option<Instant>,
    /// The one in use counts as new until then, if it was made by this process.
    new_until: Option<SystemTime>,
    /// True once it was due while it was new, whatever was suggested afterwards.
    is_due_when_new: bool,
    /// So many certificates in a row were, of those before it.
    due_when_new: u32,
    failures: u32,
    last_error: Option<Arc<CertError>>,
    /// When the ACME server is asked for its suggestion.
    ask_at: Option<Instant>,
    suggested: Option<Window>,
}

impl Standing {
    /// Of a certificate that is in place at `now`; `None` stands for a
    /// placeholder. If it `is_renewed`, by `chance`, of the unit interval, up to
    /// a twentieth of its lifetime earlier than others.
    pub(super) fn new(current: Option<Current>, is_renewed: bool, now: Instant, chance: f64) -> Self {
        let mut standing = Self {
            current: None,
            plan: is_renewed.then_some((None, Reason::First)),
            earliest: None,
            new_until: None,
            is_due_when_new: false,
            due_when_new: 0,
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

    /// A new certificate is in use. However short its lifetime, the next one is not made
    /// before the first of the `pauses` is over, which it tells; they grow as long as
    /// each was due as soon as it was made, for then another one would be no better.
    pub(super) fn renewed(&mut self, new: Current, now: Now, pauses: &Backoff, chance: f64) -> Duration {
        let is_one_more = self.is_due_when_new && matches!(self.plan, Some((Some(_), _)));
        self.due_when_new = if is_one_more { self.due_when_new.saturating_add(1) } else { 0 };
        (self.new_until, self.is_due_when_new) = (now.wall.checked_add(pauses.first), false);
        self.put(new, now.instant, chance);
        let times = self.due_when_new.saturating_add(1);
        let pause = renewal::wait(pauses, times, (self.left(now.wall), None), 0.0);
        (self.earliest, self.failures, self.last_error) = (now.instant.checked_add(pause), 0, None);
        pause
    }

    fn put(&mut self, current: Current, now: Instant, chance: f64) {
        let due = renewal::due(&current.validity, chance);
        self.plan_for(due, Reason::Lifetime);
        self.ask_at = current.source.as_ref().filter(|_| self.plan.is_some()).map(|_| now);
        self.suggested = None;
        self.current = Some(current);
    }

    fn plan_for(&mut self, due: SystemTime, reason: Reason) {
        self.plan = self.plan.map(|_| (Some(due), reason));
        self.is_due_when_new |= self.new_until.is_some_and(|until| due <= until);
    }

    /// Goes on where `before` is, of the same names ordered alike, if that is of the same
    /// certificate.
    pub(super) fn follow(&mut self, before: &Self) {
        let in_use = |standing: &Self| {
            let Current { validity, source, .. } = standing.current.as_ref()?;
            Some((*validity, source.as_ref().map(|source| source.leaf.clone())))
        };
        if in_use(self) == in_use(before) {
            self.clone_from(before);
        }
    }

    /// A try failed; the next one comes after `wait`.
    pub(super) fn failed(&mut self, error: CertError, now: Instant, wait: Duration) {
        self.earliest = now.checked_add(wait);
        self.last_error = Some(Arc::new(error));
    }

    /// What failed is over, and the certificate in use is as good as ever.
    pub(super) fn recovered(&mut self) {
        (self.earliest, self.last_error) = (None, None);
    }

    /// Counts a failure; says which one in a row it is.
    pub(super) fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The ACME server suggests a window, and wants to be asked again after
    /// `wait`. A moment in it is picked by `chance` once for each window; one
    /// without an end counts as no answer (RFC 9773 s4.2), and none is waited for
    /// until the certificate is all but over.
    pub(super) fn suggested(&mut self, window: Window, now: Instant, wait: Duration, chance: f64) {
        self.ask_at = now.checked_add(wait);
        let Some(latest) = self.current.as_ref().map(|it| renewal::latest(&it.validity)) else { return };
        // What is wanted at once is not put off again.
        let is_asked_for = self
            .plan
            .is_some_and(|(_, reason)| matches!(reason, Reason::Asked | Reason::Names | Reason::Unstored));
        if self.suggested != Some(window) && window.end > window.start && !is_asked_for {
            self.suggested = Some(window);
            let due = window.pick(chance).min(latest);
            self.plan_for(due, Reason::Suggested);
        }
    }

    /// There is no suggestion; it is asked for again after `wait`, if at all.
    /// What was suggested before stays.
    pub(super) fn not_suggested(&mut self, now: Instant, wait: Option<Duration>) {
        self.ask_at = wait.and_then(|wait| now.checked_add(wait));
    }

    /// The certificate in use lacks a name of the site.
    pub(super) fn lacks_name(&mut self) {
        self.plan = self.plan.map(|_| (None, Reason::Names));
    }

    /// The certificate in use is not in storage for the site.
    pub(super) fn is_not_stored(&mut self) {
        let is_wanted_already = |reason| matches!(reason, Reason::Asked | Reason::Names);
        let planned = self.plan.filter(|(_, reason)| is_wanted_already(*reason));
        self.plan = planned.or(self.plan.map(|_| (None, Reason::Unstored)));
    }

    /// Somebody wants a new certificate now; says whether one can be made.
    pub(super) fn renew_now(&mut self) -> bool {
        self.earliest = None;
        self.plan = self.plan.map(|_| (None, Reason::Asked));
        self.plan.is_some()
    }

    /// What is to be done next, and how long it is until then, if the clock does
    /// not jump; `None` if nothing is, for ever.
    pub(super) fn next(&self, now: Now) -> Option<(Duration, Step)> {
        let (renew_at, _) = self.next_renewal(now)?;
        let renew_in = renew_at.duration_since(now.wall).unwrap_or_default();
        // What is over is not asked about any more (RFC 9773 s4.3).
        let left = self.left(now.wall).unwrap_or_default();
        match self.ask_at.map(|ask_at| ask_at.saturating_duration_since(now.instant)) {
            Some(ask_in) if ask_in < renew_in.min(left) => Some((ask_in, Step::Ask)),
            _ => Some((renew_in, Step::Renew)),
        }
    }

    /// When the next certificate is made, now at the earliest, and why then.
    pub(super) fn next_renewal(&self, now: Now) -> Option<(SystemTime, Reason)> {
        let (due, reason) = match self.plan? {
            (Some(_), _) if self.is_not_yet_valid(now.wall) => (None, Reason::NotYet),
            plan => plan,
        };
        let pause = self.earliest.map_or(Duration::ZERO, |it| it.saturating_duration_since(now.instant));
        let earliest = now.wall.checked_add(pause)?;
        Some((due.map_or(earliest, |due| due.max(earliest)), reason))
    }

    /// How long the certificate in use lasts; `None` if there is none, or it is over.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.current.as_ref()?.validity.not_after.duration_since(now).ok()
    }

    /// True for one that was made here, by a clock that was put back since. With those of
    /// an ACME server it is the clock here that is wrong: another one would be no better.
    fn is_not_yet_valid(&self, now: SystemTime) -> bool {
        self.current.as_ref().is_some_and(|it| it.source.is_none() && it.validity.not_before > now)
    }

    /// True if somebody asked for a new certificate, who waits for it still.
    pub(super) fn is_renewal_asked_for(&self) -> bool {
        matches!(self.plan, Some((_, Reason::Asked)))
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
mod tests;
