//! The head of a stored response, with everything parsed once, so that a hit
//! parses nothing of it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::compression::is_compressible;
use super::stated::Stated;
use super::vary::Selecting;
use super::{CacheRules, FreshnessLifetime, Part, RequestHead, Timing, freshness, partial};
use crate::fields::cache_control::ResponseDirectives;
use crate::fields::compact::CompactFields;
use crate::fields::entity_tag::EntityTag;
use crate::fields::forwarding::X_FORWARDED_HOST;
use crate::fields::vary::Vary;
use crate::fields::{accept_encoding, accept_language, date, list};

/// A response that came after now by more than this has come before the clock was
/// put back. What comes while a request is looked at is a little later than that.
const AFTER_NOW: Duration = Duration::from_secs(1);

/// The head of a stored response. It never changes; what updates it makes a
/// new one ([`super::freshened`]).
///
/// In the order in which a hit reads it, a cache line at a time.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct StoredHead {
    pub(super) selecting: Selecting,
    pub(super) fields: CompactFields,
    /// The status code.
    pub status: StatusCode,
    pub(super) is_encoded: bool,
    /// True if whoever asks as its client did gets it in its coding, taken or
    /// not.
    pub(super) is_encoded_anyway: bool,
    pub(super) is_compressible: bool,
    /// True if its lifetime was ended early.
    pub(super) is_ended: bool,
    pub(super) received: SystemTime,
    pub(super) lifetime: FreshnessLifetime,
    pub(super) initial_age: Duration,
    /// Set for a 206, apart: there are few.
    pub(super) part: Option<Box<Part>>,
    pub(super) directives: ResponseDirectives,
    pub(super) made: SystemTime,
    pub(super) last_modified: Option<SystemTime>,
}

impl StoredHead {
    /// The head of the response to `req`, which is storable.
    ///
    /// Left out are the fields that `no-cache` names (RFC 9111 s5.2.2.4), and
    /// Set-Cookie unless the response is explicitly for all. A missing or
    /// invalid Date becomes the time at which the response came.
    pub fn new(
        req: &RequestHead<'_>,
        status: StatusCode,
        fields: HeaderMap,
        timing: Timing,
        rules: &CacheRules,
    ) -> Self {
        let mut always = rules.key_fields.clone();
        // It was encoded though the client did not ask for it, and Vary says
        // nothing: whoever asks alike gets it, too, and nobody else.
        if !is_decoded(fields.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes), req.fields)
        {
            always.push(header::ACCEPT_ENCODING);
        }
        // A trusted proxy may pass on what its client says, and the answer may repeat it.
        if req.fields.contains_key(&X_FORWARDED_HOST) {
            always.push(X_FORWARDED_HOST);
        }
        let selecting = Selecting::of(req.fields, &fields, &always);
        Self::assemble(status, fields, timing, rules, selecting)
    }

    pub(super) fn assemble(
        status: StatusCode,
        mut fields: HeaderMap,
        timing: Timing,
        rules: &CacheRules,
        selecting: Selecting,
    ) -> Self {
        let stated = Stated::of(status, &fields, rules);
        let lifetime = freshness::lifetime(&stated, status, &fields, timing, rules);
        let initial_age = freshness::initial_age(&fields, timing);
        let made = freshness::date_of(&fields, timing);
        if fields.get(header::DATE).and_then(date::of).is_none() {
            fields.insert(header::DATE, date::value(made));
        }
        fields.remove(header::AGE);
        // What follows the content is not kept.
        fields.remove(header::TRAILER);
        for name in stated.withheld() {
            fields.remove(name);
        }
        if !stated.is_for_all() {
            fields.remove(header::SET_COOKIE);
        }
        Self {
            status,
            part: if status == StatusCode::PARTIAL_CONTENT {
                partial::part_of(&fields).map(Box::new)
            } else {
                None
            },
            last_modified: fields.get(header::LAST_MODIFIED).and_then(date::of),
            is_encoded: fields.contains_key(header::CONTENT_ENCODING),
            is_encoded_anyway: is_encoded_anyway(&fields, &selecting),
            is_compressible: is_compressible(status, &fields, &stated.directives, &selecting),
            fields: CompactFields::of(&fields),
            directives: stated.directives,
            selecting,
            lifetime,
            initial_age,
            made,
            received: timing.response,
            is_ended: false,
        }
    }

    /// The fields that are stored (RFC 9111 s3.1), made anew with room for a few
    /// more. Age is not among them, for it is made for every use; Date always
    /// is.
    pub fn fields(&self) -> HeaderMap {
        self.fields.to_map()
    }

    /// The same for a response to a client: Age and Cache-Status have their place, with
    /// an empty value. Where it `varies`, they say that they depend on Accept-Encoding
    /// (RFC 9110 s12.5.5), as after [`StoredHead::add_vary`].
    pub fn response_fields(&self, varies: bool) -> HeaderMap {
        self.fields.to_response_map(varies && !self.selecting.names(&header::ACCEPT_ENCODING))
    }

    /// True if the fields of both are the very same, not only equal: one was made of the
    /// other, or both of one.
    pub fn has_fields_of(&self, other: &Self) -> bool {
        self.fields.is(&other.fields)
    }

    /// The first value of a stored field.
    pub fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.fields.get(name)
    }

    /// Bytes of memory it takes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.fields.weight() + self.selecting.weight()
    }

    /// For how long it is fresh.
    pub fn lifetime(&self) -> FreshnessLifetime {
        self.lifetime
    }

    /// Its entity tag, if it has a valid one.
    pub fn etag(&self) -> Option<EntityTag<'_>> {
        EntityTag::parse(self.field(&header::ETAG)?)
    }

    /// When its content last changed, if it says so.
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.last_modified
    }

    /// Its age: `current_age` of RFC 9111 s4.2.3. If the clock was put back since it
    /// came, nobody knows that, and it counts as being at the end of its lifetime:
    /// what is stale is validated. One whose lifetime was ended early stays at its end.
    pub fn age(&self, now: SystemTime) -> Duration {
        let age = match now.duration_since(self.received) {
            Ok(passed) => self.initial_age + passed,
            Err(_) if self.came_by(now) => self.initial_age,
            Err(_) => self.initial_age.max(self.lifetime.duration),
        };
        if self.is_ended { age.max(self.lifetime.duration) } else { age }
    }

    /// False if it came at a time that is still to come: the clock was put back.
    pub(super) fn came_by(&self, now: SystemTime) -> bool {
        self.received.duration_since(now).map_or(true, |later| later <= AFTER_NOW)
    }

    /// For how many seconds it is still fresh; zero or less if it is stale. As
    /// all of RFC 9111 s4.2 it counts in whole seconds: what is left besides
    /// the Age that is told.
    pub fn ttl(&self, now: SystemTime) -> i64 {
        self.ttl_at(self.age(now))
    }

    /// The same at this age.
    pub(super) fn ttl_at(&self, age: Duration) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime.duration).saturating_sub(seconds(age))
    }

    /// Is it fresh (RFC 9111 s4.2)?
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.lifetime.duration
    }

    /// For how long it has been stale; zero if it is fresh.
    pub fn staleness(&self, now: SystemTime) -> Duration {
        self.age(now).saturating_sub(self.lifetime.duration)
    }

    /// The same, stale from `time` on as if its lifetime had ended then; `None`
    /// if it was stale already. No clock that is put back makes it fresh again.
    pub fn stale_from(&self, time: SystemTime) -> Option<Self> {
        let may_be_fresh = self.initial_age < self.lifetime.duration && !self.came_by(time);
        if self.is_ended || !(self.is_fresh(time) || may_be_fresh) {
            return None;
        }
        let mut stale = self.clone();
        // A lifetime of zero would say that it was never fresh.
        stale.initial_age = self.initial_age.max(Duration::from_nanos(1));
        stale.lifetime.duration = stale.age(time);
        stale.is_ended = true;
        Some(stale)
    }

    /// Is it an answer to a request with these fields (RFC 9111 s4.1), in a
    /// coding that its client takes (RFC 9110 s12.5.3)?
    pub(super) fn answers(&self, req: &HeaderMap) -> bool {
        let stands_in = |name: &HeaderName| *name == header::ACCEPT_LANGUAGE && self.is_in_language_of(req);
        self.selecting.matches(req, stands_in)
            && (!self.is_encoded
                || self.is_encoded_anyway
                || is_decoded(self.fields.get_all(&header::CONTENT_ENCODING), req))
    }

    /// Is it in the one language that the client likes best (RFC 9110 s12.5.4)?
    /// What the origin server has for others it would not have chosen instead.
    fn is_in_language_of(&self, req: &HeaderMap) -> bool {
        let mut own = self.fields.get_all(&header::CONTENT_LANGUAGE).flat_map(list::members);
        match (own.next(), own.next(), accept_language::preferred(req)) {
            (Some(own), None, Some(preferred)) => own.eq_ignore_ascii_case(preferred),
            _ => false,
        }
    }

    /// Have both of them the same codings?
    pub(super) fn is_encoded_as(&self, other: &Self) -> bool {
        let codings = |head: &Self| {
            head.fields.get_all(&header::CONTENT_ENCODING).map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>()
        };
        self.is_encoded == other.is_encoded && (!self.is_encoded || codings(self) == codings(other))
    }

    /// What orders responses by how recent they are (RFC 9111 s4). Where the clock
    /// was put back, those before that are the older ones, whatever their dates.
    pub(super) fn recency(&self, now: SystemTime) -> (bool, SystemTime, SystemTime) {
        (self.came_by(now), self.made, self.received)
    }
}

/// Does a client take all the codings of content (RFC 9110 s12.5.3)?
fn is_decoded<'a>(mut codings: impl Iterator<Item = &'a [u8]>, req: &HeaderMap) -> bool {
    codings.all(|line| {
        let mut members = list::members(line).filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        members.all(|coding| accept_encoding::accepts(req, coding))
    })
}

/// True if Accept-Encoding was taken down for encoded content though the
/// response does not vary on it.
pub(super) fn is_encoded_anyway(fields: &HeaderMap, selecting: &Selecting) -> bool {
    let varies = |names: &[HeaderName]| names.contains(&header::ACCEPT_ENCODING);
    fields.contains_key(header::CONTENT_ENCODING)
        && selecting.names(&header::ACCEPT_ENCODING)
        && matches!(Vary::of(fields), Vary::Fields(names) if !varies(&names))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{fields, now, stored_from};

    #[test]
    fn what_is_stored_has_a_date_and_no_age() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (lines, expected) in [
            (&[("age", "5"), ("x", "1")][..], &[("x", "1"), ("date", date)][..]),
            (&[("date", "foo")], &[("date", date)]),
            (&[("date", "Sun, 06 Nov 1994 08:49:36 GMT")], &[("date", "Sun, 06 Nov 1994 08:49:36 GMT")]),
        ] {
            assert_eq!(stored_from(lines, now()).fields(), fields(expected));
        }
    }

    /// RFC 9111 s5.2.2.4
    #[test]
    fn what_is_not_for_all_is_left_out() {
        for (said, expected) in [
            ("max-age=60", &["a", "b"][..]),
            ("max-age=60, no-cache=\"A, c\"", &["b"]),
            ("max-age=60, public", &["a", "b", "set-cookie"]),
            ("s-maxage=60, no-cache=\"set-cookie\"", &["a", "b"]),
        ] {
            let head = stored_from(
                &[("cache-control", said), ("a", "1"), ("b", "1"), ("b", "2"), ("set-cookie", "x=y")],
                now(),
            );
            let kept: Vec<&str> = ["a", "b", "set-cookie"]
                .into_iter()
                .filter(|name| head.fields().contains_key(*name))
                .collect();
            assert_eq!(kept, expected, "{said}");
            assert_eq!(head.fields().get_all("b").iter().collect::<Vec<_>>(), ["1", "2"]);
        }
    }

    /// RFC 9111 s4.2
    #[test]
    fn freshness_ends_with_its_lifetime() {
        let head = stored_from(&[("cache-control", "max-age=10"), ("age", "4")], now());
        for (millis, age, ttl, is_fresh) in [
            (0, 4000, 6, true),
            (900, 4900, 6, true),
            (5000, 9000, 1, true),
            (5999, 9999, 1, true),
            (6000, 10_000, 0, false),
            (6999, 10_999, 0, false),
            (9000, 13_000, -3, false),
        ] {
            let later = now() + Duration::from_millis(millis);
            assert_eq!(head.age(later), Duration::from_millis(age));
            assert_eq!((head.ttl(later), head.is_fresh(later)), (ttl, is_fresh), "{millis}");
        }
    }

    #[test]
    fn what_came_before_the_clock_was_put_back_is_stale() {
        let head = stored_from(&[("cache-control", "max-age=10"), ("age", "4")], now());
        for (back, age, ttl) in [(0, 4, 6), (1000, 4, 6), (1001, 10, 0), (86_400_000, 10, 0)] {
            let earlier = now() - Duration::from_millis(back);
            assert_eq!((head.age(earlier).as_secs(), head.ttl(earlier)), (age, ttl), "{back}");
            assert_eq!((head.is_fresh(earlier), head.staleness(earlier)), (ttl > 0, Duration::ZERO));
        }
        let old = stored_from(&[("cache-control", "max-age=10"), ("age", "40")], now());
        assert_eq!(old.ttl(now() - Duration::from_secs(100)), -30);
    }

    #[test]
    fn freshness_can_be_ended_early() {
        let head = stored_from(&[("cache-control", "max-age=10"), ("etag", "\"1\"")], now());
        for passed in [0, 4, 9] {
            let time = now() + Duration::from_secs(passed);
            let stale = head.stale_from(time).unwrap();
            assert!(!stale.is_fresh(time) && !stale.lifetime().duration.is_zero(), "{passed}");
            assert_eq!((stale.staleness(time), stale.ttl(time)), (Duration::ZERO, 0));
            assert_eq!((stale.age(time).as_secs(), stale.fields()), (passed, head.fields()));
            let later = time + Duration::from_secs(5);
            assert_eq!((stale.staleness(later).as_secs(), stale.ttl(later)), (5, -5));
            assert!(stale.stale_from(time).is_none() && stale.stale_from(later).is_none());
        }
        assert!(head.stale_from(now() + Duration::from_secs(10)).is_none());
        assert!(
            stored_from(&[("age", "20"), ("cache-control", "max-age=10")], now())
                .stale_from(now() - Duration::from_secs(100))
                .is_none()
        );
        assert!(stored_from(&[("cache-control", "max-age=0")], now()).stale_from(now()).is_none());
    }

    #[test]
    fn what_is_made_stale_at_once_keeps_its_order() {
        let head = |age, millis| {
            let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
            let lines = [("cache-control", "max-age=60"), date, ("age", age)];
            stored_from(&lines, now() + Duration::from_millis(millis))
        };
        let purged = now() + Duration::from_secs(9);
        for ages in [["0", "0"], ["0", "5"], ["5", "0"]] {
            let (older, newer) = (head(ages[0], 1), head(ages[1], 2));
            assert!(newer.recency(purged) > older.recency(purged));
            let (older, newer) = (older.stale_from(purged).unwrap(), newer.stale_from(purged).unwrap());
            assert!(newer.recency(purged) > older.recency(purged), "{ages:?}");
        }
    }

    proptest! {
        #[test]
        fn age_grows_with_time_and_ends_freshness(
            max_age: u32,
            age: u32,
            waits in proptest::collection::vec(0u64..1 << 40, 2),
        ) {
            let said = format!("max-age={max_age}");
            let head = stored_from(&[("cache-control", &said), ("age", &age.to_string())], now());
            let [sooner, later] = [waits[0].min(waits[1]), waits[0].max(waits[1])];
            let at = |millis| now() + Duration::from_millis(millis);
            let passed = Duration::from_millis(later - sooner);
            prop_assert_eq!(head.age(at(later)) - head.age(at(sooner)), passed);
            prop_assert!(head.ttl(at(later)) <= head.ttl(at(sooner)));
            prop_assert!(head.is_fresh(at(sooner)) || !head.is_fresh(at(later)));
            prop_assert_eq!(head.is_fresh(at(later)), head.ttl(at(later)) > 0);
            prop_assert_eq!(head.is_fresh(at(later)), head.staleness(at(later)).is_zero()
                && head.age(at(later)) != head.lifetime().duration);
        }

        /// Wherever the clock is put, before a soft purge or after it, and then.
        #[test]
        fn what_was_made_stale_is_never_fresh_again(
            max_age in 1u32..100_000,
            purged in -100_000_i64..100_000,
            later in -200_000_i64..200_000,
        ) {
            let head = stored_from(&[("cache-control", &format!("max-age={max_age}"))], now());
            let at = |seconds: i64| {
                let passed = Duration::from_secs(seconds.unsigned_abs());
                if seconds < 0 { now() - passed } else { now() + passed }
            };
            if let Some(stale) = head.stale_from(at(purged)) {
                prop_assert!(!stale.is_fresh(at(later)));
                prop_assert!(stale.age(at(later)) >= stale.lifetime().duration);
            } else {
                prop_assert!(!head.is_fresh(at(purged)));
            }
        }
    }
}
