//! Which of the stored responses for one key answers a request
//! (RFC 9111 s4.1).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, header};

use super::{RequestHead, StoredHead, partial};
use crate::fields::vary::{Vary, has_normal_form, normal_form};

/// What a request must have for a stored response to be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selecting {
    /// Nothing is known that would do: no request selects it.
    Unknown,
    /// These values, sorted by name.
    Values(Box<[Value]>),
}

/// A field of the request that brought a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) name: HeaderName,
    /// Its normal form; `None` for absent.
    pub(super) form: Option<Box<[u8]>>,
}

impl Selecting {
    /// Takes down what the request has of the fields its response varies on:
    /// those it names, and `always`.
    pub(super) fn of(req: &HeaderMap, response: &HeaderMap, always: &[HeaderName]) -> Self {
        let Vary::Fields(mut names) = Vary::of(response) else { return Self::Unknown };
        names.extend_from_slice(always);
        Self::named(req, names)
    }

    /// Takes down what the request has of the fields with these names.
    pub(super) fn named(req: &HeaderMap, mut names: Vec<HeaderName>) -> Self {
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self::Values(names.into_iter().map(|name| Value { form: normal_form(req, &name), name }).collect())
    }

    /// For a response whose Vary may have been updated, while the request it
    /// was selected by is gone: what was taken down is kept if it covers all
    /// that is asked for now.
    pub(super) fn updated(&self, response: &HeaderMap) -> Self {
        let (Self::Values(known), Vary::Fields(names)) = (self, Vary::of(response)) else {
            return Self::Unknown;
        };
        let is_covered = names.iter().all(|name| known.iter().any(|known| known.name == *name));
        if is_covered { self.clone() } else { Self::Unknown }
    }

    /// Has the request these values, or, of a field for which `stands_in` says
    /// so, others that come to the same?
    pub(super) fn matches(&self, req: &HeaderMap, stands_in: impl Fn(&HeaderName) -> bool) -> bool {
        match self {
            Self::Unknown => false,
            Self::Values(values) => values.iter().all(|value| {
                has_normal_form(req, &value.name, value.form.as_deref()) || stands_in(&value.name)
            }),
        }
    }

    /// Does the response vary on this field, or on what nobody knows?
    pub(super) fn names(&self, name: &HeaderName) -> bool {
        match self {
            Self::Unknown => true,
            Self::Values(values) => values.iter().any(|value| value.name == *name),
        }
    }

    /// Bytes of memory behind it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Values(values) => values
                .iter()
                .map(|value| {
                    let form = value.form.as_ref().map_or(0, |form| form.len());
                    size_of_val(value) + value.name.as_str().len() + form
                })
                .sum(),
        }
    }
}

/// The stored response that answers a request: of those whose selecting fields
/// it has, and whose content coding it takes, the most recent by its Date
/// (RFC 9111 s4).
pub fn select<'a, T>(
    req: &RequestHead<'_>,
    variants: &'a [T],
    now: SystemTime,
    head: impl Fn(&T) -> &StoredHead,
) -> Option<&'a T> {
    variants
        .iter()
        .filter(|variant| head(variant).answers(req.fields) && has_wanted(req, head(variant)))
        .max_by(|one, other| head(one).recency(now).cmp(&head(other).recency(now)))
}

/// Has the stored response all that the request wants of it?
fn has_wanted(req: &RequestHead<'_>, stored: &StoredHead) -> bool {
    stored.part().is_none_or(|part| partial::wanted_of(req, stored, part).is_some())
}

/// Is a part stored of what the request asks for?
pub fn has_part(req: &RequestHead<'_>, stored: &StoredHead) -> bool {
    stored.part.is_some() && stored.answers(req.fields)
}

/// Does a new response take the place of an old one under the same key: do the
/// same requests select them? What comes in different codings varies on
/// Accept-Encoding, even where the origin server does not say so. Parts of one
/// representation that do not meet stand beside each other.
pub fn same_variant(one: &StoredHead, other: &StoredHead) -> bool {
    one.selecting == other.selecting && one.is_encoded_as(other) && !are_apart(one, other)
}

/// Can no request select both? Of languages several may do.
pub fn exclude_each_other(one: &StoredHead, other: &StoredHead) -> bool {
    let (Selecting::Values(one), Selecting::Values(other)) = (&one.selecting, &other.selecting) else {
        return true;
    };
    one.iter()
        .filter(|value| value.name != header::ACCEPT_LANGUAGE)
        .any(|value| other.iter().any(|other| other.name == value.name && other.form != value.form))
}

/// Is one stored response more recent than another one (RFC 9111 s4)?
pub fn is_more_recent(one: &StoredHead, other: &StoredHead, now: SystemTime) -> bool {
    one.recency(now) > other.recency(now)
}

fn are_apart(one: &StoredHead, other: &StoredHead) -> bool {
    let (Some(a), Some(b)) = (one.part(), other.part()) else { return false };
    !a.span.meets(b.span) && partial::belong_together(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    use crate::policy::CacheRules;
    use crate::policy::testing::{at_once, fields, get, now, selects, stored_for, stored_from};

    #[test]
    fn requests_select_by_the_fields_that_vary_names() {
        let head = stored_for(&[("foo", "1"), ("bar", "abc")], &[("vary", "Foo, Bar")], now());
        for (presented, expected) in [
            (&[("foo", "1"), ("bar", "abc")][..], true),
            (&[("foo", "1"), ("bar", "abc"), ("baz", "x")], true),
            (&[("foo", "2"), ("bar", "abc")], false),
            (&[("foo", "1")], false),
            (&[], false),
        ] {
            let presented = fields(presented);
            assert_eq!(selects(&get(&presented), &head), expected);
        }
    }

    #[test]
    fn the_most_recent_one_wins() {
        let earlier = now() - std::time::Duration::from_secs(60);
        let plain = stored_from(&[("x", "new")], now());
        let varying = stored_for(&[("foo", "1")], &[("vary", "foo"), ("x", "old")], earlier);
        let (variants, presented) = ([plain, varying], fields(&[("foo", "1")]));
        let chosen = select(&get(&presented), &variants, now(), |head| head)
            .and_then(|head| head.field(&"x".parse().unwrap()));
        assert_eq!(chosen, Some(&b"new"[..]));
    }

    #[test]
    fn what_came_before_the_clock_was_put_back_is_the_older_one() {
        let back = now() - std::time::Duration::from_secs(86_400);
        let (before, after) = (stored_from(&[], now()), stored_from(&[], back));
        assert!(is_more_recent(&after, &before, back) && !is_more_recent(&before, &after, back));
        assert!(is_more_recent(&before, &after, now()), "by then nobody can tell");
        let none = fields(&[]);
        let chosen = select(&get(&none), std::slice::from_ref(&before), back, |head| head);
        assert!(chosen.is_some(), "it can be validated");
    }

    #[test]
    fn a_star_is_never_selected_and_an_absent_field_matches_absence() {
        let none = fields(&[]);
        assert!(
            select(&get(&none), &[stored_from(&[("vary", "a, *")], now())], now(), |head| head).is_none()
        );
        assert!(select(&get(&none), &[stored_from(&[("vary", "a")], now())], now(), |head| head).is_some());
    }

    /// RFC 9110 s12.5.3. Not every origin server says in Vary that it encodes.
    #[test]
    fn what_the_client_cannot_decode_is_not_selected() {
        for (coding, asked, expected) in [
            ("gzip", &[][..], true),
            ("gzip", &[("accept-encoding", "br, gzip")], true),
            ("gzip", &[("accept-encoding", "identity")], false),
            ("br, gzip", &[("accept-encoding", "gzip")], false),
            ("identity", &[("accept-encoding", "br")], true),
        ] {
            let head = stored_from(&[("content-encoding", coding)], now());
            assert_eq!(selects(&get(&fields(asked)), &head), expected, "{coding} {asked:?}");
        }
    }

    #[test]
    fn other_values_of_one_field_exclude_each_other() {
        let of = |asked: &[(&str, &str)], vary| stored_for(asked, &[("vary", vary)], now());
        let one = of(&[("foo", "1"), ("accept-language", "de")], "Foo, Accept-Language");
        for (other, expected) in [
            (of(&[("foo", "1")], "foo"), false),
            (of(&[("foo", "2")], "foo"), true),
            (of(&[], "foo"), true),
            (of(&[("bar", "2")], "bar"), false),
            (of(&[("foo", "2"), ("bar", "2")], "bar, foo"), true),
            (of(&[("foo", "1"), ("accept-language", "fr")], "foo, accept-language"), false),
            (of(&[], "*"), true),
        ] {
            assert_eq!(exclude_each_other(&one, &other), expected, "{other:?}");
            assert_eq!(exclude_each_other(&other, &one), expected, "{other:?}");
        }
    }

    /// RFC 9110 s12.5.3: content in a coding that was not asked for is what
    /// whoever asks like that gets.
    #[test]
    fn what_was_encoded_all_the_same_is_for_those_who_ask_alike() {
        let head = stored_for(&[("accept-encoding", "gzip")], &[("content-encoding", "foo")], now());
        let restored = StoredHead::from_parts(head.to_parts());
        let updated = crate::policy::freshened(&head, &fields(&[]), at_once(now()), &CacheRules::default());
        for head in [head, restored, updated] {
            for (asked, expected) in [
                (&[("accept-encoding", "gzip")][..], true),
                (&[("accept-encoding", "deflate, gzip")], true),
                (&[("accept-encoding", "br")], false),
                (&[], false),
            ] {
                assert_eq!(selects(&get(&fields(asked)), &head), expected, "{asked:?}");
            }
        }
        let named = &[("content-encoding", "foo"), ("vary", "accept-encoding")];
        let head = stored_for(&[("accept-encoding", "gzip, foo")], named, now());
        assert!(!selects(&get(&fields(&[("accept-encoding", "gzip")])), &head), "it does not take foo");
    }

    /// RFC 9110 s12.5.4: an origin server that has the language that is liked
    /// best has nothing better.
    #[test]
    fn the_language_that_is_liked_best_is_selected() {
        let vary = ("vary", "Accept-Language");
        for (response, asked, expected) in [
            (&[vary, ("content-language", "de")][..], "fr;q=0.5, DE;q=1.0", true),
            (&[vary, ("content-language", "de")], "de", true),
            (&[vary, ("content-language", "de")], "de, fr", false),
            (&[vary, ("content-language", "de")], "fr, de;q=0.9", false),
            (&[vary, ("content-language", "de")], "de-AT", false),
            (&[vary, ("content-language", "de, en")], "de", false),
            (&[vary], "de", false),
            (&[("vary", "Accept-Language, Foo"), ("content-language", "de")], "de", true),
        ] {
            let head = stored_for(&[("accept-language", "en, de")], response, now());
            let asked = fields(&[("accept-language", asked)]);
            assert_eq!(selects(&get(&asked), &head), expected, "{response:?} {asked:?}");
        }
        let head = stored_for(&[("foo", "1")], &[vary, ("vary", "foo"), ("content-language", "de")], now());
        assert!(!selects(&get(&fields(&[("accept-language", "de")])), &head), "another field differs");
    }

    #[test]
    fn fields_that_are_passed_on_select_unnamed() {
        let key_fields = vec!["x-forwarded-prefix".parse().unwrap(), "foo".parse().unwrap()];
        let rules = CacheRules { key_fields, ..CacheRules::default() };
        let (asked, response) =
            (fields(&[("x-forwarded-prefix", "/a"), ("foo", "1")]), fields(&[("vary", "foo")]));
        let head = StoredHead::new(&get(&asked), StatusCode::OK, response, at_once(now()), &rules);
        let updated = crate::policy::freshened(&head, &fields(&[("vary", "foo")]), at_once(now()), &rules);
        for head in [&head, &updated] {
            assert!(selects(&get(&asked), head));
            for other in [&[("foo", "1")][..], &[("foo", "1"), ("x-forwarded-prefix", "/b")]] {
                assert!(!selects(&get(&fields(other)), head), "{other:?}");
            }
        }
    }

    #[test]
    fn variants_are_the_same_if_the_same_requests_select_them() {
        let one = stored_for(&[("foo", "1, 2")], &[("vary", "foo"), ("x", "1")], now());
        let same = stored_for(&[("foo", "1,2"), ("z", "1")], &[("vary", "Foo"), ("x", "2")], now());
        let other = stored_for(&[("foo", "2")], &[("vary", "foo")], now());
        assert!(same_variant(&one, &same));
        assert!(!same_variant(&one, &other));
        assert!(!same_variant(&one, &stored_from(&[], now())));
    }

    /// RFC 9110 s12.5.3, for origin servers that leave Vary out.
    #[test]
    fn codings_are_variants_that_nobody_has_to_name() {
        let in_coding = |coding| stored_from(&[("content-encoding", coding)], now());
        let (gzip, plain) = (in_coding("gzip"), stored_from(&[("x", "1")], now()));
        assert!(same_variant(&gzip, &in_coding("gzip")));
        assert!(!same_variant(&gzip, &in_coding("br")));
        assert!(!same_variant(&gzip, &plain));
        assert!(!same_variant(&plain, &gzip));
    }
}
