//! Whether a request goes past the cache: nothing is looked up for it and
//! nothing stored.

use http::Method;

use super::{CacheRules, RequestHead};
use crate::fields::cache_status::ForwardReason;

/// Why a request goes past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BypassReason {
    /// The route has no cache.
    Disabled,
    /// Neither GET nor HEAD.
    Method,
    /// It has If-Match or If-Unmodified-Since: only the origin server knows the
    /// current state they are about (RFC 9110 s13.1.1, RFC 9111 s4.3.2).
    Precondition,
}

impl BypassReason {
    /// As Cache-Status says it in its own words (RFC 9211 s2.2).
    pub fn forward_reason(self) -> ForwardReason {
        match self {
            Self::Disabled => ForwardReason::Bypass,
            Self::Method => ForwardReason::Method,
            Self::Precondition => ForwardReason::Request,
        }
    }

    /// Its name, the detail in Cache-Status and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Method => "method",
            Self::Precondition => "precondition",
        }
    }
}

/// Decides whether a request goes past the cache. That a GET with content does
/// is for the caller to see to: policy sees no content.
pub fn bypass(req: &RequestHead<'_>, rules: &CacheRules) -> Option<BypassReason> {
    if !rules.enabled {
        return Some(BypassReason::Disabled);
    }
    if *req.method != Method::GET && *req.method != Method::HEAD {
        return Some(BypassReason::Method);
    }
    if req.asks.expects_a_state {
        return Some(BypassReason::Precondition);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::fields;

    #[test]
    fn only_plain_reads_of_enabled_routes_ask_the_cache() {
        let enabled = CacheRules::default();
        let disabled = CacheRules { enabled: false, ..CacheRules::default() };
        for (rules, method, lines, expected) in [
            (&enabled, Method::GET, &[][..], None),
            (&enabled, Method::HEAD, &[("if-none-match", "*")], None),
            (&enabled, Method::GET, &[("if-match", "\"a\"")], Some(BypassReason::Precondition)),
            (&enabled, Method::POST, &[], Some(BypassReason::Method)),
            (&enabled, Method::OPTIONS, &[], Some(BypassReason::Method)),
            (&disabled, Method::GET, &[], Some(BypassReason::Disabled)),
        ] {
            let fields = fields(lines);
            assert_eq!(bypass(&RequestHead::new(&method, "/", &fields), rules), expected);
        }
    }
}
