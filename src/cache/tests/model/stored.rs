//! What the naive cache keeps: a whole response or a part of one, and which
//! requests select it.

use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};

use super::super::*;
use super::answer::got;
use super::{Content, Got};
use crate::fields::range::ContentRange;
use crate::policy::{self, Precondition, RangeAnswer, RequestHead, StoredHead};

/// A stored response.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) path: &'static str,
    /// The fields named by Vary, as the request had them; `None` if what Vary
    /// names now is not known of it.
    pub(super) selecting: Option<Vec<(String, Option<HeaderValue>)>>,
    pub(super) head: StoredHead,
    pub(super) content: Bytes,
    /// Which part of its representation the content is, if it is not all of it.
    pub(super) part: Option<Part>,
}

/// A part of a representation, from its first byte to the one after the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) complete: usize,
}

impl Part {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let range = ContentRange::parse(fields[CONTENT_RANGE].as_bytes());
        let Some(ContentRange::Part { first, last, complete: Some(complete) }) = range else {
            panic!("{range:?}");
        };
        let index = |offset: u64| usize::try_from(offset).unwrap();
        Self { start: index(first), end: index(last) + 1, complete: index(complete) }
    }

    /// What the request wants, if all of that is there.
    pub(super) fn wanted(&self, req: &RequestHead<'_>, head: &StoredHead) -> Option<Self> {
        // As of the whole.
        match policy::range(req, StatusCode::OK, &head.fields(), self.complete as u64) {
            RangeAnswer::Part { first, last } if policy::asks_for_part(req) => {
                let (start, end) = (usize::try_from(first).unwrap(), usize::try_from(last).unwrap() + 1);
                (self.start <= start && end <= self.end).then_some(Self { start, end, ..*self })
            }
            _ => None,
        }
    }

    pub(super) fn answer(&self, req: &RequestHead<'_>, stored: &Kept, age: u64, status: CacheStatus) -> Got {
        let mut fields = stored.head.fields();
        if policy::evaluate(req, StatusCode::PARTIAL_CONTENT, &fields) == Precondition::NotModified {
            let mut fields = policy::not_modified_fields(fields);
            fields.insert(AGE, age.into());
            return got(StatusCode::NOT_MODIFIED, fields, Content::Whole(Bytes::new()), status);
        }
        let Self { start, end, complete } = self.wanted(req, &stored.head).unwrap();
        let range = format!("bytes {start}-{}/{complete}", end - 1);
        fields.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap());
        fields.insert(CONTENT_LENGTH, (end - start).into());
        fields.insert(AGE, age.into());
        let part = stored.content.slice(start - self.start..end - self.start);
        got(StatusCode::PARTIAL_CONTENT, fields, Content::Whole(part), status)
    }
}

impl Kept {
    pub(super) fn is_selected_by(&self, fields: &HeaderMap) -> bool {
        let named = self.selecting.as_ref();
        named.is_some_and(|named| named.iter().all(|(name, value)| fields.get(name) == value.as_ref()))
    }

    /// Is it a part of the same representation, by a strong validator?
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        let tag = self.head.field(&ETAG);
        let modified = self.head.field(&LAST_MODIFIED);
        let is_same = match tag {
            Some(tag) => tag.starts_with(b"\"") && other.head.field(&ETAG) == Some(tag),
            None => modified.is_some() && other.head.field(&LAST_MODIFIED) == modified,
        };
        let completes = |kept: &Self| kept.part.map(|part| part.complete);
        is_same
            && self.path == other.path
            && self.selecting == other.selecting
            && completes(self).is_some()
            && completes(self) == completes(other)
    }

    /// Has it the validators of a 304 (RFC 9111 s4.3.4)?
    pub(super) fn is_meant_by(&self, answered: &HeaderMap) -> bool {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
        let modified = answered.get(LAST_MODIFIED).map(HeaderValue::as_bytes);
        match (answered.get(ETAG), self.head.field(&ETAG)) {
            (Some(tag), own) => own.is_some_and(|own| opaque(own) == opaque(tag.as_bytes())),
            (None, _) => modified.is_none_or(|modified| self.head.field(&LAST_MODIFIED) == Some(modified)),
        }
    }

    /// Its selecting fields once it has another head.
    pub(super) fn selecting_with(&self, head: &StoredHead) -> Option<Vec<(String, Option<HeaderValue>)>> {
        let fields = head.fields();
        let names = fields.get_all("vary").iter().flat_map(|line| line.to_str().unwrap().split(','));
        let mut names = names.map(|name| name.trim().to_ascii_lowercase());
        let known = self.selecting.as_ref()?;
        names.all(|name| known.iter().any(|(own, _)| *own == name)).then(|| known.clone())
    }
}
