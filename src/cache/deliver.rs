//! Makes the response to one client out of a whole response, stored or still
//! coming: preconditions and ranges are answered here (RFC 9110 s13, s14).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::encode::{self, Made};
use super::multipart::multipart;
use super::reader::Reader;
use super::slices::SliceReader;
use super::store::{FileBody, Sliced, StoredBody, StoredResponse};
use crate::exchange::{Body, Facts, Response};
use crate::fields::age;
use crate::fields::cache_status::CacheStatus;
use crate::fields::coding::Coding;
use crate::fields::range::{ContentRange, Span};
use crate::policy::{
    self, CacheRules, Part, Precondition, RangeAnswer, Representation, RequestHead, StoredHead,
};

/// The content a response is made of.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it at hand.
    Whole(Bytes),
    /// The same, in what is stored.
    Stored(Arc<StoredResponse>),
    /// In a file.
    File(FileBody),
    /// As a fill brings it.
    Running(Reader),
    /// In slices, on the disk or as they are fetched.
    Sliced(SliceReader),
}

impl Content {
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stored(stored) => Some(stored.body.length()),
            Self::File(body) => Some(body.length()),
            Self::Running(reader) => reader.length(),
            Self::Sliced(reader) => Some(reader.complete_length()),
        }
    }

    fn whole(self) -> Body {
        match self {
            Self::Whole(bytes) => Body::Full(bytes),
            Self::Stored(stored) => Body::Full(Bytes::from_owner(Held(stored))),
            Self::File(body) => Body::boxed(body.read()),
            Self::Running(reader) => Body::boxed(reader),
            Self::Sliced(reader) => Body::boxed(reader),
        }
    }

    /// The bytes from `first` to `last`, both included and both within it.
    fn part(self, first: u64, last: u64) -> Body {
        match self {
            Self::Whole(bytes) => {
                let index =
                    |offset: u64| usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
                Body::Full(bytes.slice(index(first)..index(last.saturating_add(1))))
            }
            Self::Stored(stored) => Self::Whole(Bytes::from_owner(Held(stored))).part(first, last),
            Self::File(body) => Body::boxed(body.read_part(first, last)),
            Self::Running(reader) => Body::boxed(reader.part(first, last)),
            Self::Sliced(reader) => Body::boxed(reader.part(first, last)),
        }
    }

    /// The same of several spans; `None` of a running fill, which is read once,
    /// from its beginning on.
    fn parts(&self, spans: &[Span]) -> Option<Vec<(Span, Body)>> {
        let part = |span: &Span| {
            let again = match self {
                Self::Whole(bytes) => Self::Whole(bytes.clone()),
                Self::Stored(stored) => Self::Stored(Arc::clone(stored)),
                Self::File(body) => Self::File(body.clone()),
                Self::Sliced(reader) => Self::Sliced(reader.again()),
                Self::Running(_) => return None,
            };
            Some((*span, again.part(span.first, span.last)))
        };
        spans.iter().map(part).collect()
    }

    /// The content of a stored response that is in one piece, which is held; fails with
    /// the slices it is in if it is not.
    pub(super) fn of_response(stored: &Arc<StoredResponse>) -> Result<Self, Sliced> {
        match &stored.body {
            StoredBody::Memory(_) => Ok(Self::Stored(Arc::clone(stored))),
            body => Self::of(body),
        }
    }

    /// The content of a stored response that is in one piece; fails with the
    /// slices it is in if it is not.
    pub(super) fn of(body: &StoredBody) -> Result<Self, Sliced> {
        match body {
            StoredBody::Memory(bytes) => Ok(Self::Whole(bytes.clone())),
            StoredBody::File(body) => Ok(Self::File(body.clone())),
            StoredBody::Sliced(sliced) => Err(**sliced),
        }
    }
}

/// Content that is held by its response: a count of its own is seldom in the cache of the
/// processor, and that of the response was just there.
struct Held(Arc<StoredResponse>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.body.in_memory()
    }
}

/// A whole response on its way to a client.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) content: Content,
    pub(super) facts: Facts,
    /// Set where the content is a stored part, of which a request gets what it
    /// asks for.
    pub(super) part: Option<Part>,
    /// The coding in which such a client gets it as soon as that is made: what it
    /// is told not to be modified is what it has in that coding.
    pub(super) coded_soon: Option<Coding>,
}

impl Selected {
    /// What another request brings, or has just validated.
    pub(super) fn shared(head: &StoredHead, content: Content, cache: CacheStatus) -> Self {
        Self::of(head, head.fields(), content, cache)
    }

    fn of(head: &StoredHead, fields: HeaderMap, content: Content, cache: CacheStatus) -> Self {
        let facts = Facts { cache: Some(cache), ..Facts::default() };
        Self { status: head.status, fields, content, facts, part: head.part(), coded_soon: None }
    }

    /// What is stored, of an age that the client is told (RFC 9111 s5.1), in the coding
    /// that suits it best of those that are there (RFC 9110 s12.5.3).
    pub(super) fn stored(
        req: &RequestHead<'_>,
        stored: &StoredResponse,
        content: Content,
        rules: &CacheRules,
        (cache, age): (CacheStatus, Duration),
    ) -> Self {
        let representation = representation(req, &stored.head, &content, rules);
        let fields = stored.head.response_fields(representation != Representation::Only);
        let selected = Self::of(&stored.head, fields, content, cache).aged(age);
        selected.represented(representation, |coding| stored.encoded(coding).cloned())
    }

    /// The same, of an age that the client is told (RFC 9111 s5.1).
    pub(super) fn aged(mut self, age: Duration) -> Self {
        self.fields.insert(AGE, age::value(age));
        self
    }

    /// The same in the representation that the client gets, where `made` is what
    /// there is of the content in a coding.
    fn represented(
        mut self,
        representation: Representation,
        made: impl FnOnce(Coding) -> Option<Made>,
    ) -> Self {
        if let Representation::Encoded(coding) = representation {
            match made(coding) {
                Some(Made::Shorter(bytes)) => return self.encoded(coding, bytes),
                Some(Made::NotShorter) => {}
                None => self.coded_soon = Some(coding),
            }
        }
        self
    }

    /// The same with the content in a coding.
    pub(super) fn encoded(mut self, coding: Coding, content: Bytes) -> Self {
        policy::encode_fields(&mut self.fields, coding, Some(content.len() as u64));
        self.content = Content::Whole(content);
        self
    }

    /// The same content for a client that gets it as it came, where others may
    /// get it in a coding.
    pub(super) fn varying(mut self, req: &RequestHead<'_>, head: &StoredHead, rules: &CacheRules) -> Self {
        let representation = representation(req, head, &self.content, rules);
        if representation != Representation::Only {
            head.add_vary(&mut self.fields);
        }
        self.represented(representation, |_| None)
    }

    /// What `req` gets of it: all, a part, or the news that it has it already.
    pub(super) fn answer(self, req: &RequestHead<'_>) -> Box<Response> {
        match policy::evaluate(req, self.status, &self.fields) {
            Precondition::NotModified => self.not_modified(),
            Precondition::Failed => self.in_place(StatusCode::PRECONDITION_FAILED),
            Precondition::Proceed if *req.method == Method::HEAD => self.without_content(),
            Precondition::Proceed => self.in_range(req),
        }
    }

    fn not_modified(mut self) -> Box<Response> {
        if let Some(coding) = self.coded_soon {
            policy::encode_fields(&mut self.fields, coding, None);
        }
        not_modified(self.fields, self.facts)
    }

    /// What is sent in its place, which is as old as it.
    fn in_place(self, status: StatusCode) -> Box<Response> {
        let mut response = Box::new(Response { facts: self.facts, ..Response::empty(status) });
        if let Some(age) = self.fields.get(AGE) {
            response.fields.insert(AGE, age.clone());
        }
        response
    }

    fn without_content(self) -> Box<Response> {
        let mut fields = self.fields;
        // Of this message's, which is empty (RFC 9530 s2).
        policy::remove_content_digests(&mut fields);
        let allows_content = ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status);
        if let Some(length) = self.content.length().filter(|_| allows_content) {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Box::new(Response { status: self.status, fields, facts: self.facts, ..Response::default() })
    }

    fn in_range(self, req: &RequestHead<'_>) -> Box<Response> {
        if let Some(part) = self.part {
            return self.of_part(req, part);
        }
        let Some(length) = self.content.length() else { return self.whole() };
        match policy::range(req, self.status, &self.fields, length) {
            RangeAnswer::Whole => self.whole(),
            RangeAnswer::Part { first, last } => {
                let mut fields = self.fields;
                policy::remove_content_digests(&mut fields);
                let range = ContentRange::Part { first, last, complete: Some(length) };
                fields.insert(CONTENT_RANGE, content_range(range));
                fields.insert(CONTENT_LENGTH, HeaderValue::from(last - first + 1));
                let (status, body) = (StatusCode::PARTIAL_CONTENT, self.content.part(first, last));
                Box::new(Response { status, fields, body, facts: self.facts, tunnel: None })
            }
            RangeAnswer::Parts(spans) => match self.content.parts(&spans) {
                Some(parts) => {
                    let mut fields = self.fields;
                    policy::remove_content_digests(&mut fields);
                    let body = multipart(&mut fields, parts, length);
                    let status = StatusCode::PARTIAL_CONTENT;
                    Box::new(Response { status, fields, body, facts: self.facts, tunnel: None })
                }
                None => self.whole(),
            },
            RangeAnswer::Unsatisfiable => {
                let mut response = self.in_place(StatusCode::RANGE_NOT_SATISFIABLE);
                let range = ContentRange::Unsatisfied { complete: length };
                response.fields.insert(CONTENT_RANGE, content_range(range));
                response
            }
        }
    }

    /// What the request was selected for lies in the part.
    fn of_part(self, req: &RequestHead<'_>, part: Part) -> Box<Response> {
        let wanted = policy::range_within(req, part.complete).filter(|span| part.span.contains(*span));
        let Some(span) = wanted else { return self.whole() };
        let Self { status, mut fields, content, facts, .. } = self;
        if span != part.span {
            policy::remove_content_digests(&mut fields);
        }
        fields.insert(CONTENT_RANGE, content_range(Part { span, ..part }.content_range()));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(span.length()));
        let body = content.part(span.first - part.span.first, span.last - part.span.first);
        Box::new(Response { status, fields, body, facts, tunnel: None })
    }

    fn whole(self) -> Box<Response> {
        let Self { status, fields, content, facts, .. } = self;
        Box::new(Response { status, fields, body: content.whole(), facts, tunnel: None })
    }
}

fn representation(
    req: &RequestHead<'_>,
    head: &StoredHead,
    content: &Content,
    rules: &CacheRules,
) -> Representation {
    match encode::is_encodable(content) {
        true => policy::representation(req, head, content.length(), rules),
        false => Representation::Only,
    }
}

/// What is left of a response that was not kept, once the preconditions are
/// evaluated that the origin server was not told of.
pub(super) fn passed(req: &RequestHead<'_>, response: Box<Response>) -> Box<Response> {
    match policy::evaluate(req, response.status, &response.fields) {
        Precondition::Proceed => response,
        Precondition::NotModified => not_modified(response.fields, response.facts),
        Precondition::Failed => {
            let status = StatusCode::PRECONDITION_FAILED;
            Box::new(Response { facts: response.facts, ..Response::empty(status) })
        }
    }
}

/// Says in Cache-Status what an origin server answered with, where that is not
/// what is sent, or a validation (RFC 9211 s2.3).
pub(super) fn forwarded_as(fwd_status: StatusCode, mut response: Box<Response>) -> Box<Response> {
    let is_told = fwd_status != response.status || fwd_status == StatusCode::NOT_MODIFIED;
    if let Some(cache) = response.facts.cache.as_mut().filter(|_| is_told) {
        cache.fwd_status = Some(fwd_status.as_u16());
    }
    response
}

fn not_modified(fields: HeaderMap, facts: Facts) -> Box<Response> {
    let fields = policy::not_modified_fields(fields);
    Box::new(Response { fields, facts, ..Response::empty(StatusCode::NOT_MODIFIED) })
}

#[expect(clippy::expect_used, reason = "letters, digits, a space, a slash and a star are field content")]
pub(super) fn content_range(range: ContentRange) -> HeaderValue {
    HeaderValue::try_from(range.to_string()).expect("a field value")
}
