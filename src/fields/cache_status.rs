//! `Cache-Status` (RFC 9211): what a cache did with a request.

use std::fmt;

use http::HeaderName;

/// The name of the field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the cache did, one member of a `Cache-Status` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Satisfied from the cache, without a request to an origin server (s2.1).
    pub hit: bool,
    /// Why a request went to an origin server (s2.2).
    pub fwd: Option<ForwardReason>,
    /// The status it answered with, where it is not the one sent (s2.3).
    pub fwd_status: Option<u16>,
    /// The remaining freshness lifetime in seconds; negative when stale (s2.4).
    pub ttl: Option<i64>,
    /// The response was stored (s2.5).
    pub stored: bool,
    /// Answered by another request's response (s2.6).
    pub collapsed: bool,
    /// The name of a reason of ours (s2.8), such as `no-store`.
    pub detail: Option<&'static str>,
}

/// Why a request is forwarded (RFC 9211 s2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// Not to be handled by this cache.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored for this target URI.
    UriMiss,
    /// What is stored does not match the fields named by Vary.
    VaryMiss,
    /// Nothing usable is stored, for a reason not told apart.
    Miss,
    /// A field of the request asked for it.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is only a part.
    Partial,
}

impl ForwardReason {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl CacheStatus {
    /// A request that was forwarded.
    pub fn forwarded(reason: ForwardReason) -> Self {
        Self { fwd: Some(reason), ..Self::default() }
    }

    /// One word for logs and metrics.
    pub fn summary(&self) -> &'static str {
        match (self.hit, self.fwd) {
            (true, _) if self.ttl.is_some_and(|ttl| ttl < 0) => "stale",
            (true, _) => "hit",
            (false, Some(ForwardReason::Bypass | ForwardReason::Method)) => "bypass",
            (false, Some(ForwardReason::Stale)) if self.fwd_status == Some(304) => "revalidated",
            (false, Some(ForwardReason::Stale)) => "expired",
            (false, _) if self.collapsed => "collapsed",
            (false, _) => "miss",
        }
    }
}

impl CacheStatus {
    /// Appends it as a member of the field.
    pub fn write(&self, into: &mut Vec<u8>) {
        fn parameter(name: &str, value: &[u8], into: &mut Vec<u8>) {
            into.extend_from_slice(name.as_bytes());
            into.extend_from_slice(value);
        }
        let mut digits = itoa::Buffer::new();
        into.extend_from_slice(b"Seawall");
        if self.hit {
            into.extend_from_slice(b"; hit");
        }
        if let Some(reason) = self.fwd {
            parameter("; fwd=", reason.as_str().as_bytes(), into);
        }
        if let Some(status) = self.fwd_status {
            parameter("; fwd-status=", digits.format(status).as_bytes(), into);
        }
        if let Some(ttl) = self.ttl {
            parameter("; ttl=", digits.format(ttl).as_bytes(), into);
        }
        if self.stored {
            into.extend_from_slice(b"; stored");
        }
        if self.collapsed {
            into.extend_from_slice(b"; collapsed");
        }
        if let Some(detail) = self.detail {
            parameter("; detail=", detail.as_bytes(), into);
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_parameters_in_the_order_of_the_standard() {
        let status = CacheStatus {
            fwd: Some(ForwardReason::Stale),
            fwd_status: Some(304),
            ttl: Some(60),
            stored: true,
            collapsed: true,
            detail: Some("no-cache"),
            ..CacheStatus::default()
        };
        let printed = "Seawall; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; detail=no-cache";
        assert_eq!(status.to_string(), printed);
        assert_eq!(status.summary(), "revalidated");
    }
}
