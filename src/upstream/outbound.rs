//! The request as an origin server gets it: origin-form target, `Host`, one
//! framing of our own making, hop-by-hop fields removed, and only then the
//! fields by which the edge speaks of the client.
//!
//! Which of the client's own words about itself are believed is not decided
//! here: whoever edits the request calls `fields::forwarding::drop_untrusted`
//! for a client that is no trusted proxy. What is left is appended to.

use std::fmt;

use http::header::Entry;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, TE, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::Body as _;

use super::Pseudonym;
use super::introduction::ClientEnds;
use super::upgrade::Upgrade;
use crate::base::numbers;
use crate::exchange::{Body, FetchError, Host, Interim, Request, RequestProgress, Scheme};
use crate::fields::forwarding::forwarded_element;
use crate::fields::hop_by_hop;
use crate::fields::proxy_status::ProxyErrorType;

/// So many fields a request has more when it leaves.
const OWN_FIELDS: usize = 8;

const ABOUT_TE: HeaderValue = HeaderValue::from_static("te");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request ready to be sent, as often as it takes.
///
/// A request whose content is at hand is copied each time it is sent: whether it may
/// be sent again is decided by how far it had come and its method. Any other one is
/// given away, and comes back only if it is certain that nothing of it left.
pub struct OutboundRequest {
    /// `None` once it was given away.
    message: Option<http::Request<Body>>,
    host: Host,
    client: ClientEnds,
    interim: Option<Interim>,
    upgrade: Option<Upgrade>,
    is_idempotent: bool,
    is_copied: bool,
}

impl OutboundRequest {
    /// Makes `req` ready. Fails if it came from this edge itself.
    pub fn new(req: Request, pseudonym: &Pseudonym) -> Result<Self, FetchError> {
        let mut fields = req.fields;
        // At once, for what follows is added one by one.
        fields.reserve(OWN_FIELDS);
        if pseudonym.was_passed(&fields) {
            return Err(FetchError::new(ProxyErrorType::ProxyLoopDetected, RequestProgress::NotSent));
        }
        hop_by_hop::remove(&mut fields);
        // The front answers 100 (Continue) itself (RFC 9110 s10.1.1).
        fields.remove(EXPECT);
        let body = if req.body.is_empty() { Body::Empty } else { req.body };
        frame(&req.method, &mut fields, &body);
        let host = req.target.host;
        fields.insert(HOST, host.value().clone());
        if fields.contains_key(TE) {
            // It is about this connection, too (RFC 9110 s10.1.4).
            fields.insert(CONNECTION, ABOUT_TE);
        }
        let upgrade = req.upgrade.map(|protocol| Upgrade::ask(protocol, req.protocol, &mut fields));
        fields.append(VIA, pseudonym.entry(req.protocol));
        let mut peer = Vec::with_capacity(40);
        numbers::address(req.connection.peer.ip().to_canonical(), &mut peer);
        let scheme = req.target.scheme.as_str();
        append_to_list(&mut fields, FORWARDED, forwarded_element(&peer, host.as_str(), scheme));
        append_to_list(&mut fields, X_FORWARDED_FOR, peer);
        fields.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
        fields.entry(X_FORWARDED_HOST).or_insert_with(|| host.value().clone());
        if let Entry::Vacant(vacant) = fields.entry(X_REQUEST_ID) {
            let mut id = Vec::with_capacity(32);
            req.id.write(&mut id);
            vacant.insert(text(id));
        }
        let is_idempotent = req.method.is_idempotent();
        let is_copied = matches!(body, Body::Empty | Body::Full(_));
        let message = message(req.method, Uri::from(req.target.path_and_query), fields, body);
        let client = ClientEnds::of(&req.connection);
        let interim = req.interim;
        Ok(Self { message: Some(message), host, client, interim, upgrade, is_idempotent, is_copied })
    }

    /// True if sending it once more would do no harm (RFC 9110 s9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    /// True as long as it can be sent (once more).
    pub fn is_at_hand(&self) -> bool {
        self.message.is_some()
    }

    /// The host it is for.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The client's connection it came over.
    pub(super) fn client(&self) -> ClientEnds {
        self.client
    }

    /// Where interim responses to it go.
    pub(super) fn interim(&self) -> Option<&Interim> {
        self.interim.as_ref()
    }

    /// The change of protocols it asks for.
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref()
    }

    /// The message, or a copy of it; `None` once it was given away.
    pub(super) fn take(&mut self) -> Option<http::Request<Body>> {
        let held = self.message.as_ref()?;
        let body = match held.body() {
            Body::Empty if self.is_copied => Body::Empty,
            Body::Full(bytes) if self.is_copied => Body::Full(bytes.clone()),
            _ => return self.message.take(),
        };
        Some(message(held.method().clone(), held.uri().clone(), held.headers().clone(), body))
    }

    /// The same as HTTP/2 has it (RFC 9113 s8.3.1, s8.2.2): the target whole, in
    /// the place of `Host`, and nothing that is about a connection.
    pub(super) fn take_for_http2(&mut self, scheme: Scheme) -> Option<http::Request<Body>> {
        let mut message = self.take()?;
        for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
            message.headers_mut().remove(name);
        }
        if self.upgrade.is_some() {
            Upgrade::ask_by_connect(&mut message);
        }
        let mut target = std::mem::take(message.uri_mut()).into_parts();
        target.scheme = scheme.as_str().parse().ok();
        target.authority = self.host.as_str().parse().ok();
        *message.uri_mut() = Uri::from_parts(target).ok()?;
        Some(message)
    }

    /// Takes back what [`OutboundRequest::take_for_http2`] gave, unless that was a copy.
    pub(super) fn put_back_from_http2(&mut self, mut message: http::Request<Body>) {
        if self.is_at_hand() {
            return;
        }
        let target = message.uri().path_and_query().cloned();
        *message.uri_mut() = target.map(Uri::from).unwrap_or_default();
        let method = message.method().clone();
        let (mut head, body) = message.into_parts();
        frame(&method, &mut head.headers, &body);
        head.headers.insert(HOST, self.host.value().clone());
        if head.headers.contains_key(TE) {
            head.headers.insert(CONNECTION, ABOUT_TE);
        }
        self.put_back(http::Request::from_parts(head, body));
    }

    /// Takes back a message of which nothing left.
    pub(super) fn put_back(&mut self, message: http::Request<Body>) {
        self.message = Some(message);
    }
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundRequest")
            .field("host", &self.host)
            .field("is_at_hand", &self.is_at_hand())
            .finish_non_exhaustive()
    }
}

fn message(method: Method, uri: Uri, fields: HeaderMap, body: Body) -> http::Request<Body> {
    let mut message = http::Request::new(body);
    *message.method_mut() = method;
    *message.uri_mut() = uri;
    *message.headers_mut() = fields;
    message
}

/// Sets the one field that frames the content (RFC 9112 s6): what the client
/// wrote is replaced by what is known of the content.
fn frame(method: &Method, fields: &mut HeaderMap, body: &Body) {
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
        (Some(length), None) => is_decimal(length),
        _ => false,
    }
}

/// True if `value` is a number as RFC 9110 s8.6 writes it.
pub(super) fn is_decimal(value: &HeaderValue) -> bool {
    // A number as Rust reads it may have a sign.
    value.to_str().is_ok_and(|digits| !digits.starts_with('+') && digits.parse::<u64>().is_ok())
}

/// Adds `entry` at the end of a list, which is one line afterwards: not every
/// origin server reads a second one.
fn append_to_list(fields: &mut HeaderMap, name: HeaderName, entry: Vec<u8>) {
    match fields.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(text(entry));
        }
        Entry::Occupied(mut lines) => {
            let mut list = Vec::new();
            for line in &lines {
                list.extend_from_slice(line.as_bytes());
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(&entry);
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
