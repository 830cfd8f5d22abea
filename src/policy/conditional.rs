//! Preconditions of clients (RFC 9110 s13, RFC 9111 s4.3.2), evaluated against
//! a stored response or one that was just fetched.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{RequestHead, remove_content_digests};
use crate::fields::date;
use crate::fields::entity_tag::{self, EntityTag};

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The response is sent; a Range may still make a part of it.
    Proceed,
    /// A 304 is sent in its place.
    NotModified,
    /// A 412 is sent in its place.
    Failed,
}

/// Evaluates the preconditions of a request against the response it would get,
/// in the order of RFC 9110 s13.2.2. Only a successful response has any.
pub fn evaluate(req: &RequestHead<'_>, status: StatusCode, fields: &HeaderMap) -> Precondition {
    if !status.is_success() || (*req.method != Method::GET && *req.method != Method::HEAD) {
        return Precondition::Proceed;
    }
    if req.asks.expects_a_state && has_changed_from_match(req.fields, fields) {
        return Precondition::Failed;
    }
    let is_unmodified = req.asks.has_validators && is_unmodified(req.fields, fields);
    if is_unmodified { Precondition::NotModified } else { Precondition::Proceed }
}

/// If-Match, else If-Unmodified-Since (RFC 9110 s13.1.1, s13.1.4).
fn has_changed_from_match(asked: &HeaderMap, fields: &HeaderMap) -> bool {
    if asked.contains_key(header::IF_MATCH) {
        let own = EntityTag::of(fields);
        return !entity_tag::any(asked, &header::IF_MATCH, |tag| own.is_some_and(|own| own.strong_eq(tag)));
    }
    let Some(since) = asked.get(header::IF_UNMODIFIED_SINCE).and_then(date::of) else { return false };
    let modified = fields.get(header::LAST_MODIFIED).and_then(date::of);
    modified.is_some_and(|modified| modified > since)
}

/// If-None-Match, else If-Modified-Since (RFC 9110 s13.1.2, s13.1.3). Where
/// there is no Last-Modified, Date stands in (RFC 9111 s4.3.2).
fn is_unmodified(asked: &HeaderMap, fields: &HeaderMap) -> bool {
    if asked.contains_key(header::IF_NONE_MATCH) {
        let own = EntityTag::of(fields);
        return entity_tag::any(asked, &header::IF_NONE_MATCH, |tag| own.is_some_and(|own| own.weak_eq(tag)));
    }
    // Several are no date (RFC 9110 s13.1.3).
    let mut lines = asked.get_all(header::IF_MODIFIED_SINCE).iter();
    let (Some(since), None) = (lines.next(), lines.next()) else { return false };
    let modified = fields.get(header::LAST_MODIFIED).or_else(|| fields.get(header::DATE));
    matches!((date::of(since), modified.and_then(date::of)), (Some(since), Some(modified)) if modified <= since)
}

/// The fields of a 304 that is made here (RFC 9110 s15.4.5): all but those that
/// describe the content it does not have.
pub fn not_modified_fields(mut fields: HeaderMap) -> HeaderMap {
    for name in &OF_CONTENT {
        fields.remove(name);
    }
    remove_content_digests(&mut fields);
    if fields.contains_key(header::ETAG) {
        fields.remove(header::LAST_MODIFIED);
    }
    fields
}

/// What describes content.
const OF_CONTENT: [HeaderName; 9] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

#[cfg(test)]
mod tests {
    use super::Precondition::{Failed, NotModified, Proceed};
    use super::*;
    use crate::policy::testing::fields;

    const SIXTH: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SEVENTH: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    /// RFC 9110 s13.1 and s13.2.2, RFC 9111 s4.3.2
    #[test]
    fn preconditions() {
        let tagged = &[("etag", "\"1\""), ("last-modified", SIXTH), ("date", SEVENTH)][..];
        let weak = &[("etag", "W/\"1\"")][..];
        let dated = &[("date", SIXTH)][..];
        for (asked, response, expected) in [
            (&[][..], tagged, Proceed),
            (&[("if-none-match", "\"1\"")], tagged, NotModified),
            (&[("if-none-match", "W/\"1\"")], tagged, NotModified),
            (&[("if-none-match", "\"0\", \"1\"")], weak, NotModified),
            (&[("if-none-match", "*")], dated, NotModified),
            (&[("if-none-match", "\"2\"")], tagged, Proceed),
            (&[("if-none-match", "\"1\"")], dated, Proceed),
            (&[("if-modified-since", SEVENTH), ("if-modified-since", SEVENTH)], tagged, Proceed),
            // If-None-Match wins over If-Modified-Since.
            (&[("if-none-match", "\"2\""), ("if-modified-since", SEVENTH)], tagged, Proceed),
            (
                &[("if-none-match", "\"1\""), ("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")],
                tagged,
                NotModified,
            ),
            (&[("if-modified-since", SIXTH)], tagged, NotModified),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], tagged, NotModified),
            (&[("if-modified-since", SEVENTH)], tagged, NotModified),
            (&[("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")], tagged, Proceed),
            (&[("if-modified-since", "yesterday")], tagged, Proceed),
            // Date stands in for Last-Modified.
            (&[("if-modified-since", SIXTH)], dated, NotModified),
            (&[("if-modified-since", SIXTH)], weak, Proceed),
            (&[("if-match", "\"1\"")], tagged, Proceed),
            (&[("if-match", "*")], tagged, Proceed),
            (&[("if-match", "\"2\"")], tagged, Failed),
            (&[("if-match", "W/\"1\"")], weak, Failed),
            (&[("if-match", "\"1\""), ("if-none-match", "\"1\"")], tagged, NotModified),
            (&[("if-unmodified-since", SIXTH)], tagged, Proceed),
            (&[("if-unmodified-since", "Sat, 05 Nov 1994 08:49:37 GMT")], tagged, Failed),
            (&[("if-unmodified-since", SIXTH)], dated, Proceed),
        ] {
            let (asked, response) = (fields(asked), fields(response));
            for method in [Method::GET, Method::HEAD] {
                let req = RequestHead::new(&method, "/", &asked);
                assert_eq!(evaluate(&req, StatusCode::OK, &response), expected, "{asked:?} {response:?}");
                assert_eq!(evaluate(&req, StatusCode::NOT_FOUND, &response), Proceed);
            }
        }
    }

    /// RFC 9110 s15.4.5
    #[test]
    fn a_304_has_what_guides_caches_and_nothing_of_the_content() {
        let response = [
            ("cache-control", "max-age=1"),
            ("content-location", "/x"),
            ("content-type", "text/html"),
            ("content-length", "3"),
            ("content-encoding", "br"),
            ("date", SEVENTH),
            ("etag", "\"1\""),
            ("expires", SEVENTH),
            ("last-modified", SIXTH),
            ("vary", "a"),
            ("vary", "b"),
        ];
        let expected = [
            ("cache-control", "max-age=1"),
            ("content-location", "/x"),
            ("date", SEVENTH),
            ("etag", "\"1\""),
            ("expires", SEVENTH),
            ("vary", "a"),
            ("vary", "b"),
        ];
        assert_eq!(not_modified_fields(fields(&response)), fields(&expected));
        let untagged = fields(&[("last-modified", SIXTH)]);
        assert_eq!(not_modified_fields(untagged.clone()), untagged);
    }
}
