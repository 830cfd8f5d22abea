//! Whether a stored response may answer a request (RFC 9111 s4, s5.2.1), stale
//! ones included (s4.2.4, RFC 5861).

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::{CacheRules, RequestHead, StoredHead};
use crate::fields::cache_control::{NoCache, RequestDirectives};
use crate::fields::cache_status::ForwardReason;

/// How a request with a selected stored response is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// As if nothing were stored.
    Forward(ForwardReason),
    /// With the stored response, which is fresh.
    Serve {
        /// For how many seconds still.
        ttl: i64,
    },
    /// With the stored response, which is stale.
    ServeStale {
        /// For how many seconds, as zero or a negative number.
        ttl: i64,
        /// True: it is to be validated at the same time (RFC 5861 s3). False:
        /// the client said it would take it (`max-stale`).
        revalidate: bool,
    },
    /// With the stored response once the origin server says that it holds.
    Validate {
        /// True: it may be served if the origin server gives no answer; ask
        /// [`stale_if_error`] once it is known how it failed.
        if_error: bool,
        /// For Cache-Status.
        reason: ForwardReason,
        /// For Cache-Status, what made it necessary where it is not mere age.
        detail: Option<&'static str>,
    },
}

/// Does the client want nothing but what is stored (RFC 9111 s5.2.1.7)?
pub fn only_if_cached(req: &RequestHead<'_>) -> bool {
    req.asks.directives.only_if_cached
}

/// Decides whether the stored response that was selected for a request answers
/// it. Parses nothing of the response, and of the request its Cache-Control or
/// Pragma where there is one.
pub fn reuse(req: &RequestHead<'_>, stored: &StoredHead, now: SystemTime, rules: &CacheRules) -> Reuse {
    // An update may have brought these (RFC 9111 s4.3.4); nothing is stored
    // with them.
    if stored.directives.no_store || stored.directives.private {
        return Reuse::Forward(ForwardReason::Miss);
    }
    let asked = req.asks.directives;
    let age = stored.age(now);
    let ttl = stored.ttl_at(age);
    let validate = |reason, detail| Reuse::Validate {
        if_error: may_stand_in(&asked, stored, None, now, rules),
        reason,
        detail,
    };
    if stored.directives.no_cache == NoCache::Whole {
        return validate(ForwardReason::Stale, Some("no-cache"));
    }
    if let Some(detail) = unwanted_by_client(&asked, stored, now).or_else(|| unfit(req, stored, rules)) {
        return validate(ForwardReason::Request, Some(detail));
    }
    if age < stored.lifetime().duration {
        return Reuse::Serve { ttl };
    }
    if may_be_served_stale(stored) {
        let said = stored.directives.stale_while_revalidate;
        if is_stale_within(window(said, rules.stale_while_revalidate), stored, now) {
            return Reuse::ServeStale { ttl, revalidate: true };
        }
        if asked.max_stale.is_some_and(|max| is_stale_within(seconds(max), stored, now)) {
            return Reuse::ServeStale { ttl, revalidate: false };
        }
    }
    validate(ForwardReason::Stale, None)
}

/// May the stale response stand in for a failure: `None` for no answer at all,
/// else the status of the answer (RFC 9111 s4.2.4, RFC 5861 s4)?
///
/// Where the response does not say so itself, the configured time counts, and a
/// 500 is not replaced.
pub fn stale_if_error(
    req: &RequestHead<'_>,
    stored: &StoredHead,
    status: Option<StatusCode>,
    now: SystemTime,
    rules: &CacheRules,
) -> bool {
    may_stand_in(&req.asks.directives, stored, status, now, rules)
}

fn may_stand_in(
    asked: &RequestDirectives,
    stored: &StoredHead,
    status: Option<StatusCode>,
    now: SystemTime,
    rules: &CacheRules,
) -> bool {
    let stated = stored.directives.stale_if_error.max(asked.stale_if_error);
    let allowed = match status.map(|status| status.as_u16()) {
        None | Some(502..=504) => window(stated, rules.stale_if_error),
        Some(500) => match stated {
            Some(stated) => seconds(stated),
            None => return false,
        },
        Some(_) => return false,
    };
    let is_usable = !asked.no_cache && stored.directives.no_cache != NoCache::Whole;
    is_usable
        && (stored.is_fresh(now) || (may_be_served_stale(stored) && is_stale_within(allowed, stored, now)))
}

/// May what is stored still answer somebody, now that a server has failed with this
/// status (RFC 9111 s4.3.3)? Then the failure, though it may be stored, does not take its
/// place.
pub fn outlasts_error(stored: &StoredHead, status: StatusCode, now: SystemTime, rules: &CacheRules) -> bool {
    let is_used_meanwhile = || is_stale_within(stale_windows(stored, rules).0, stored, now);
    status.is_server_error()
        && !stored.status.is_server_error()
        && (stored.is_fresh(now)
            || is_used_meanwhile()
            || may_stand_in(&RequestDirectives::default(), stored, Some(status), now, rules))
}

/// For how long past its lifetime a stored response may be served: while it is
/// validated (RFC 5861 s3), and while no origin server can answer (s4).
pub fn stale_windows(stored: &StoredHead, rules: &CacheRules) -> (Duration, Duration) {
    if !may_be_served_stale(stored) {
        return (Duration::ZERO, Duration::ZERO);
    }
    let said = &stored.directives;
    (
        window(said.stale_while_revalidate, rules.stale_while_revalidate),
        window(said.stale_if_error, rules.stale_if_error),
    )
}

/// False if the response forbids all stale use of it (RFC 9111 s4.2.4), or was
/// never fresh.
fn may_be_served_stale(stored: &StoredHead) -> bool {
    let said = &stored.directives;
    !(said.must_revalidate
        || said.proxy_revalidate
        || said.s_maxage.is_some()
        || said.no_cache == NoCache::Whole
        || said.no_store
        || said.private
        || stored.lifetime().duration.is_zero())
}

/// The request directive that the stored response does not satisfy
/// (RFC 9111 s5.2.1). RFC 8246: what is immutable is not validated for mere
/// age, as a reload asks for, while it is fresh.
fn unwanted_by_client(
    asked: &RequestDirectives,
    stored: &StoredHead,
    now: SystemTime,
) -> Option<&'static str> {
    let is_immutable = stored.directives.immutable && stored.is_fresh(now);
    if asked.no_cache {
        Some("request-no-cache")
    } else if !is_immutable && asked.max_age.is_some_and(|max| stored.age(now) > seconds(max)) {
        Some("request-max-age")
    } else if asked.min_fresh.is_some_and(|min| stored.age(now) + seconds(min) > stored.lifetime().duration) {
        Some("request-min-fresh")
    } else {
        None
    }
}

/// A lifetime that the response does not state itself is good for requests
/// without credentials: its origin server never said that those are answered
/// alike.
fn unfit(req: &RequestHead<'_>, stored: &StoredHead, rules: &CacheRules) -> Option<&'static str> {
    if stored.lifetime().source.is_explicit() {
        None
    } else if req.asks.has_credentials {
        Some("authorization")
    } else if !rules.ignore_cookies && req.asks.has_cookies {
        Some("cookie")
    } else {
        None
    }
}

/// What the response states, or else the configured time.
fn window(stated: Option<u32>, configured: Duration) -> Duration {
    stated.map_or(configured, seconds)
}

/// Zero allows nothing, not even the moment at which it becomes stale.
fn is_stale_within(window: Duration, stored: &StoredHead, now: SystemTime) -> bool {
    !window.is_zero() && stored.staleness(now) <= window
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at_once, fields, get, now, stored_from};

    type Lines<'a> = &'a [(&'a str, &'a str)];

    const ETAG: (&str, &str) = ("etag", "\"1\"");

    /// What becomes of a response with this Cache-Control after so many seconds.
    fn after(seconds: u64, said: &str, asked: Lines<'_>, rules: &CacheRules) -> Reuse {
        let stored = stored_from(&[("cache-control", said), ETAG], now());
        reuse(&get(&fields(asked)), &stored, now() + Duration::from_secs(seconds), rules)
    }

    fn validate(reason: ForwardReason, detail: &'static str, if_error: bool) -> Reuse {
        let detail = Some(detail).filter(|detail| !detail.is_empty());
        Reuse::Validate { if_error, reason, detail }
    }

    /// RFC 9111 s4.2, s4.2.4; RFC 5861 s3
    #[test]
    fn fresh_and_stale() {
        let rules = CacheRules::default();
        let stale = |if_error| validate(ForwardReason::Stale, "", if_error);
        let in_background = |ttl| Reuse::ServeStale { ttl, revalidate: true };
        for (seconds, said, expected) in [
            (0, "max-age=10", Reuse::Serve { ttl: 10 }),
            (9, "max-age=10", Reuse::Serve { ttl: 1 }),
            (10, "max-age=10", stale(true)),
            (15, "max-age=10, stale-while-revalidate=5", in_background(-5)),
            (16, "max-age=10, stale-while-revalidate=5", stale(true)),
            (11, "max-age=10, stale-while-revalidate=0", stale(true)),
            (11, "max-age=10, stale-while-revalidate=x", stale(true)),
            (11, "max-age=10, must-revalidate, stale-while-revalidate=5", stale(false)),
            (11, "max-age=10, proxy-revalidate, stale-while-revalidate=5", stale(false)),
            (11, "s-maxage=10, stale-while-revalidate=5", stale(false)),
            (1, "max-age=0, stale-while-revalidate=5", stale(false)),
            (0, "max-age=10, no-cache", validate(ForwardReason::Stale, "no-cache", false)),
            (0, "max-age=10, no-cache=\"x\"", Reuse::Serve { ttl: 10 }),
            (0, "max-age=10, no-store", Reuse::Forward(ForwardReason::Miss)),
            (0, "max-age=10, private", Reuse::Forward(ForwardReason::Miss)),
            (20, "max-age=10, stale-if-error=5", stale(false)),
        ] {
            assert_eq!(after(seconds, said, &[], &rules), expected, "{seconds} {said}");
        }
        let configured = CacheRules { stale_while_revalidate: Duration::from_secs(5), ..rules };
        assert_eq!(after(15, "max-age=10", &[], &configured), in_background(-5));
        assert_eq!(after(15, "max-age=10, stale-while-revalidate=1", &[], &configured), stale(true));
    }

    /// RFC 9111 s5.2.1, s5.4; RFC 8246 s2
    #[test]
    fn what_clients_ask_for() {
        let rules = CacheRules::default();
        let asked = |detail| validate(ForwardReason::Request, detail, true);
        let fresh = Reuse::Serve { ttl: 5 };
        let stale = validate(ForwardReason::Stale, "", true);
        let accepted = Reuse::ServeStale { ttl: -5, revalidate: false };
        for (seconds, said, directive, expected) in [
            (5, "max-age=10", "nothing-to-see-here", fresh),
            (5, "max-age=10", "no-store", fresh),
            (5, "max-age=10", "no-cache", validate(ForwardReason::Request, "request-no-cache", false)),
            (5, "max-age=10", "max-age=0", asked("request-max-age")),
            (5, "max-age=10", "max-age=4", asked("request-max-age")),
            (5, "max-age=10", "max-age=5", fresh),
            (5, "max-age=10, immutable", "max-age=0", fresh),
            (
                5,
                "max-age=10, immutable",
                "no-cache",
                validate(ForwardReason::Request, "request-no-cache", false),
            ),
            (15, "max-age=10, immutable", "max-age=0", asked("request-max-age")),
            (5, "max-age=10", "min-fresh=5", fresh),
            (5, "max-age=10", "min-fresh=6", asked("request-min-fresh")),
            (15, "max-age=10", "max-stale", accepted),
            (15, "max-age=10", "max-stale=5", accepted),
            (15, "max-age=10", "max-stale=4", stale),
            (15, "max-age=10", "max-stale=x", stale),
            (15, "max-age=10", "max-stale, max-age=3", asked("request-max-age")),
            (15, "max-age=10, must-revalidate", "max-stale", validate(ForwardReason::Stale, "", false)),
            (15, "s-maxage=10", "max-stale", validate(ForwardReason::Stale, "", false)),
        ] {
            let answer = after(seconds, said, &[("cache-control", directive)], &rules);
            assert_eq!(answer, expected, "{seconds} {said} / {directive}");
        }
        let pragma = after(5, "max-age=10", &[("pragma", "no-cache")], &rules);
        assert_eq!(pragma, validate(ForwardReason::Request, "request-no-cache", false));
    }

    #[test]
    fn made_up_lifetimes_are_for_requests_without_credentials() {
        let strict = CacheRules::default();
        let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
        let heuristic = stored_from(&[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], now());
        let serve = Reuse::Serve { ttl: 8640 };
        for (rules, asked, expected) in [
            (&strict, &[][..], serve),
            (&strict, &[("cookie", "a=b")], validate(ForwardReason::Request, "cookie", true)),
            (&lax, &[("cookie", "a=b")], serve),
            (&lax, &[("authorization", "x")], validate(ForwardReason::Request, "authorization", true)),
        ] {
            assert_eq!(reuse(&get(&fields(asked)), &heuristic, now(), rules), expected, "{asked:?}");
        }
        assert_eq!(after(5, "max-age=10", &[("cookie", "a=b")], &strict), Reuse::Serve { ttl: 5 });
    }

    /// RFC 9111 s4.2.4, RFC 5861 s4
    #[test]
    fn stale_in_place_of_an_error() {
        let rules = CacheRules { stale_if_error: Duration::from_secs(60), ..CacheRules::default() };
        for (seconds, said, asked, status, expected) in [
            (15, "max-age=10", "", None, true),
            (15, "max-age=10", "", Some(502), true),
            (15, "max-age=10", "", Some(503), true),
            (15, "max-age=10", "", Some(504), true),
            (15, "max-age=10", "", Some(500), false),
            (15, "max-age=10", "", Some(501), false),
            (15, "max-age=10", "", Some(404), false),
            (15, "max-age=10, stale-if-error=5", "", Some(500), true),
            (16, "max-age=10, stale-if-error=5", "", Some(500), false),
            (16, "max-age=10, stale-if-error=5", "", None, false),
            (16, "max-age=10", "stale-if-error=6", Some(500), true),
            (71, "max-age=10", "", None, false),
            (71, "max-age=10, stale-if-error=61", "", None, true),
            (15, "max-age=10, must-revalidate", "", None, false),
            (15, "max-age=10, proxy-revalidate, stale-if-error=60", "", None, false),
            (15, "s-maxage=10", "", None, false),
            (15, "max-age=10, no-cache", "", None, false),
            (1, "max-age=0", "", None, false),
            (15, "max-age=10", "no-cache", None, false),
            // What is fresh may always be served.
            (5, "max-age=10, must-revalidate", "max-age=0", None, true),
        ] {
            let stored = stored_from(&[("cache-control", said), ETAG], now());
            let asked = fields(&[("cache-control", asked)]);
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let later = now() + Duration::from_secs(seconds);
            let answer = stale_if_error(&get(&asked), &stored, status, later, &rules);
            assert_eq!(answer, expected, "{seconds} {said} {asked:?} {status:?}");
        }
    }

    #[test]
    fn only_if_cached_is_heard() {
        assert!(only_if_cached(&get(&fields(&[("cache-control", "x, Only-If-Cached")]))));
        assert!(!only_if_cached(&get(&fields(&[]))));
    }

    #[test]
    fn a_freshened_response_that_became_private_is_not_used() {
        let rules = CacheRules::default();
        let stored = stored_from(&[("cache-control", "max-age=10"), ETAG], now());
        let update = fields(&[("cache-control", "private, max-age=10")]);
        let private = crate::policy::freshened(&stored, &update, at_once(now()), &rules);
        let answer = reuse(&get(&fields(&[])), &private, now(), &rules);
        assert_eq!(answer, Reuse::Forward(ForwardReason::Miss));
    }
}
