//! Digests in a response's fields (RFC 9530), which go where what they are of is
//! not what is sent. It computes none.

use http::{HeaderMap, HeaderName};

/// Of the content, as it is in one message.
static OF_CONTENT: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("content-md5")];

/// Of the whole representation.
static OF_REPRESENTATION: [HeaderName; 2] =
    [HeaderName::from_static("digest"), HeaderName::from_static("repr-digest")];

/// Takes away the digests of a content that is not sent as it came (RFC 9530
/// s2); those of the representation stay true.
pub fn remove_content_digests(fields: &mut HeaderMap) {
    for name in &OF_CONTENT {
        fields.remove(name);
    }
}

/// Takes away all digests, for another representation is sent (RFC 9530 s3).
pub(super) fn remove_digests(fields: &mut HeaderMap) {
    remove_content_digests(fields);
    for name in &OF_REPRESENTATION {
        fields.remove(name);
    }
}
