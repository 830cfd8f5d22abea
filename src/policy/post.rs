//! Whether the response to a POST also answers a GET of its target
//! (RFC 9110 s9.3.3). What else has to be true of what is stored is decided as
//! for the response to a GET.

use http::{HeaderMap, StatusCode, header};

use super::{CacheRules, KeyParts, Timing, freshness_lifetime, reference};

/// Is the response to a POST a representation of its `target`, fresh for a time
/// that it states?
pub fn answers_get(
    target: KeyParts<'_>,
    (status, fields): (StatusCode, &HeaderMap),
    timing: Timing,
    rules: &CacheRules,
) -> bool {
    let mut lines = fields.get_all(header::CONTENT_LOCATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let named = line.to_str().ok().and_then(|line| reference::same_origin(target, line));
    status == StatusCode::OK
        && named.is_some()
        && named == reference::same_origin(target, "")
        && freshness_lifetime(status, fields, timing, rules).source.is_explicit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at_once, fields, now};

    #[test]
    fn what_a_post_answers_is_named_and_fresh() {
        let target = KeyParts { scheme: "https", host: "a.test", path: "/x", query: Some("y=1") };
        let fresh = ("cache-control", "max-age=60");
        for (status, lines, expected) in [
            (200, &[fresh, ("content-location", "https://a.test/x?y=1")][..], true),
            (200, &[fresh, ("content-location", "/x?y=1")], true),
            (200, &[fresh, ("content-location", "")], true),
            (200, &[fresh, ("content-location", "/x")], false),
            (200, &[fresh, ("content-location", "https://b.test/x?y=1")], false),
            (200, &[fresh, ("content-location", "/x?y=1"), ("content-location", "/x?y=1")], false),
            (200, &[fresh], false),
            (200, &[("content-location", "/x?y=1")], false),
            (200, &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"), ("content-location", "")], false),
            (201, &[fresh, ("content-location", "/x?y=1")], false),
            (404, &[fresh, ("content-location", "/x?y=1")], false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = answers_get(target, (status, &fields(lines)), at_once(now()), &CacheRules::default());
            assert_eq!(found, expected, "{status} {lines:?}");
        }
    }
}
