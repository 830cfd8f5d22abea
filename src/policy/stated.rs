//! Which directives hold for a response: those of the operator, of
//! CDN-Cache-Control, or of Cache-Control.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{CacheRules, status};
use crate::fields::cache_control::{NoCache, ResponseDirectives};
use crate::fields::targeted::{self, CDN_CACHE_CONTROL};

/// The directives that hold, and who gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) directives: ResponseDirectives,
    pub(super) by: By,
}

/// Who gave the directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Cache-Control; Expires counts beside it.
    CacheControl,
    /// CDN-Cache-Control, in place of Cache-Control and Expires
    /// (RFC 9213 s2.2).
    Targeted,
    /// The configuration, in place of everything the response states.
    Force,
}

impl Stated {
    /// Reads them from a response.
    pub(super) fn of(status: StatusCode, fields: &HeaderMap, rules: &CacheRules) -> Self {
        if rules.force && rules.ttl.is_some() {
            return Self { directives: ResponseDirectives::default(), by: By::Force };
        }
        let (mut directives, by) = match targeted::of(fields) {
            Some(directives) => (directives, By::Targeted),
            None => (ResponseDirectives::of(fields), By::CacheControl),
        };
        if directives.must_understand {
            // RFC 9111 s5.2.2.3: no-store is meant for those who do not.
            directives.no_store = !status::is_understood(status);
        }
        if withholds_what_the_content_needs(&directives.no_cache) {
            directives.no_cache = NoCache::Whole;
        }
        Self { directives, by }
    }

    /// May a shared cache keep what belongs to one user: Set-Cookie, or the
    /// answer to a request with credentials?
    pub(super) fn is_for_all(&self) -> bool {
        self.directives.public || self.directives.s_maxage.is_some()
    }

    /// The fields that are stored and used by nobody (RFC 9111 s5.2.2.4).
    pub(super) fn withheld(&self) -> &[HeaderName] {
        match &self.directives.no_cache {
            NoCache::Fields(names) => names,
            NoCache::No | NoCache::Whole => &[],
        }
    }

    /// Has the response a Set-Cookie that would be stored with it?
    pub(super) fn sets_cookie(&self, fields: &HeaderMap) -> bool {
        fields.contains_key(header::SET_COOKIE) && !self.withheld().contains(&header::SET_COOKIE)
    }
}

/// Without these a stored response would be misread or chosen wrongly, so that
/// `no-cache` for one of them is `no-cache` for all.
fn withholds_what_the_content_needs(no_cache: &NoCache) -> bool {
    const NEEDED: [HeaderName; 11] = [
        header::CACHE_CONTROL,
        CDN_CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::VARY,
    ];
    matches!(no_cache, NoCache::Fields(names) if names.iter().any(|name| NEEDED.contains(name)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::testing::fields;

    fn of(lines: &[(&str, &str)], rules: &CacheRules) -> Stated {
        Stated::of(StatusCode::OK, &fields(lines), rules)
    }

    /// RFC 9213 s2.2
    #[test]
    fn the_targeted_field_replaces_cache_control() {
        let rules = CacheRules::default();
        let both = of(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=5")], &rules);
        assert_eq!(
            (both.by, both.directives.no_store, both.directives.max_age),
            (By::Targeted, false, Some(5))
        );
        let invalid = of(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=\"5\"")], &rules);
        assert_eq!((invalid.by, invalid.directives.no_store), (By::CacheControl, true));
    }

    #[test]
    fn force_replaces_all_but_only_with_a_ttl() {
        let forced = CacheRules { force: true, ttl: Some(Duration::from_secs(5)), ..CacheRules::default() };
        let stated = of(&[("cache-control", "no-store, private")], &forced);
        assert_eq!(stated, Stated { directives: ResponseDirectives::default(), by: By::Force });
        let without_ttl = CacheRules { ttl: None, ..forced };
        assert!(of(&[("cache-control", "no-store")], &without_ttl).directives.no_store);
    }

    /// RFC 9111 s5.2.2.4
    #[test]
    fn fields_that_are_needed_are_not_withheld() {
        let rules = CacheRules::default();
        let some = of(&[("cache-control", "no-cache=\"a, set-cookie\"")], &rules);
        assert_eq!(some.withheld(), ["a", "set-cookie"]);
        assert!(!some.sets_cookie(&fields(&[("set-cookie", "a=b")])));
        let needed = of(&[("cache-control", "no-cache=\"a, ETag\"")], &rules);
        assert_eq!(needed.directives.no_cache, NoCache::Whole);
    }

    /// RFC 9111 s5.2.2.3
    #[test]
    fn must_understand_is_for_known_statuses() {
        let rules = CacheRules::default();
        for (status, text, expected) in [
            (200, "no-store, must-understand", false),
            (404, "no-store, must-understand", false),
            (599, "no-store, must-understand", true),
            (599, "must-understand", true),
            (200, "no-store", true),
            (200, "must-understand", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let stated = Stated::of(status, &fields(&[("cache-control", text)]), &rules);
            assert_eq!(stated.directives.no_store, expected, "{status} {text}");
        }
    }
}
