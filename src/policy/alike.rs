//! Which requests can expect the same response, as far as that is known before it comes.

use http::{HeaderMap, header};

use super::vary::Selecting;
use super::{CacheRules, RequestHead, StoredHead};
use crate::fields::accept_language;

/// What another request must have to expect the same response as one: the fields that what
/// is stored for the target varies on (RFC 9111 s4.1). Where nothing is stored nobody knows
/// of any, and all may expect the same.
#[derive(Clone, Debug)]
pub struct Alike {
    selecting: Selecting,
    /// The language that it likes best (RFC 9110 s12.5.4), where that matters.
    language: Option<Box<[u8]>>,
}

impl Default for Alike {
    /// All requests.
    fn default() -> Self {
        Self { selecting: Selecting::Values(Box::default()), language: None }
    }
}

impl Alike {
    /// Those that expect the same as `req`, where `stored` is what is known of its target.
    pub fn of<'a>(
        req: &RequestHead<'_>,
        stored: impl IntoIterator<Item = &'a StoredHead>,
        rules: &CacheRules,
    ) -> Self {
        let mut names = rules.key_fields.clone();
        for head in stored {
            if let Selecting::Values(values) = &head.selecting {
                names.extend(values.iter().map(|value| value.name.clone()));
            }
        }
        let selecting = Selecting::named(req.fields, names);
        let has_languages = selecting.names(&header::ACCEPT_LANGUAGE);
        let preferred = has_languages.then(|| accept_language::preferred(req.fields)).flatten();
        Self { selecting, language: preferred.map(Box::from) }
    }

    /// True if a request with these fields may expect the same.
    pub fn has(&self, req: &HeaderMap) -> bool {
        self.selecting.matches(req, |name| *name == header::ACCEPT_LANGUAGE && self.is_in_language_of(req))
    }

    fn is_in_language_of(&self, req: &HeaderMap) -> bool {
        match (&self.language, accept_language::preferred(req)) {
            (Some(own), Some(other)) => own.eq_ignore_ascii_case(other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{fields, get, now, stored_for};

    #[test]
    fn what_is_stored_says_who_is_alike() {
        let stored = [
            stored_for(&[("foo", "1")], &[("vary", "foo")], now()),
            stored_for(&[], &[("vary", "*")], now()),
            stored_for(&[], &[("vary", "accept-language")], now()),
        ];
        let asked = fields(&[("foo", "1, 2"), ("accept-language", "de, en;q=0.5")]);
        let of = |stored: &[StoredHead], rules: &CacheRules| Alike::of(&get(&asked), stored, rules);
        let plain = CacheRules::default();
        for (other, first, all) in [
            (&[("foo", "1,2"), ("accept-language", "de, en;q=0.5")][..], true, true),
            (&[("foo", "1, 2"), ("accept-language", "fr;q=0.1, DE")], true, true),
            (&[("foo", "1, 2"), ("accept-language", "en")], true, false),
            (&[("foo", "1, 2"), ("accept-language", "de, en")], true, false),
            (&[("foo", "2")], false, false),
            (&[], false, false),
        ] {
            let other = fields(other);
            assert!(of(&[], &plain).has(&other));
            assert_eq!(of(&stored[..2], &plain).has(&other), first, "{other:?}");
            assert_eq!(of(&stored, &plain).has(&other), all, "{other:?}");
            let rules = CacheRules { key_fields: vec!["foo".parse().unwrap()], ..plain.clone() };
            assert_eq!(of(&[], &rules).has(&other), first, "{other:?}");
        }
    }
}
