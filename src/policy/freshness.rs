//! For how long a response is fresh (RFC 9111 s4.2.1, s4.2.2), and how old it
//! is (s4.2.3).
//!
//! Clocks are not trusted to agree: the age is the larger of what the response
//! says of itself (Age, and the time its own way took) and what its Date says
//! by our clock, so that a wrong clock makes a response older, never younger.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::stated::{By, Stated};
use super::{CacheRules, Timing, status};
use crate::fields::{age, date};

/// For how long a response is fresh, from the time it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessLifetime {
    /// The lifetime; zero for a response that is always stale.
    pub duration: Duration,
    /// Where it comes from.
    pub source: LifetimeSource,
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifetimeSource {
    /// `s-maxage` of Cache-Control.
    SharedMaxAge,
    /// `max-age` of Cache-Control.
    MaxAge,
    /// Expires.
    Expires,
    /// CDN-Cache-Control (RFC 9213).
    Targeted,
    /// The `ttl` of the route.
    Route,
    /// A tenth of the time since Last-Modified (RFC 9111 s4.2.2).
    Heuristic,
    /// The configured `negative_ttl`.
    Negative,
    /// The configured `default_ttl`.
    Default,
    /// Nothing gives one.
    None,
}

impl LifetimeSource {
    /// True if the response itself states the lifetime.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::SharedMaxAge | Self::MaxAge | Self::Expires | Self::Targeted)
    }

    /// Its name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SharedMaxAge => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Targeted => "cdn-cache-control",
            Self::Route => "route",
            Self::Heuristic => "heuristic",
            Self::Negative => "negative",
            Self::Default => "default",
            Self::None => "none",
        }
    }
}

/// No heuristic lifetime is longer.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 3600);

/// For how long a response is fresh.
pub fn freshness_lifetime(
    status: StatusCode,
    fields: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> FreshnessLifetime {
    lifetime(&Stated::of(status, fields, rules), status, fields, timing, rules)
}

pub(super) fn lifetime(
    stated: &Stated,
    status: StatusCode,
    fields: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> FreshnessLifetime {
    let (duration, source) = explicit(stated, fields, timing)
        .or_else(|| configured(stated, status, fields, timing, rules))
        .unwrap_or((Duration::ZERO, LifetimeSource::None));
    FreshnessLifetime { duration, source }
}

type Found = Option<(Duration, LifetimeSource)>;

/// RFC 9111 s4.2.1.
fn explicit(stated: &Stated, fields: &HeaderMap, timing: Timing) -> Found {
    let source = |own| if stated.by == By::Targeted { LifetimeSource::Targeted } else { own };
    if let Some(seconds) = stated.directives.s_maxage {
        return Some((Duration::from_secs(seconds.into()), source(LifetimeSource::SharedMaxAge)));
    }
    if let Some(seconds) = stated.directives.max_age {
        return Some((Duration::from_secs(seconds.into()), source(LifetimeSource::MaxAge)));
    }
    let mut expires = fields.get_all(header::EXPIRES).iter().filter(|_| stated.by == By::CacheControl);
    let (expires, other) = (expires.next()?, expires.next());
    // RFC 9111 s5.3: an invalid one, above all 0, is in the past; s4.2.1: so are several.
    let made = date_of(fields, timing);
    let stated = date::of(expires).filter(|_| other.is_none());
    let lifetime = stated.and_then(|expires| expires.duration_since(made).ok());
    let longest = Duration::from_secs(crate::fields::delta_seconds::MAX.into());
    Some((lifetime.unwrap_or_default().min(longest), LifetimeSource::Expires))
}

/// What stands in where the response states no lifetime. A route's `ttl` and
/// `default_ttl` are not for errors.
fn configured(
    stated: &Stated,
    status: StatusCode,
    fields: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> Found {
    if !status::is_heuristically_cacheable(status) && !stated.directives.public {
        return None;
    }
    let is_error = status::is_error(status);
    if let Some(ttl) = rules.ttl
        && !is_error
    {
        return Some((ttl, LifetimeSource::Route));
    }
    if let Some(modified) = fields.get(header::LAST_MODIFIED).and_then(date::of) {
        let unchanged = date_of(fields, timing).duration_since(modified).unwrap_or_default();
        let tenth = Duration::from_secs(unchanged.as_secs() / 10);
        return Some((tenth.min(LONGEST_HEURISTIC), LifetimeSource::Heuristic));
    }
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) && !rules.negative_ttl.is_zero() {
        return Some((rules.negative_ttl, LifetimeSource::Negative));
    }
    (!is_error && !rules.default_ttl.is_zero()).then_some((rules.default_ttl, LifetimeSource::Default))
}

/// When a response was made: its Date, or when it came if it has none that is
/// valid (RFC 9110 s6.6.1).
pub(super) fn date_of(fields: &HeaderMap, timing: Timing) -> SystemTime {
    fields.get(header::DATE).and_then(date::of).unwrap_or(timing.response)
}

/// The age of a response when it came: `corrected_initial_age` (s4.2.3). Date
/// has whole seconds, and so has the age that is seen by it.
pub(super) fn initial_age(fields: &HeaderMap, timing: Timing) -> Duration {
    let since_made = timing.response.duration_since(date_of(fields, timing)).unwrap_or_default();
    let apparent_age = Duration::from_secs(since_made.as_secs());
    let response_delay = timing.response.duration_since(timing.request).unwrap_or_default();
    let age_value = Duration::from_secs(age::of(fields).unwrap_or(0).into());
    apparent_age.max(age_value + response_delay)
}

#[cfg(test)]
mod tests {
    use super::LifetimeSource as From;
    use super::*;
    use crate::policy::testing::{at_once, fields, now};

    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    /// 100 s before and after.
    const BEFORE: &str = "Sun, 06 Nov 1994 08:47:57 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:51:17 GMT";

    fn lifetime_of(status: u16, lines: &[(&str, &str)], rules: &CacheRules) -> (u64, LifetimeSource) {
        let status = StatusCode::from_u16(status).unwrap();
        let found = freshness_lifetime(status, &fields(lines), at_once(now()), rules);
        (found.duration.as_secs(), found.source)
    }

    /// RFC 9111 s4.2.1, s5.2.2.10, s5.3; RFC 9213 s2.2
    #[test]
    fn explicit_lifetimes_in_their_order() {
        let rules = CacheRules { ttl: Some(Duration::from_secs(7)), ..CacheRules::default() };
        for (lines, expected) in [
            (&[("cache-control", "max-age=5, s-maxage=9")][..], (9, From::SharedMaxAge)),
            (&[("cache-control", "max-age=5"), ("expires", AFTER)], (5, From::MaxAge)),
            (&[("cache-control", "max-age=x"), ("expires", AFTER)], (0, From::MaxAge)),
            (&[("cache-control", "s-maxage=1, max-age=3600")], (1, From::SharedMaxAge)),
            (&[("expires", AFTER), DATE], (100, From::Expires)),
            (&[("expires", AFTER)], (100, From::Expires)),
            (&[("expires", AFTER), ("date", "foo")], (100, From::Expires)),
            (&[("expires", AFTER), ("date", BEFORE)], (200, From::Expires)),
            (&[("expires", BEFORE), DATE], (0, From::Expires)),
            (&[("expires", AFTER), ("expires", AFTER), DATE], (0, From::Expires)),
            (&[("expires", "0")], (0, From::Expires)),
            (&[("expires", ""), ("last-modified", BEFORE)], (0, From::Expires)),
            (&[("expires", BEFORE), ("expires", AFTER)], (0, From::Expires)),
            (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], (1 << 31, From::Expires)),
            (&[("cdn-cache-control", "max-age=3"), ("cache-control", "s-maxage=9")], (3, From::Targeted)),
            // Expires counts beside Cache-Control only, and here nothing else does.
            (&[("cdn-cache-control", "foo"), ("expires", AFTER)], (7, From::Route)),
        ] {
            assert_eq!(lifetime_of(200, lines, &rules), expected, "{lines:?}");
        }
    }

    /// RFC 9111 s4.2.2
    #[test]
    fn the_heuristic_is_a_tenth_and_not_for_every_status() {
        let rules = CacheRules::default();
        let modified = &[("last-modified", BEFORE), DATE][..];
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(lifetime_of(status, modified, &rules), (10, From::Heuristic), "{status}");
        }
        for status in [201, 202, 299, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
            assert_eq!(lifetime_of(status, modified, &rules), (0, From::None), "{status}");
        }
        for (lines, expected) in [
            (&[("last-modified", AFTER), DATE][..], (0, From::Heuristic)),
            (&[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], (86_400, From::Heuristic)),
            (&[("last-modified", "yesterday")], (0, From::None)),
            (&[DATE], (0, From::None)),
        ] {
            assert_eq!(lifetime_of(200, lines, &rules), expected, "{lines:?}");
        }
        let public = &[("cache-control", "public"), ("last-modified", BEFORE)][..];
        assert_eq!(lifetime_of(599, public, &rules), (10, From::Heuristic));
    }

    #[test]
    fn configured_lifetimes_fill_in() {
        let seconds = Duration::from_secs;
        let none = CacheRules::default();
        let default = CacheRules { default_ttl: seconds(3), ..none.clone() };
        let negative = CacheRules { negative_ttl: seconds(4), default_ttl: seconds(3), ..none.clone() };
        let route = CacheRules { ttl: Some(seconds(5)), default_ttl: seconds(3), ..none.clone() };
        let forced = CacheRules { force: true, ..route.clone() };
        let modified = &[("last-modified", BEFORE)][..];
        for (rules, status, lines, expected) in [
            (&none, 200, &[][..], (0, From::None)),
            (&default, 200, &[], (3, From::Default)),
            (&default, 200, modified, (10, From::Heuristic)),
            (&default, 302, &[], (0, From::None)),
            (&default, 404, &[], (0, From::None)),
            (&negative, 404, &[], (4, From::Negative)),
            (&negative, 410, &[], (4, From::Negative)),
            (&negative, 404, modified, (10, From::Heuristic)),
            (&negative, 405, &[], (0, From::None)),
            (&route, 200, modified, (5, From::Route)),
            (&route, 404, &[], (0, From::None)),
            (&route, 200, &[("cache-control", "max-age=0")], (0, From::MaxAge)),
            (&forced, 200, &[("cache-control", "max-age=0")], (5, From::Route)),
        ] {
            assert_eq!(lifetime_of(status, lines, rules), expected, "{status} {lines:?}");
        }
    }

    /// RFC 9111 s4.2.3
    #[test]
    fn the_initial_age_is_the_larger_of_both() {
        let timing = Timing { request: now() - Duration::from_secs(3), response: now() };
        for (lines, expected) in [
            (&[][..], 3),
            (&[("age", "10")], 13),
            (&[("age", "abc")], 3),
            (&[("age", "99999999999")], (1 << 31) + 3),
            (&[("date", BEFORE)], 100),
            (&[("date", BEFORE), ("age", "200")], 203),
            (&[("date", AFTER)], 3),
            (&[("date", "foo")], 3),
        ] {
            assert_eq!(initial_age(&fields(lines), timing), Duration::from_secs(expected), "{lines:?}");
        }
        let within_the_second = at_once(now() + Duration::from_millis(900));
        assert_eq!(initial_age(&fields(&[DATE]), within_the_second), Duration::ZERO);
        let backwards = Timing { request: now(), response: now() - Duration::from_secs(3) };
        assert_eq!(initial_age(&fields(&[]), backwards), Duration::ZERO);
    }
}
