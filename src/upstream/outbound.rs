//! The request as an origin server gets it: origin-form target, `Host`, one
//! framing of our own making, hop-by-hop fields removed, and only then the
//! fields by which the edge speaks of the client.
//!
//! Which of the client's own words about itself are believed is not decided
//! here: whoever edits the request calls `fields::forwarding::drop_untrusted`
//! for a client that is no trusted proxy. What is left is appended to.

use std::fmt;
use std::sync::Arc;

use http::header::Entry;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, TE, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::Body as HttpBody;

use super::Pseudonym;
use super::introduction::ClientEnds;
use super::upgrade::Upgrade;
use crate::base::numbers;
use crate::exchange::{Body, FetchError, Host, Interim, Request, RequestProgress, Scheme};
use crate::fields::forwarding::{X_FORWARDED_HOST, forwarded_element};
use crate::fields::hop_by_hop;
use crate::fields::proxy_status::ProxyErrorType;

/// So many fields a request has more when it leaves.
const OWN_FIELDS: usize = 8;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request ready to be sent, as often as it takes.
///
/// Its message is made anew each time it is sent, with a copy of the content if that is
/// at hand: whether it may be sent again is decided by how far it had come and its
/// method. Any other content is given away, and comes back only if it is certain that
/// nothing of the request left.
pub struct OutboundRequest {
    req: Box<Request>,
    /// `None` once it was given away.
    content: Option<Body>,
    /// The edge's own entry in `Via`.
    via: HeaderValue,
    upgrade: Option<Upgrade>,
}

impl OutboundRequest {
    /// Makes `req` ready. Fails if it came from this edge itself.
    pub fn new(mut req: Box<Request>, pseudonym: &Pseudonym) -> Result<Self, FetchError> {
        if pseudonym.was_passed(&req.fields) {
            return Err(FetchError::new(ProxyErrorType::ProxyLoopDetected, RequestProgress::NotSent));
        }
        let content = std::mem::take(&mut req.body);
        let content = Some(if content.is_empty() { Body::Empty } else { content });
        let via = pseudonym.entry(req.protocol);
        let upgrade = req.upgrade.take().map(|protocol| {
            // A key that the client says is for the edge alone is none for the origin server.
            hop_by_hop::remove(Arc::make_mut(&mut req.fields));
            Upgrade::new(protocol, req.protocol, &req.fields)
        });
        Ok(Self { req, content, via, upgrade })
    }

    /// True if sending it once more would do no harm (RFC 9110 s9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.req.method.is_idempotent()
    }

    /// True as long as it can be sent (once more).
    pub fn is_at_hand(&self) -> bool {
        self.content.is_some()
    }

    /// The host it is for.
    pub(super) fn host(&self) -> &Host {
        &self.req.target.host
    }

    /// The client's connection it came over.
    pub(super) fn client(&self) -> ClientEnds {
        ClientEnds::of(&self.req.connection)
    }

    /// Where interim responses to it go.
    pub(super) fn interim(&self) -> Option<&Interim> {
        self.req.interim.as_ref()
    }

    /// The change of protocols it asks for.
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref()
    }

    /// The content, or a copy of it; `None` once it was given away.
    pub(super) fn take_content(&mut self) -> Option<Body> {
        match self.content.as_ref()? {
            Body::Empty => Some(Body::Empty),
            Body::Full(bytes) => Some(Body::Full(bytes.clone())),
            _ => self.content.take(),
        }
    }

    /// Takes back the content of a message of which nothing left.
    pub(super) fn put_back(&mut self, content: Body) {
        self.content = Some(content);
    }

    /// The message with this content.
    pub(super) fn message<B: HttpBody>(&self, content: B) -> http::Request<B> {
        let fields = self.fields(&content);
        let mut message = http::Request::new(content);
        *message.method_mut() = self.req.method.clone();
        *message.uri_mut() = Uri::from(self.req.target.path_and_query.clone());
        *message.headers_mut() = fields;
        message
    }

    /// The same as HTTP/2 has it (RFC 9113 s8.3.1, s8.2.2): the target whole, in the
    /// place of `Host`, and nothing that is about a connection. `None` for a host that is no
    /// authority.
    pub(super) fn message_for_http2<B: HttpBody>(
        &self,
        content: B,
        scheme: Scheme,
    ) -> Option<http::Request<B>> {
        let mut message = self.message(content);
        for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
            message.headers_mut().remove(name);
        }
        if self.upgrade.is_some() {
            Upgrade::ask_by_connect(&mut message);
        }
        let mut target = std::mem::take(message.uri_mut()).into_parts();
        target.scheme = scheme.as_str().parse().ok();
        target.authority = self.host().as_str().parse().ok();
        *message.uri_mut() = Uri::from_parts(target).ok()?;
        Some(message)
    }

    /// The fields with which it leaves, with this content.
    fn fields(&self, content: &impl HttpBody) -> HeaderMap {
        let req = &self.req;
        let mut fields = HeaderMap::with_capacity(req.fields.len() + OWN_FIELDS);
        fields.extend(req.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        hop_by_hop::remove(&mut fields);
        // The front answers 100 (Continue) itself (RFC 9110 s10.1.1).
        fields.remove(EXPECT);
        frame(&req.method, &mut fields, content);
        let host = &req.target.host;
        fields.insert(HOST, host.value().clone());
        if fields.contains_key(TE) {
            // It is about this connection, too (RFC 9110 s10.1.4).
            fields.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(upgrade) = &self.upgrade {
            upgrade.ask(&mut fields);
        }
        fields.append(VIA, self.via.clone());
        let mut peer = Vec::with_capacity(40);
        numbers::address(req.connection.peer.ip().to_canonical(), &mut peer);
        let scheme = req.target.scheme.as_str();
        append_to_list(&mut fields, FORWARDED, text(forwarded_element(&peer, host.as_str(), scheme)));
        append_to_list(&mut fields, X_FORWARDED_FOR, text(peer));
        fields.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
        fields.entry(X_FORWARDED_HOST).or_insert_with(|| host.value().clone());
        if let Entry::Vacant(vacant) = fields.entry(X_REQUEST_ID) {
            let mut id = Vec::with_capacity(32);
            req.id.write(&mut id);
            vacant.insert(text(id));
        }
        fields
    }
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundRequest")
            .field("host", self.host())
            .field("is_at_hand", &self.is_at_hand())
            .finish_non_exhaustive()
    }
}

/// Sets the one field that frames the content (RFC 9112 s6): what the client
/// wrote is replaced by what is known of the content.
fn frame(method: &Method, fields: &mut HeaderMap, body: &impl HttpBody) {
    match body.size_hint().exact() {
        Some(0) => {
            let is_expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
            if is_expected || fields.contains_key(CONTENT_LENGTH) {
                fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Some(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if states_length(fields) => {}
        None => {
            fields.remove(CONTENT_LENGTH);
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// True if the client stated one length. The connection cuts the request if
/// the content turns out shorter, and never sends more.
fn states_length(fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (Some(length), None) => decimal(length).is_some(),
        _ => false,
    }
}

/// The number that `value` is, as RFC 9110 s8.6 writes it.
pub(super) fn decimal(value: &HeaderValue) -> Option<u64> {
    // A number as Rust reads it may have a sign.
    value.to_str().ok().filter(|digits| !digits.starts_with('+'))?.parse().ok()
}

/// Adds `entry` at the end of a list, which is one line afterwards: not every
/// origin server reads a second one.
fn append_to_list(fields: &mut HeaderMap, name: HeaderName, entry: HeaderValue) {
    match fields.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(entry);
        }
        Entry::Occupied(mut lines) => {
            let mut list = Vec::new();
            for line in &lines {
                list.extend_from_slice(line.as_bytes());
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(entry.as_bytes());
            if let Ok(list) = HeaderValue::try_from(list) {
                lines.insert(list);
            }
        }
    }
}

#[expect(clippy::expect_used, reason = "an address, a host and a number are of visible ASCII")]
fn text(written: Vec<u8>) -> HeaderValue {
    HeaderValue::try_from(written).expect("a field value")
}

#[cfg(test)]
mod tests;
