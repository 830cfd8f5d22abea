//! How a stored response is updated from a newer head: a 304 (RFC 9111 s4.3.4)
//! or the response to a HEAD (s4.3.5), by the rules of s3.2.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{CacheRules, StoredHead, Timing};
use crate::fields::date;
use crate::fields::entity_tag::EntityTag;

/// The stored response with the fields of a 304 that is about it, or of a HEAD
/// that freshens it. Age and lifetime are counted from the new head. Status
/// and content stay, and so do the fields that describe the content as it is
/// stored.
///
/// What comes back may forbid to be stored: [`super::storability`] says so of
/// its status and fields.
pub fn freshened(
    stored: &StoredHead,
    not_modified: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> StoredHead {
    let mut fields = stored.fields();
    // The old Date would count as the age of the new head.
    fields.remove(header::DATE);
    for name in not_modified.keys().filter(|name| !describes_what_is_stored(name)) {
        if *name == header::ETAG && has_same_tag(stored, not_modified) {
            continue;
        }
        fields.remove(name);
        for value in not_modified.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    let selecting = stored.selecting.updated(&fields);
    StoredHead::assemble(stored.status, fields, timing, rules, selecting)
}

/// What the response to a HEAD means for a stored response to GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadUpdate {
    /// It is still the same: update it ([`freshened`]).
    Freshen,
    /// It is another one now: drop what is stored.
    Invalidate,
    /// Nothing.
    Nothing,
}

/// Compares a stored response and the `length` of its content with what a HEAD for the
/// same target brought (RFC 9111 s4.3.5).
pub fn head_freshens(stored: &StoredHead, length: u64, head: (StatusCode, &HeaderMap)) -> HeadUpdate {
    let (status, fields) = head;
    if status != StatusCode::OK || stored.status != StatusCode::OK {
        return HeadUpdate::Nothing;
    }
    let is_same =
        is_same_tag(stored, fields) && is_same_modified(stored, fields) && is_same_length(length, fields);
    if is_same { HeadUpdate::Freshen } else { HeadUpdate::Invalidate }
}

/// Strong or weak as it is stored: the tag of a 304 may claim more than is true
/// of what is stored, see [`super::matches_validator`].
fn has_same_tag(stored: &StoredHead, fields: &HeaderMap) -> bool {
    matches!((stored.etag(), EntityTag::of(fields)), (Some(one), Some(other)) if one.weak_eq(other))
}

fn is_same_tag(stored: &StoredHead, fields: &HeaderMap) -> bool {
    !fields.contains_key(header::ETAG) || has_same_tag(stored, fields)
}

fn is_same_modified(stored: &StoredHead, fields: &HeaderMap) -> bool {
    let modified = fields.get(header::LAST_MODIFIED);
    modified.is_none_or(|modified| stored.last_modified() == date::of(modified))
}

/// Where it is told.
fn is_same_length(length: u64, fields: &HeaderMap) -> bool {
    let told = fields.get(header::CONTENT_LENGTH);
    told.is_none_or(|told| told.to_str().ok().and_then(|told| told.parse().ok()) == Some(length))
}

/// Fields that stay as they are stored (RFC 9111 s3.2), and Set-Cookie, which
/// is for the client whose request led to the update.
fn describes_what_is_stored(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::CONTENT_ENCODING
            | header::CONTENT_RANGE
            | header::TRANSFER_ENCODING
            | header::CONNECTION
            | header::SET_COOKIE
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{at_once, fields, get, now, selects, stored_for, stored_from};

    const RULES: fn() -> CacheRules = CacheRules::default;

    /// RFC 9111 s3.2
    #[test]
    fn fields_are_replaced_but_for_those_that_describe_the_content() {
        let stored = stored_from(
            &[
                ("cache-control", "max-age=2"),
                ("etag", "W/\"1\""),
                ("content-length", "36"),
                ("content-encoding", "gzip"),
                ("content-type", "text/plain"),
                ("link", "<a>"),
                ("link", "<b>"),
                ("kept", "1"),
                ("age", "1"),
            ],
            now(),
        );
        let later = now() + Duration::from_secs(3);
        let not_modified = fields(&[
            ("cache-control", "max-age=3600"),
            ("etag", "\"1\""),
            ("content-length", "10"),
            ("content-encoding", "br"),
            ("content-type", "text/html"),
            ("content-foo", "2"),
            ("link", "<c>"),
            ("set-cookie", "a=b"),
        ]);
        assert!(!stored.is_fresh(later));
        let fresh = freshened(&stored, &not_modified, at_once(later), &RULES());
        let expected = fields(&[
            ("cache-control", "max-age=3600"),
            ("etag", "W/\"1\""),
            ("content-length", "36"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
            ("content-foo", "2"),
            ("link", "<c>"),
            ("kept", "1"),
            ("date", "Sun, 06 Nov 1994 08:49:40 GMT"),
        ]);
        assert_eq!(fresh.fields(), expected);
        assert_eq!((fresh.age(later), fresh.ttl(later)), (Duration::ZERO, 3600));
    }

    #[test]
    fn the_age_counts_from_the_new_head() {
        let stored = stored_from(&[("cache-control", "max-age=100"), ("age", "90")], now());
        let later = now() + Duration::from_secs(20);
        let fresh = freshened(&stored, &fields(&[("age", "7")]), at_once(later), &RULES());
        assert_eq!(fresh.ttl(later), 93);
    }

    #[test]
    fn variants_stay_what_they_were() {
        let stored = stored_for(&[("foo", "1"), ("bar", "2")], &[("vary", "foo, bar")], now());
        for (vary, expected) in [("foo, bar", true), ("foo", true), ("foo, baz", false), ("*", false)] {
            let fresh = freshened(&stored, &fields(&[("vary", vary)]), at_once(now()), &RULES());
            let presented = fields(&[("foo", "1"), ("bar", "2")]);
            assert_eq!(selects(&get(&presented), &fresh), expected, "{vary}");
        }
    }

    /// RFC 9111 s4.3.5
    #[test]
    fn a_head_freshens_what_is_still_the_same() {
        let stored = stored_from(
            &[("etag", "\"1\""), ("content-length", "5"), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            now(),
        );
        for (status, head, expected) in [
            (200, &[][..], HeadUpdate::Freshen),
            (200, &[("etag", "\"1\""), ("content-length", "5")], HeadUpdate::Freshen),
            (200, &[("etag", "\"2\"")], HeadUpdate::Invalidate),
            (200, &[("etag", "\"1\""), ("content-length", "6")], HeadUpdate::Invalidate),
            (200, &[("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT")], HeadUpdate::Invalidate),
            (410, &[], HeadUpdate::Nothing),
            (304, &[], HeadUpdate::Nothing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(head_freshens(&stored, 5, (status, &fields(head))), expected, "{status} {head:?}");
        }
    }

    proptest! {
        #[test]
        fn what_describes_the_content_never_changes(values in proptest::collection::vec("[a-z0-9]{1,5}", 6)) {
            let names = ["content-length", "content-encoding", "content-range"];
            let pair = |at: usize| (names[at % 3], values[at].as_str());
            let stored = stored_from(&[pair(0), pair(1), pair(2)], now());
            let fresh = freshened(&stored, &fields(&[pair(3), pair(4), pair(5)]), at_once(now()), &RULES());
            let (fresh, stored) = (fresh.fields(), stored.fields());
            for name in names {
                prop_assert_eq!(&fresh[name], &stored[name]);
            }
        }
    }
}
