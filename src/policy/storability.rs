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
mod tests;
