//! Which representation of a response a client gets: as the origin server
//! sent it, or in a content coding that is made here (RFC 9110 s8.4). Encodes
//! nothing.
//!
//! Only what is stored is encoded, so that what answers one client's secrets
//! never shares a compressed response with what another one wrote into the
//! request: the length of such a response tells of its content.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, COOKIE, ETAG, IF_MATCH, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::digest::remove_digests;
use super::vary::Selecting;
use super::{CacheRules, RequestHead, StoredHead};
use crate::fields::cache_control::{self, NoCache, ResponseDirectives};
use crate::fields::client_cert::CLIENT_CERT_FIELDS;
use crate::fields::coding::Coding;
use crate::fields::entity_tag::EntityTag;
use crate::fields::{media_type, vary};

/// What a route says of compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionRules {
    /// The codings that are made, the first of them where a client likes
    /// several as well.
    pub codings: Vec<Coding>,
    /// The shortest content that is encoded, in bytes.
    pub min: u64,
}

impl Default for CompressionRules {
    fn default() -> Self {
        Self { codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip], min: 1 << 10 }
    }
}

/// The representation of a response that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// The only one there is.
    Only,
    /// That without a coding, where other clients get another one.
    Identity,
    /// In this coding.
    Encoded(Coding),
}

/// Chooses the representation of a stored response, or of one that is being
/// stored, whose content has this `length`, if that is known
/// (RFC 9110 s12.5.3).
///
/// A part, or what is sent only if it has a certain strong validator, is of
/// the identity: what is encoded here has none.
pub fn representation(
    req: &RequestHead<'_>,
    stored: &StoredHead,
    length: Option<u64>,
    rules: &CacheRules,
) -> Representation {
    let Some(rules) = rules.compression.as_ref().filter(|_| stored.is_compressible) else {
        return Representation::Only;
    };
    if length.is_some_and(|length| length < rules.min) {
        return Representation::Only;
    }
    let chosen = req.asks.codings.and_then(|accepted| accepted.choose(&rules.codings));
    match chosen {
        Some(coding) if !wants_identity(req.fields) => Representation::Encoded(coding),
        _ => Representation::Identity,
    }
}

fn wants_identity(asked: &HeaderMap) -> bool {
    asked.contains_key(RANGE) || asked.contains_key(IF_MATCH) || cache_control::forbids_transform(asked)
}

/// May a response with these stored fields be encoded at all? Not what an
/// origin server has encoded, forbids to be changed, or makes for the bearer
/// of some credentials.
pub(super) fn is_compressible(
    status: StatusCode,
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    selecting: &Selecting,
) -> bool {
    status == StatusCode::OK
        && [CONTENT_ENCODING, CONTENT_RANGE].iter().all(|name| !fields.contains_key(name))
        && fields.get(CONTENT_TYPE).is_some_and(|written| media_type::is_compressible(written.as_bytes()))
        && !cache_control::forbids_transform(fields)
        && !matches!(&directives.no_cache, NoCache::Fields(names) if names.contains(&CACHE_CONTROL))
        && ![COOKIE, AUTHORIZATION].iter().chain(&CLIENT_CERT_FIELDS).any(|name| selecting.names(name))
}

impl StoredHead {
    /// May it be encoded, if the client and the route agree?
    pub fn is_compressible(&self) -> bool {
        self.is_compressible
    }

    /// Says in `fields`, which are those of the response to one client, that
    /// they depend on Accept-Encoding (RFC 9110 s12.5.5).
    pub fn add_vary(&self, fields: &mut HeaderMap) {
        if !self.selecting.names(&ACCEPT_ENCODING) {
            vary::add_accept_encoding(fields);
        }
    }
}

/// Turns the fields of the identity into those of the same content in
/// `coding`, whose `length` may not be known yet.
///
/// The entity tag becomes weak, for the two are the same to a reader and
/// not byte for byte (RFC 9110 s8.8.1); what is true only of the identity's
/// bytes is taken out (s14.3, RFC 9530).
pub fn encode_fields(fields: &mut HeaderMap, coding: Coding, length: Option<u64>) {
    vary::add_accept_encoding(fields);
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    match length {
        Some(length) => fields.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => fields.remove(CONTENT_LENGTH),
    };
    fields.remove(ACCEPT_RANGES);
    remove_digests(fields);
    match EntityTag::of(fields).map(weakened) {
        Some(weak) => fields.insert(ETAG, weak),
        None => fields.remove(ETAG),
    };
}

#[expect(clippy::expect_used, reason = "an entity tag that was read from a field")]
fn weakened(tag: EntityTag<'_>) -> HeaderValue {
    let text = [b"W/\"", tag.opaque, b"\""].concat();
    HeaderValue::try_from(text).expect("a field value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{fields, get, now, stored, stored_for, stored_from};

    const PLAIN: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];

    fn chosen(asked: &[(&str, &str)], head: &StoredHead, length: Option<u64>) -> Representation {
        representation(&get(&fields(asked)), head, length, &CacheRules::default())
    }

    #[test]
    fn what_the_client_likes_best_is_chosen() {
        let head = stored_from(PLAIN, now());
        for (asked, expected) in [
            (&[][..], Representation::Identity),
            (&[("accept-encoding", "gzip, deflate, br, zstd")], Representation::Encoded(Coding::Zstd)),
            (&[("accept-encoding", "gzip;q=0.5, br;q=0.2")], Representation::Encoded(Coding::Gzip)),
            (&[("accept-encoding", "deflate")], Representation::Identity),
            (&[("accept-encoding", "gzip"), ("range", "bytes=0-1")], Representation::Identity),
            (&[("accept-encoding", "gzip"), ("if-match", "\"1\"")], Representation::Identity),
            (&[("accept-encoding", "gzip"), ("cache-control", "no-transform")], Representation::Identity),
        ] {
            assert_eq!(chosen(asked, &head, Some(4096)), expected, "{asked:?}");
            assert_eq!(chosen(asked, &head, None), expected, "{asked:?}");
            assert_eq!(chosen(asked, &head, Some(1023)), Representation::Only, "{asked:?}");
        }
        let off = CacheRules { compression: None, ..CacheRules::default() };
        let asked = fields(&[("accept-encoding", "gzip")]);
        assert_eq!(representation(&get(&asked), &head, None, &off), Representation::Only);
    }

    #[test]
    fn what_is_never_encoded() {
        let asked = &[("accept-encoding", "gzip")];
        for response in [
            &[][..],
            &[("content-type", "image/png")],
            &[("content-type", "text/event-stream")],
            &[PLAIN[0], ("content-encoding", "br")],
            &[PLAIN[0], ("cache-control", "max-age=60, No-Transform")],
            &[PLAIN[0], ("cdn-cache-control", "max-age=60, no-transform")],
            &[PLAIN[0], ("cache-control", "max-age=60, no-cache=\"cache-control\", no-transform")],
            &[PLAIN[0], ("vary", "*")],
            &[PLAIN[0], ("vary", "Accept-Encoding, Cookie")],
            &[PLAIN[0], ("vary", "Authorization")],
        ] {
            let head = stored_for(&[], response, now());
            assert_eq!(chosen(asked, &head, Some(4096)), Representation::Only, "{response:?}");
            let restored = StoredHead::from_parts(head.to_parts());
            assert_eq!(chosen(asked, &restored, Some(4096)), Representation::Only, "{response:?}");
        }
        assert_eq!(chosen(asked, &stored(404, PLAIN, now()), None), Representation::Only);
        let restored = StoredHead::from_parts(stored_from(PLAIN, now()).to_parts());
        assert_eq!(chosen(asked, &restored, None), Representation::Encoded(Coding::Gzip));
    }

    #[test]
    fn fields_of_what_is_encoded() {
        let identity = [
            PLAIN[0],
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:AA==:"),
            ("content-length", "4096"),
            ("content-md5", "AA=="),
            ("digest", "sha-256=AA=="),
            ("etag", "\"1\""),
            ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
            ("repr-digest", "sha-256=:AA==:"),
            ("vary", "Origin"),
            ("vary", "foo"),
        ];
        let mut made = fields(&identity);
        encode_fields(&mut made, Coding::Brotli, Some(99));
        let expected = [
            PLAIN[0],
            ("content-encoding", "br"),
            ("content-length", "99"),
            ("etag", "W/\"1\""),
            ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
            ("vary", "Origin, foo, Accept-Encoding"),
        ];
        assert_eq!(made, fields(&expected));
        encode_fields(&mut made, Coding::Gzip, None);
        assert!(!made.contains_key("content-length"));
        assert_eq!(
            (&made["etag"], &made["content-encoding"]),
            (&"W/\"1\"".parse().unwrap(), &"gzip".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_entity_tag_cannot_become_weak() {
        let mut made = fields(&[("etag", "1")]);
        encode_fields(&mut made, Coding::Gzip, None);
        assert!(!made.contains_key("etag"));
    }

    #[test]
    fn vary_names_it_once() {
        for (lines, expected) in [
            (&[][..], &["Accept-Encoding"][..]),
            (&["accept-encoding"], &["accept-encoding"]),
            (&["a", "b, Accept-Encoding"], &["a", "b, Accept-Encoding"]),
            (&["*"], &["*"]),
            (&["a"], &["a, Accept-Encoding"]),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let head = stored_from(&lines, now());
            let mut sent = head.fields();
            head.add_vary(&mut sent);
            for sent in [sent, head.response_fields(true), head.response_fields(true)] {
                assert!(sent.get_all("vary").iter().eq(expected), "{sent:?}");
            }
            let stored: Vec<_> = lines.iter().map(|(_, line)| *line).collect();
            assert!(head.response_fields(false).get_all("vary").iter().eq(stored));
        }
    }
}
