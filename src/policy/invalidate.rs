//! What a write makes void (RFC 9111 s4.4).

use http::{HeaderMap, Method, StatusCode, header};

use super::{KeyParts, reference};

/// The paths, with queries, of the targets whose stored responses are void
/// after this response: the target itself, and what Location and
/// Content-Location name, if they have its origin. None if the method is safe
/// or the response an error.
pub fn invalidated_by(
    method: &Method,
    target: KeyParts<'_>,
    status: StatusCode,
    fields: &HeaderMap,
) -> Vec<String> {
    // A method that is not known might be unsafe.
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let named = [header::LOCATION, header::CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| fields.get(name)?.to_str().ok())
        .filter_map(|uri| reference::same_origin(target, uri));
    let mut void: Vec<String> = reference::same_origin(target, "").into_iter().chain(named).collect();
    void.sort_unstable();
    void.dedup();
    void
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::fields;

    #[test]
    fn writes_void_their_target_and_what_they_name() {
        let target = KeyParts { scheme: "https", host: "a.test", path: "/x", query: Some("y=1") };
        let moved = &[("location", "https://a.test/new"), ("content-location", "/copy")][..];
        for (method, status, lines, expected) in [
            ("POST", 200, &[][..], &["/x?y=1"][..]),
            ("PUT", 204, &[], &["/x?y=1"]),
            ("DELETE", 303, &[], &["/x?y=1"]),
            ("M-SEARCH", 200, &[], &["/x?y=1"]),
            ("POST", 201, moved, &["/copy", "/new", "/x?y=1"]),
            ("POST", 201, &[("location", "https://b.test/new")], &["/x?y=1"]),
            ("POST", 201, &[("location", "/x?y=1")], &["/x?y=1"]),
            ("POST", 500, moved, &[]),
            ("POST", 404, &[], &[]),
            ("GET", 200, moved, &[]),
            ("HEAD", 200, &[], &[]),
            ("OPTIONS", 200, &[], &[]),
            ("TRACE", 200, &[], &[]),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let void = invalidated_by(&method, target, status, &fields(lines));
            assert_eq!(void, expected, "{method} {status} {lines:?}");
        }
    }
}
