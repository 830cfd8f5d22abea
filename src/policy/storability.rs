//! Whether a response is stored (RFC 9111 s3, s3.5).

use std::cell::OnceCell;

use http::{HeaderMap, Method, StatusCode, header};

use super::stated::Stated;
use super::{
    CacheRules, FreshnessLifetime, LifetimeSource, RequestHead, Timing, freshness, partial, static_path,
    status,
};
use crate::fields::cache_control::NoCache;
use crate::fields::date;
use crate::fields::entity_tag::EntityTag;
use crate::fields::forwarding;
use crate::fields::vary::Vary;

/// Whether a response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storability {
    /// It is, once it is complete.
    Store,
    /// It is not.
    DoNotStore(NoStoreReason),
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoStoreReason {
    /// The route has no cache.
    Disabled,
    /// It does not answer a GET.
    Method,
    /// The client asked for that.
    RequestNoStore,
    /// Its status is not final, or it is a 304.
    Status,
    /// It is a part, and not the one that was asked for, or it does not say which.
    Partial,
    /// It says so.
    NoStore,
    /// It is for one user.
    Private,
    /// It varies on something that no request tells.
    VaryStar,
    /// It varies on a field that the edge writes for each client.
    VaryClient,
    /// The request had credentials, and the response does not say that it is
    /// for others too (s3.5).
    Authorization,
    /// The request had cookies, and the response states no lifetime.
    Cookie,
    /// Its path looks like that of a file for everyone, it is something else,
    /// and the request had cookies or credentials.
    Deception,
    /// It sets cookies, and does not say that they are for all.
    SetCookie,
    /// It is not to be used without validation, and nothing validates it.
    NoCache,
    /// It would be stale at once, and nothing validates it.
    NoLifetime,
    /// Its content is larger than the largest that is stored.
    TooLarge,
}

impl NoStoreReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::Disabled,
        Self::Method,
        Self::RequestNoStore,
        Self::Status,
        Self::Partial,
        Self::NoStore,
        Self::Private,
        Self::VaryStar,
        Self::VaryClient,
        Self::Authorization,
        Self::Cookie,
        Self::Deception,
        Self::SetCookie,
        Self::NoCache,
        Self::NoLifetime,
        Self::TooLarge,
    ];

    /// True if it lies in who asked, not in the response: what is stored for
    /// others is as good as before.
    pub fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::Method | Self::RequestNoStore | Self::Authorization | Self::Cookie | Self::Deception
        )
    }

    /// Its name, the detail in Cache-Status and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::VaryStar => "vary-star",
            Self::VaryClient => "vary-client",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Deception => "deception",
            Self::SetCookie => "set-cookie",
            Self::NoCache => "no-cache",
            Self::NoLifetime => "no-lifetime",
            Self::TooLarge => "too-large",
        }
    }
}

/// Has `req` something for which a response to it might not be stored that is
/// stored when others ask: credentials, or the wish itself?
pub fn is_personal(req: &RequestHead<'_>, rules: &CacheRules) -> bool {
    req.asks.has_credentials
        || (req.asks.has_cookies && (!rules.ignore_cookies || static_path::looks_static(req.path)))
        || is_unwanted(req)
}

/// Does the client want nothing of the exchange to be stored (RFC 9111
/// s5.2.1.5)?
pub fn is_unwanted(req: &RequestHead<'_>) -> bool {
    req.asks.directives.no_store
}

/// Decides whether the response to `req` is stored.
pub fn storability(
    req: &RequestHead<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> Storability {
    match Case::new(req, status, fields, timing, rules).refusals().next() {
        Some(reason) => Storability::DoNotStore(reason),
        None => Storability::Store,
    }
}

/// A response to decide on, with what was read of it.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) req: RequestHead<'a>,
    pub(super) status: StatusCode,
    pub(super) fields: &'a HeaderMap,
    pub(super) rules: &'a CacheRules,
    pub(super) stated: Stated,
    timing: Timing,
    /// Found once a rule asks for it: dates take longer to read than all else.
    lifetime: OnceCell<FreshnessLifetime>,
}

/// One rule: says why it forbids to store the response, if it does.
type Rule = fn(&Case<'_>) -> Option<NoStoreReason>;

/// Every rule, in the order in which they are named.
const RULES: [Rule; 12] = [
    by_route,
    by_method,
    by_request,
    by_status,
    by_directives,
    by_vary,
    by_path,
    by_authorization,
    by_cookie,
    by_set_cookie,
    by_use,
    by_size,
];

impl<'a> Case<'a> {
    pub(super) fn new(
        req: &RequestHead<'a>,
        status: StatusCode,
        fields: &'a HeaderMap,
        timing: Timing,
        rules: &'a CacheRules,
    ) -> Self {
        let stated = Stated::of(status, fields, rules);
        Self { req: *req, status, fields, rules, stated, timing, lifetime: OnceCell::new() }
    }

    /// For how long the response is fresh.
    pub(super) fn lifetime(&self) -> FreshnessLifetime {
        *self.lifetime.get_or_init(|| {
            freshness::lifetime(&self.stated, self.status, self.fields, self.timing, self.rules)
        })
    }

    /// What each rule says that forbids to store it.
    pub(super) fn refusals(&self) -> impl Iterator<Item = NoStoreReason> {
        RULES.iter().filter_map(|rule| rule(self))
    }

    fn is_explicit(&self) -> bool {
        self.lifetime().source.is_explicit()
    }
}

fn by_route(case: &Case<'_>) -> Option<NoStoreReason> {
    (!case.rules.enabled).then_some(NoStoreReason::Disabled)
}

fn by_method(case: &Case<'_>) -> Option<NoStoreReason> {
    (*case.req.method != Method::GET).then_some(NoStoreReason::Method)
}

fn by_request(case: &Case<'_>) -> Option<NoStoreReason> {
    is_unwanted(&case.req).then_some(NoStoreReason::RequestNoStore)
}

fn by_status(case: &Case<'_>) -> Option<NoStoreReason> {
    match case.status {
        StatusCode::PARTIAL_CONTENT if partial::is_kept(&case.req, case.fields) => None,
        StatusCode::PARTIAL_CONTENT => Some(NoStoreReason::Partial),
        StatusCode::NOT_MODIFIED => Some(NoStoreReason::Status),
        status if status.is_informational() => Some(NoStoreReason::Status),
        _ => None,
    }
}

fn by_directives(case: &Case<'_>) -> Option<NoStoreReason> {
    if case.stated.directives.no_store {
        Some(NoStoreReason::NoStore)
    } else if case.stated.directives.private {
        Some(NoStoreReason::Private)
    } else {
        None
    }
}

fn by_vary(case: &Case<'_>) -> Option<NoStoreReason> {
    match Vary::of(case.fields) {
        Vary::Unknown => Some(NoStoreReason::VaryStar),
        Vary::Fields(names) if names.iter().any(forwarding::differs_by_client) => {
            Some(NoStoreReason::VaryClient)
        }
        Vary::Fields(_) => None,
    }
}

/// Nothing is stored of what looks like a file for everyone, is something else,
/// and may be one user's own: whatever the response and the route say. A route
/// that ignores cookies is meant for files, and its pattern is how an attacker
/// has a page taken for one.
fn by_path(case: &Case<'_>) -> Option<NoStoreReason> {
    let is_known = case.req.asks.has_cookies || case.req.asks.has_credentials;
    (is_known && static_path::contradicts(case.req.path, case.fields)).then_some(NoStoreReason::Deception)
}

/// What may be one user's own is stored only if the response itself states for
/// how long, and, with credentials (RFC 9111 s3.5) or Set-Cookie, that it is
/// for others too.
fn by_authorization(case: &Case<'_>) -> Option<NoStoreReason> {
    let is_shared = case.stated.is_for_all() || case.stated.directives.must_revalidate;
    let is_own = case.req.asks.has_credentials && !(case.is_explicit() && is_shared);
    is_own.then_some(NoStoreReason::Authorization)
}

fn by_cookie(case: &Case<'_>) -> Option<NoStoreReason> {
    let is_own = case.req.asks.has_cookies && !case.is_explicit();
    (is_own && !case.rules.ignore_cookies).then_some(NoStoreReason::Cookie)
}

fn by_set_cookie(case: &Case<'_>) -> Option<NoStoreReason> {
    let is_for_all = case.is_explicit() && case.stated.is_for_all();
    let is_own = case.stated.sets_cookie(case.fields) && !is_for_all;
    (is_own && !case.rules.ignore_cookies).then_some(NoStoreReason::SetCookie)
}

/// What could never be used is not stored. A validator makes a use of what is
/// stale, but only for a successful response: preconditions are not evaluated
/// for any other (RFC 9110 s13.2.1).
fn by_use(case: &Case<'_>) -> Option<NoStoreReason> {
    let may_be_stored = case.lifetime().source != LifetimeSource::None
        || case.stated.directives.public
        || status::is_heuristically_cacheable(case.status);
    let is_validated = case.status.is_success() && has_validator(case.fields);
    if may_be_stored && is_validated {
        None
    } else if case.stated.directives.no_cache == NoCache::Whole {
        Some(NoStoreReason::NoCache)
    } else if !may_be_stored || case.lifetime().duration.is_zero() {
        Some(NoStoreReason::NoLifetime)
    } else {
        None
    }
}

fn has_validator(fields: &HeaderMap) -> bool {
    EntityTag::of(fields).is_some() || fields.get(header::LAST_MODIFIED).and_then(date::of).is_some()
}

fn by_size(case: &Case<'_>) -> Option<NoStoreReason> {
    let length = case.fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    (length > case.rules.max_object).then_some(NoStoreReason::TooLarge)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::NoStoreReason as Reason;
    use super::*;
    use crate::policy::testing::{at_once, fields, get, now};

    type Lines<'a> = &'a [(&'a str, &'a str)];

    const MODIFIED: (&str, &str) = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    fn refused(asked: Lines<'_>, status: u16, response: Lines<'_>, rules: &CacheRules) -> Option<Reason> {
        let (asked, status) = (fields(asked), StatusCode::from_u16(status).unwrap());
        match storability(&get(&asked), status, &fields(response), at_once(now()), rules) {
            Storability::Store => None,
            Storability::DoNotStore(reason) => Some(reason),
        }
    }

    /// RFC 9111 s3
    #[test]
    fn by_status_and_directives() {
        let rules = CacheRules { max_object: 10, ..CacheRules::default() };
        for (status, response, expected) in [
            (200, &[FRESH][..], None),
            (404, &[FRESH], None),
            (599, &[FRESH], None),
            (503, &[("expires", "Mon, 07 Nov 1994 08:49:37 GMT")], None),
            (200, &[MODIFIED], None),
            (599, &[MODIFIED], Some(Reason::NoLifetime)),
            (599, &[MODIFIED, ("cache-control", "public")], None),
            (200, &[], Some(Reason::NoLifetime)),
            (200, &[("etag", "\"1\"")], None),
            (302, &[("etag", "\"1\"")], Some(Reason::NoLifetime)),
            (404, &[("etag", "\"1\"")], Some(Reason::NoLifetime)),
            (200, &[("cache-control", "max-age=0")], Some(Reason::NoLifetime)),
            (200, &[("cache-control", "max-age=0"), ("etag", "\"1\"")], None),
            (404, &[("cache-control", "max-age=0"), ("etag", "\"1\"")], Some(Reason::NoLifetime)),
            (200, &[("cache-control", "no-cache, max-age=60")], Some(Reason::NoCache)),
            (200, &[("cache-control", "no-cache"), MODIFIED], None),
            (200, &[("cache-control", "max-age=60, No-Store")], Some(Reason::NoStore)),
            (200, &[("cache-control", "no-store=x, max-age=60")], Some(Reason::NoStore)),
            (200, &[("cache-control", "max-age=60, no-store, must-understand")], None),
            (599, &[("cache-control", "max-age=60, no-store, must-understand")], Some(Reason::NoStore)),
            (200, &[("cache-control", "private, max-age=60")], Some(Reason::Private)),
            (200, &[("cache-control", "private=\"x\", max-age=60")], Some(Reason::Private)),
            (200, &[FRESH, ("cdn-cache-control", "private")], Some(Reason::Private)),
            (200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")], None),
            (200, &[FRESH, ("vary", "a"), ("vary", "b, *")], Some(Reason::VaryStar)),
            (200, &[FRESH, ("vary", "accept, X-Forwarded-For")], Some(Reason::VaryClient)),
            (200, &[FRESH, ("vary", "X-Forwarded-Host")], None),
            (206, &[FRESH], Some(Reason::Partial)),
            (304, &[FRESH], Some(Reason::Status)),
            (103, &[FRESH], Some(Reason::Status)),
            (200, &[FRESH, ("content-length", "10")], None),
            (200, &[FRESH, ("content-length", "11")], Some(Reason::TooLarge)),
        ] {
            assert_eq!(refused(&[], status, response, &rules), expected, "{status} {response:?}");
        }
    }

    /// RFC 9111 s3, s5.2.1.5
    #[test]
    fn by_request() {
        let rules = CacheRules::default();
        let (asked, response) = (fields(&[]), fields(&[FRESH]));
        let post = get(&asked).by(&Method::POST);
        let answer = storability(&post, StatusCode::OK, &response, at_once(now()), &rules);
        assert_eq!(answer, Storability::DoNotStore(Reason::Method));
        let unwanted = refused(&[("cache-control", "no-store")], 200, &[FRESH], &rules);
        assert_eq!(unwanted, Some(Reason::RequestNoStore));
        let disabled = CacheRules { enabled: false, ..rules };
        assert_eq!(refused(&[], 200, &[FRESH], &disabled), Some(Reason::Disabled));
    }

    /// RFC 9111 s3.5, and that a made-up lifetime is for nobody's own.
    #[test]
    fn by_credentials_of_the_request() {
        let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
        let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
        let (login, cookie) = (&[("authorization", "x")][..], &[("cookie", "a=b")][..]);
        for (rules, asked, response, expected) in [
            (&strict, login, &[FRESH][..], Some(Reason::Authorization)),
            (&lax, login, &[FRESH], Some(Reason::Authorization)),
            (&strict, login, &[("cache-control", "max-age=60, public")], None),
            (&strict, login, &[("cache-control", "max-age=60, must-revalidate")], None),
            (&strict, login, &[("cache-control", "s-maxage=60")], None),
            (
                &strict,
                login,
                &[("cache-control", "max-age=60, proxy-revalidate")],
                Some(Reason::Authorization),
            ),
            (&strict, login, &[("cache-control", "public")], Some(Reason::Authorization)),
            (&strict, cookie, &[FRESH], None),
            (&strict, cookie, &[], Some(Reason::Cookie)),
            (&strict, cookie, &[MODIFIED], Some(Reason::Cookie)),
            (&lax, cookie, &[MODIFIED], None),
            (&strict, &[], &[], None),
        ] {
            assert_eq!(refused(asked, 200, response, rules), expected, "{asked:?} {response:?}");
            assert!(expected.is_none_or(Reason::is_of_request));
            let asked = fields(asked);
            assert!(expected.is_none() || is_personal(&get(&asked), rules));
        }
    }

    #[test]
    fn by_what_the_path_promises() {
        let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
        let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
        let forced = CacheRules { force: true, ..lax.clone() };
        let (page, style) = (("content-type", "text/html"), ("content-type", "text/css"));
        let (cookie, login) = (&[("cookie", "a=b")][..], &[("authorization", "x")][..]);
        let shared = ("cache-control", "public, max-age=60");
        for (rules, path, asked, response, expected) in [
            (&strict, "/account/x.css", cookie, &[page, shared][..], Some(Reason::Deception)),
            (&lax, "/account/x.css", cookie, &[page], Some(Reason::Deception)),
            (&forced, "/account/x.css", cookie, &[page], Some(Reason::Deception)),
            (&lax, "/account/x.css", login, &[page, shared], Some(Reason::Deception)),
            (&lax, "/account/x.css", &[], &[page], None),
            (&lax, "/account/x.css", cookie, &[style], None),
            (&lax, "/account", cookie, &[page], None),
        ] {
            let (asked, response) = (fields(asked), fields(response));
            let req = RequestHead { path, ..get(&asked) };
            let answer = storability(&req, StatusCode::OK, &response, at_once(now()), rules);
            let reason = match answer {
                Storability::Store => None,
                Storability::DoNotStore(reason) => Some(reason),
            };
            assert_eq!(reason, expected, "{path} {asked:?} {response:?}");
            assert!(expected.is_none() || is_personal(&req, rules));
        }
    }

    #[test]
    fn by_set_cookie() {
        let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
        let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
        for (rules, said, expected) in [
            (&strict, "x", Some(Reason::SetCookie)),
            (&strict, "max-age=60", Some(Reason::SetCookie)),
            (&strict, "public", Some(Reason::SetCookie)),
            (&strict, "public, max-age=60", None),
            (&strict, "s-maxage=60", None),
            (&strict, "max-age=60, no-cache=\"set-cookie\"", None),
            (&lax, "x", None),
            (&lax, "max-age=60", None),
        ] {
            let response = [("set-cookie", "a=b"), ("cache-control", said)];
            assert_eq!(refused(&[], 200, &response, rules), expected, "{said}");
        }
    }

    #[test]
    fn force_overrides_the_response_but_not_credentials() {
        let rules = CacheRules { force: true, ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
        let private = &[("cache-control", "private, no-store")][..];
        assert_eq!(refused(&[], 200, private, &rules), None);
        assert_eq!(refused(&[("authorization", "x")], 200, private, &rules), Some(Reason::Authorization));
        assert_eq!(refused(&[("cookie", "x")], 200, private, &rules), Some(Reason::Cookie));
    }

    proptest! {
        #[test]
        fn no_store_and_private_always_win(
            mut said in proptest::collection::vec("[a-zA-Z-]{1,9}(=[0-9]{1,3}|=\"[a-z, ]{0,5}\")?", 0..5),
            forbidding in "[nN]o-[sS]tore|[pP]rivate|PRIVATE=\"a\"|NO-STORE=1",
            at: proptest::sample::Index,
            lines: bool,
            status in 200u16..600,
            ttl: Option<u16>,
        ) {
            prop_assume!(!said.iter().any(|text| text.eq_ignore_ascii_case("must-understand")));
            said.insert(at.index(said.len() + 1), forbidding);
            let joined = said.join(", ");
            let split: Vec<_> = said.iter().map(|text| ("cache-control", text.as_str())).collect();
            let response = if lines { split } else { vec![("cache-control", joined.as_str())] };
            let ttl = ttl.map(|ttl| Duration::from_secs(ttl.into()));
            let rules = CacheRules { ttl, default_ttl: Duration::from_secs(9), ..CacheRules::default() };
            let reason = refused(&[], status, &response, &rules);
            prop_assert!(matches!(
                reason,
                Some(Reason::NoStore | Reason::Private | Reason::Partial | Reason::Status)
            ));
        }

        #[test]
        fn no_cache_control_panics(text in "[ -~]{0,40}", status in 200u16..600) {
            refused(&[("cache-control", &text)], status, &[("cache-control", &text)], &CacheRules::default());
        }
    }
}
