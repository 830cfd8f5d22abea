//! What a client of the naive cache gets of a response.

use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};

use super::super::*;
use super::{Content, Got};
use crate::fields::range::{ContentRange, Span};
use crate::policy::{self, Precondition, RangeAnswer, RequestHead};

/// What a client gets of a whole response: all, a part or several, or the news
/// that it has it already. Several are made only of content that is at hand.
pub(super) fn answer(
    req: &RequestHead<'_>,
    code: StatusCode,
    mut fields: HeaderMap,
    content: &Bytes,
    age: Option<u64>,
    status: CacheStatus,
    is_at_hand: bool,
) -> Got {
    let part = |span: Span| {
        let index = |offset: u64| usize::try_from(offset).unwrap();
        content.slice(index(span.first)..=index(span.last))
    };
    let length = content.len() as u64;
    let aged = |mut fields: HeaderMap| {
        if let Some(age) = age {
            fields.insert(AGE, age.into());
        }
        fields
    };
    match policy::evaluate(req, code, &fields) {
        Precondition::NotModified => {
            let fields = aged(policy::not_modified_fields(fields));
            return got(StatusCode::NOT_MODIFIED, fields, Content::Whole(Bytes::new()), status);
        }
        Precondition::Failed => {
            let fields = aged(HeaderMap::new());
            return got(StatusCode::PRECONDITION_FAILED, fields, Content::Whole(Bytes::new()), status);
        }
        Precondition::Proceed => {}
    }
    if *req.method == Method::HEAD {
        fields.insert(CONTENT_LENGTH, length.into());
        return got(code, aged(fields), Content::Whole(Bytes::new()), status);
    }
    match policy::range(req, code, &fields, length) {
        RangeAnswer::Parts(spans) if is_at_hand => {
            fields.remove(CONTENT_TYPE);
            fields.remove(CONTENT_LENGTH);
            let parts = spans.into_iter().map(|span| {
                let Span { first, last } = span;
                (ContentRange::Part { first, last, complete: Some(length) }, part(span).to_vec())
            });
            got(StatusCode::PARTIAL_CONTENT, aged(fields), Content::Parts(parts.collect()), status)
        }
        RangeAnswer::Whole | RangeAnswer::Parts(_) => {
            got(code, aged(fields), Content::Whole(content.clone()), status)
        }
        RangeAnswer::Part { first, last } => {
            let range = format!("bytes {first}-{last}/{length}");
            fields.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap());
            fields.insert(CONTENT_LENGTH, (last - first + 1).into());
            let part = part(Span { first, last });
            got(StatusCode::PARTIAL_CONTENT, aged(fields), Content::Whole(part), status)
        }
        RangeAnswer::Unsatisfiable => {
            let mut fields = HeaderMap::new();
            let range = format!("bytes */{length}");
            fields.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap());
            got(StatusCode::RANGE_NOT_SATISFIABLE, aged(fields), Content::Whole(Bytes::new()), status)
        }
    }
}

/// What is left of a response for one client, once the preconditions are
/// evaluated that the origin server was not told of.
pub(super) fn passed(
    req: &RequestHead<'_>,
    code: StatusCode,
    fields: HeaderMap,
    content: Bytes,
    status: CacheStatus,
) -> Got {
    let mut got = match policy::evaluate(req, code, &fields) {
        Precondition::Proceed => got(code, fields, Content::Whole(content), status),
        Precondition::NotModified => {
            let fields = policy::not_modified_fields(fields);
            got(StatusCode::NOT_MODIFIED, fields, Content::Whole(Bytes::new()), status)
        }
        Precondition::Failed => {
            got(StatusCode::PRECONDITION_FAILED, HeaderMap::new(), Content::Whole(Bytes::new()), status)
        }
    };
    tell(&mut got, code);
    got
}

pub(super) fn got(code: StatusCode, fields: HeaderMap, content: Content, status: CacheStatus) -> Got {
    Got::Response { code, fields, content, status }
}

/// Says what the origin server answered with, where that is not what is sent.
pub(super) fn tell(got: &mut Got, answered: StatusCode) {
    if let Got::Response { code, status, .. } = got
        && (*code != answered || answered == StatusCode::NOT_MODIFIED)
    {
        status.fwd_status = Some(answered.as_u16());
    }
}
