//! What is planned for a certificate, by both clocks.

use std::sync::LazyLock;

use super::*;
use crate::base::SystemClock;
use crate::certs::testing::now;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

static START: LazyLock<Instant> = LazyLock::new(|| SystemClock.now());

/// The time after so long, by both clocks.
fn after(passed: Duration) -> Now {
    Now { wall: now() + passed, instant: *START + passed }
}

fn start() -> Now {
    after(Duration::ZERO)
}

fn current() -> Current {
    let validity = Validity { not_before: now(), not_after: now() + 90 * DAY };
    Current {
        key: SignatureAlgorithm::ECDSA,
        validity,
        source: Some(Issued { server: 0, leaf: CertificateDer::from(vec![1]), not_before: now() }),
    }
}

/// Pauses from `first` on.
fn pauses(first: Duration) -> Backoff {
    Backoff { first, most: 24 * first }
}

fn window(start: Duration, end: Duration) -> Window {
    Window { start: now() + start, end: now() + end }
}

#[test]
fn the_first_one_is_made_at_once_and_tried_again_after_a_wait() {
    let mut standing = Standing::new(None, true, *START, 0.0);
    assert_eq!(standing.next(start()), Some((Duration::ZERO, Step::Renew)));
    assert_eq!([standing.count_failure(), standing.count_failure()], [1, 2]);
    standing.failed(CertError::OrderDeadline, *START, HOUR);
    assert_eq!(standing.next(start()), Some((HOUR, Step::Renew)));
    standing.renewed(current(), after(HOUR), &pauses(Duration::ZERO), 0.0);
    assert_eq!(standing.next(start()), Some((HOUR, Step::Ask)));
    assert_eq!(standing.next_renewal(start()), Some((now() + 60 * DAY, Reason::Lifetime)));
    assert_eq!(standing.count_failure(), 1);
}

#[test]
fn a_suggestion_counts_from_then_on() {
    let mut standing = Standing::new(Some(current()), true, *START, 0.0);
    assert_eq!(standing.next(start()), Some((Duration::ZERO, Step::Ask)));
    standing.not_suggested(*START, Some(HOUR));
    assert_eq!(standing.next(start()), Some((HOUR, Step::Ask)));
    assert_eq!(standing.next_renewal(start()), Some((now() + 60 * DAY, Reason::Lifetime)));
    standing.suggested(window(70 * DAY, 72 * DAY), *START, 6 * HOUR, 0.5);
    assert_eq!(standing.next_renewal(start()), Some((now() + 71 * DAY, Reason::Suggested)));
    // The moment in a window is picked once.
    standing.suggested(window(70 * DAY, 72 * DAY), *START, 6 * HOUR, 0.9);
    assert_eq!(standing.next_renewal(start()), Some((now() + 71 * DAY, Reason::Suggested)));
    assert_eq!(standing.next(start()), Some((6 * HOUR, Step::Ask)));
    // It is to be revoked.
    standing.suggested(window(Duration::ZERO, HOUR), *START, 6 * HOUR, 0.5);
    assert_eq!(standing.next(start()), Some((HOUR / 2, Step::Renew)));
    // One that ends before it begins is none.
    standing.suggested(window(HOUR, Duration::ZERO), *START, 6 * HOUR, 0.5);
    assert_eq!(standing.next(start()), Some((HOUR / 2, Step::Renew)));
    // The pause after a failure holds all the same.
    standing.failed(CertError::OrderDeadline, *START, DAY);
    assert_eq!(standing.next(start()), Some((6 * HOUR, Step::Ask)));
    standing.suggested(window(Duration::ZERO, 2 * HOUR), *START, 2 * DAY, 0.5);
    assert_eq!(standing.next(start()), Some((DAY, Step::Renew)));
    assert!(standing.renew_now());
    standing.suggested(window(70 * DAY, 72 * DAY), *START, 2 * DAY, 0.5);
    assert_eq!(standing.next_renewal(start()), Some((now(), Reason::Asked)));
}

#[test]
fn a_suggestion_neither_hurries_nor_outlasts_the_certificate() {
    let mut standing = Standing::new(None, true, *START, 0.0);
    standing.renewed(current(), start(), &pauses(HOUR), 0.0);
    standing.suggested(window(Duration::ZERO, Duration::from_secs(1)), *START, DAY, 0.5);
    assert_eq!(standing.next(start()), Some((HOUR, Step::Renew)));
    standing.suggested(window(100 * DAY, 110 * DAY), *START, DAY, 0.5);
    assert_eq!(standing.next_renewal(start()), Some((now() + 81 * DAY, Reason::Suggested)));
    standing.not_suggested(*START, Some(95 * DAY));
    standing.failed(CertError::OrderDeadline, *START + 90 * DAY, 30 * DAY);
    assert_eq!(standing.next(start()), Some((120 * DAY, Step::Renew)));
}

#[test]
fn what_is_planned_for_the_same_certificate_goes_on() {
    let mut before = Standing::new(None, true, *START, 0.0);
    before.count_failure();
    before.failed(CertError::OrderDeadline, *START, HOUR);
    let mut following = Standing::new(None, true, *START, 0.0);
    following.follow(&before);
    assert_eq!((following.next(start()), following.count_failure()), (Some((HOUR, Step::Renew)), 2));
    assert!(following.last_error().is_some());
    // It has come from elsewhere.
    let mut following = Standing::new(Some(current()), true, *START, 0.0);
    following.follow(&before);
    assert!(following.last_error().is_none());
    assert_eq!(following.next(start()), Some((Duration::ZERO, Step::Ask)));
    // It is of another site, and of no ACME server.
    let mut following = Standing::new(Some(Current { source: None, ..current() }), true, *START, 0.0);
    following.follow(&before);
    assert!(following.current().is_some());
}

#[test]
fn what_is_not_stored_is_made_anew_at_once_but_for_the_pause_after_a_failure() {
    let mut before = Standing::new(Some(current()), true, *START, 0.0);
    before.failed(CertError::OrderDeadline, *START, HOUR);
    let mut following = Standing::new(Some(current()), true, *START, 0.0);
    following.is_not_stored();
    assert_eq!(following.next_renewal(start()), Some((now(), Reason::Unstored)));
    following.follow(&before);
    following.is_not_stored();
    assert_eq!(following.next_renewal(start()), Some((now() + HOUR, Reason::Unstored)));
    following.suggested(window(70 * DAY, 72 * DAY), *START, DAY, 0.5);
    assert_eq!(following.next_renewal(start()), Some((now() + HOUR, Reason::Unstored)));
    assert!(following.renew_now());
    following.is_not_stored();
    assert_eq!(following.next_renewal(start()), Some((now(), Reason::Asked)));
}

#[test]
fn files_are_never_renewed() {
    let mut standing = Standing::new(Some(current()), false, *START, 0.0);
    assert!(!standing.renew_now());
    standing.suggested(window(Duration::ZERO, HOUR), *START, HOUR, 0.5);
    assert_eq!(standing.next(start()), None);
}

#[test]
fn the_shortest_lifetime_leaves_a_pause() {
    let mut standing = Standing::new(None, true, *START, 0.0);
    let validity = Validity { not_before: now() - DAY, not_after: now() + HOUR };
    let new = || Current { validity, key: SignatureAlgorithm::ECDSA, source: None };
    standing.renewed(new(), start(), &pauses(HOUR), 0.0);
    assert_eq!(standing.next(start()), Some((HOUR, Step::Renew)));
    // It would be over before a longer one.
    standing.renewed(new(), start(), &pauses(HOUR), 0.0);
    assert_eq!(standing.next(start()), Some((HOUR, Step::Renew)));
}

/// By a clock that is 61 days ahead, or an authority that wants each to be replaced.
#[test]
fn certificates_that_are_due_when_they_are_new_come_ever_later() {
    for (ahead, is_suggested) in [(61 * DAY, false), (HOUR, true)] {
        let mut standing = Standing::new(None, true, *START, 0.0);
        let mut at = ahead;
        let mut renew = |standing: &mut Standing, passed| {
            at += passed;
            // As of the clock that is right.
            let validity =
                Validity { not_before: now() + at - ahead, not_after: now() + at - ahead + 90 * DAY };
            let pause = standing.renewed(Current { validity, ..current() }, after(at), &pauses(HOUR), 0.0);
            if is_suggested {
                standing.suggested(window(at - HOUR, at), after(at).instant, DAY, 0.5);
                // It is over whenever it is asked for.
                let again = at + 2 * HOUR;
                standing.suggested(window(again - HOUR / 4, again), after(again).instant, DAY, 0.5);
            }
            pause
        };
        let mut pause = Duration::ZERO;
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            pause = renew(&mut standing, pause);
            assert_eq!(pause, hours * HOUR);
        }
    }
}

#[test]
fn one_that_was_not_due_when_it_was_new_has_the_next_come_soon_again() {
    let mut standing = Standing::new(None, true, *START, 0.0);
    let mut renew = |at, suggested: Window| {
        let pause = standing.renewed(current(), after(at), &pauses(HOUR), 0.0);
        standing.suggested(suggested, after(at).instant, DAY, 0.5);
        pause
    };
    let (over, later) = (window(Duration::ZERO, HOUR), window(3 * DAY, 4 * DAY));
    assert_eq!(
        [renew(HOUR, over), renew(2 * HOUR, over), renew(4 * HOUR, later)],
        [1, 2, 4].map(|it| it * HOUR)
    );
    assert_eq!(renew(4 * DAY, later), HOUR);
}

/// A day and a year back, after a failure at the wrong time.
#[test]
fn a_clock_that_is_put_back_puts_nothing_off() {
    for back in [DAY, 400 * DAY] {
        let passed = |by: Duration| Now { wall: now() - back + by, instant: *START + by };
        let mut standing = Standing::new(None, true, *START, 0.0);
        assert_eq!(standing.next(passed(Duration::ZERO)), Some((Duration::ZERO, Step::Renew)));
        standing.failed(CertError::OrderDeadline, *START, HOUR);
        assert_eq!(standing.next(passed(HOUR / 2)), Some((HOUR / 2, Step::Renew)));
        standing.renewed(current(), passed(HOUR), &pauses(HOUR), 0.0);
        standing.not_suggested(*START + HOUR, Some(6 * HOUR));
        assert_eq!(standing.next(passed(2 * HOUR)), Some((5 * HOUR, Step::Ask)));
        // It is the clock here that is wrong.
        let due = Some((now() + 60 * DAY, Reason::Lifetime));
        assert_eq!(standing.next_renewal(passed(2 * HOUR)), due);
    }
}

#[test]
fn what_was_made_here_and_is_not_valid_yet_is_made_anew_once() {
    let (of_our_own, back) = (Current { source: None, ..current() }, now() - DAY);
    let mut standing = Standing::new(Some(of_our_own.clone()), true, *START, 0.0);
    assert_eq!(standing.next_renewal(start()), Some((now() + 60 * DAY, Reason::Lifetime)));
    let put_back = |by: Duration| Now { wall: back + by, instant: *START + by };
    assert_eq!(standing.next_renewal(put_back(Duration::ZERO)), Some((back, Reason::NotYet)));
    let validity = Validity { not_before: back, not_after: back + 90 * DAY };
    standing.renewed(
        Current { validity, ..of_our_own.clone() },
        put_back(Duration::ZERO),
        &pauses(HOUR),
        0.0,
    );
    assert_eq!(standing.next_renewal(put_back(HOUR)), Some((back + 60 * DAY, Reason::Lifetime)));
    // Whatever becomes of the clock, there is a pause.
    standing.renewed(of_our_own, put_back(Duration::ZERO), &pauses(HOUR), 0.0);
    assert_eq!(standing.next_renewal(put_back(HOUR / 2)), Some((back + HOUR, Reason::NotYet)));
}

#[test]
fn a_clock_that_is_put_forward_has_what_is_over_made_once() {
    let mut standing = Standing::new(Some(current()), true, *START, 0.0);
    standing.not_suggested(*START, Some(HOUR));
    let jumped = Now { wall: now() + 400 * DAY, instant: *START };
    assert_eq!(standing.next(jumped), Some((Duration::ZERO, Step::Renew)));
    standing.failed(CertError::OrderDeadline, *START, HOUR);
    assert_eq!(standing.next(jumped), Some((HOUR, Step::Renew)));
}
