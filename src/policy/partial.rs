//! Parts of a response that are kept by themselves (RFC 9111 s3.3, s3.4): which
//! 206 is kept, which requests it answers, and which parts become one. The
//! parts of large responses that are fetched on purpose are in `slice`.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::compression::is_compressible;
use super::digest::remove_content_digests;
use super::range::{is_of, only_line};
use super::{RequestHead, StoredHead, slice};
use crate::fields::compact::CompactFields;
use crate::fields::range::{ByteRange, ContentRange, Resolved, Span};

/// Which part of a representation a stored 206 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where its bytes lie.
    pub span: Span,
    /// How many bytes the representation has.
    pub complete: u64,
}

impl Part {
    /// What Content-Range says of it.
    pub fn content_range(self) -> ContentRange {
        let Self { span: Span { first, last }, complete } = self;
        ContentRange::Part { first, last, complete: Some(complete) }
    }
}

/// The part that a 206 with these fields has, in one piece, if it can be kept:
/// where it lies and how long the whole is has to be known.
///
/// Positions are counted from the first on. Where the content is declared to be
/// shorter than the range, the content counts: it ends sooner, and so does the
/// representation if the range was to reach its end. Longer than its range it
/// cannot be.
pub fn part_of(fields: &HeaderMap) -> Option<Part> {
    let mut lines = fields.get_all(header::CONTENT_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let ContentRange::Part { first, last, complete: Some(complete) } = ContentRange::parse(line.as_bytes())?
    else {
        return None;
    };
    let span = Span { first, last };
    let declared = match fields.get(header::CONTENT_LENGTH) {
        Some(written) => written.to_str().ok()?.parse::<u64>().ok()?,
        None => span.length(),
    };
    if declared == span.length() {
        return Some(Part { span, complete });
    }
    let last = first.checked_add(declared.checked_sub(1)?).filter(|end| *end < last)?;
    let complete = if span.last + 1 == complete { last + 1 } else { complete };
    Some(Part { span: Span { first, last }, complete })
}

/// Is a 206 to this request one that is kept? One that was asked for with
/// If-Range lacks the fields that its client knows already (RFC 9110 s15.3.7).
pub(super) fn is_kept(req: &RequestHead<'_>, fields: &HeaderMap) -> bool {
    super::asks_for_part(req) && !req.fields.contains_key(header::IF_RANGE) && part_of(fields).is_some()
}

/// What the request wants of the representation, if all of that lies in the
/// part (RFC 9111 s3.3).
pub(super) fn wanted_of(req: &RequestHead<'_>, stored: &StoredHead, part: Part) -> Option<Span> {
    if *req.method != Method::GET {
        return None;
    }
    let if_range = req.fields.get(header::IF_RANGE);
    if !if_range.is_none_or(|validator| is_of(validator, &stored.fields())) {
        return None;
    }
    range_within(req, part.complete).filter(|span| part.span.contains(*span))
}

/// The one range that the request asks for, in a representation of `complete`
/// bytes; `None` if it asks for no byte of it, or for anything else.
pub fn range_within(req: &RequestHead<'_>, complete: u64) -> Option<Span> {
    match ByteRange::parse(only_line(req)?)?.within(complete) {
        Resolved::Part { first, last } => Some(Span { first, last }),
        Resolved::Empty | Resolved::Outside => None,
    }
}

/// Are these parts of one representation: of the same one by a strong
/// validator, and for the same requests (RFC 9111 s3.4)?
pub(super) fn belong_together(one: &StoredHead, other: &StoredHead) -> bool {
    let completes = |head: &StoredHead| head.part().map(|part| part.complete);
    completes(one).is_some() && completes(one) == completes(other) && are_of_same(one, other)
}

fn are_of_same(one: &StoredHead, other: &StoredHead) -> bool {
    one.selecting == other.selecting
        && one.is_encoded_as(other)
        && slice::is_of_same(one, &other.fields())
        // A date may be a strong validator in the one and a weak one in the other.
        && slice::is_of_same(other, &one.fields())
}

/// True if `kept` is more of what `part` is a part of, by a strong validator: the whole, or
/// a longer part that has some of the same bytes.
pub fn is_more_of(kept: &StoredHead, part: &StoredHead) -> bool {
    match (kept.part(), part.part()) {
        (Some(Part { span, .. }), Some(own)) => {
            span.meets(own.span) && span.length() > own.span.length() && belong_together(kept, part)
        }
        (None, Some(_)) => kept.status == StatusCode::OK && are_of_same(kept, part),
        (_, None) => false,
    }
}

/// The head of two parts put together, if they belong together and leave no
/// gap: that of the newer one, and of the whole if nothing is missing.
pub fn combined(newer: &StoredHead, other: &StoredHead) -> Option<StoredHead> {
    let (one, two) = (newer.part()?, other.part()?);
    let leaves_gap =
        one.span.first > two.span.last.saturating_add(1) || two.span.first > one.span.last.saturating_add(1);
    if leaves_gap || !belong_together(newer, other) {
        return None;
    }
    let span = Span { first: one.span.first.min(two.span.first), last: one.span.last.max(two.span.last) };
    Some(newer.with_part(Part { span, ..one }))
}

impl StoredHead {
    /// Which part it is the head of; `None` for a whole response.
    pub fn part(&self) -> Option<Part> {
        self.part.as_deref().copied()
    }

    /// The same with fields that say what part its content is.
    pub fn with_part(&self, part: Part) -> Self {
        let mut fields = self.fields();
        if self.part().is_some_and(|own| own.span != part.span) {
            remove_content_digests(&mut fields);
        }
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(part.span.length()));
        let is_whole = part.span.length() == part.complete;
        if is_whole {
            fields.remove(header::CONTENT_RANGE);
        } else if let Ok(range) = HeaderValue::try_from(part.content_range().to_string()) {
            fields.insert(header::CONTENT_RANGE, range);
        }
        let status = if is_whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        Self {
            status,
            part: (!is_whole).then(|| Box::new(part)),
            is_compressible: is_compressible(status, &fields, &self.directives, &self.selecting),
            fields: CompactFields::of(&fields),
            ..self.clone()
        }
    }

    /// The head of the whole that it is a part of.
    pub fn of_whole(&self) -> Option<Self> {
        let Part { complete, .. } = self.part()?;
        Some(self.with_part(Part { span: Span { first: 0, last: complete.checked_sub(1)? }, complete }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{fields, get, now, stored};
    use crate::policy::{same_variant, select};

    fn span(first: u64, last: u64) -> Span {
        Span { first, last }
    }

    fn part(first: u64, last: u64, complete: u64, more: &[(&str, &str)]) -> StoredHead {
        let range = format!("bytes {first}-{last}/{complete}");
        stored(206, &[&[("content-range", &*range), ("cache-control", "max-age=60")], more].concat(), now())
    }

    #[test]
    fn where_a_part_lies() {
        let lies = |first, last, complete| Some(Part { span: span(first, last), complete });
        for (lines, expected) in [
            (&[("content-range", "bytes 2-5/10")][..], lies(2, 5, 10)),
            (&[("content-range", "bytes 2-5/10"), ("content-length", "4")], lies(2, 5, 10)),
            (&[("content-range", "bytes 2-5/*")], None),
            (&[("content-range", "bytes */10")], None),
            (&[("content-range", "lines 2-5/10")], None),
            (&[("content-range", "bytes 2-5/10"), ("content-range", "bytes 2-5/10")], None),
            (&[("content-type", "multipart/byteranges; boundary=x")], None),
            // Content that is not as long as its range.
            (&[("content-range", "bytes 2-5/10"), ("content-length", "5")], None),
            (&[("content-range", "bytes 2-5/10"), ("content-length", "0")], None),
            (&[("content-range", "bytes 2-5/10"), ("content-length", "x")], None),
            (&[("content-range", "bytes 2-5/10"), ("content-length", "3")], lies(2, 4, 10)),
            (&[("content-range", "bytes 4-9/10"), ("content-length", "5")], lies(4, 8, 9)),
        ] {
            assert_eq!(part_of(&fields(lines)), expected, "{lines:?}");
        }
    }

    /// RFC 9111 s3.3
    #[test]
    fn a_part_answers_what_lies_in_it() {
        let head = part(4, 8, 20, &[("etag", "\"1\"")]);
        for (asked, expected) in [
            (&[("range", "bytes=4-8")][..], Some(span(4, 8))),
            (&[("range", "bytes=5-6")], Some(span(5, 6))),
            (&[("range", "bytes=5-6"), ("if-range", "\"1\"")], Some(span(5, 6))),
            (&[("range", "bytes=5-6"), ("if-range", "\"2\"")], None),
            (&[("range", "bytes=3-6")], None),
            (&[("range", "bytes=5-9")], None),
            (&[("range", "bytes=5-")], None),
            (&[("range", "bytes=-1")], None),
            (&[("range", "bytes=30-")], None),
            (&[("range", "bytes=5-5, 7-7")], None),
            (&[("range", "lines=5-6")], None),
            (&[], None),
        ] {
            let asked = fields(asked);
            assert_eq!(wanted_of(&get(&asked), &head, head.part().unwrap()), expected, "{asked:?}");
            let heads = std::slice::from_ref(&head);
            assert_eq!(
                select(&get(&asked), heads, now(), |head| head).is_some(),
                expected.is_some(),
                "{asked:?}"
            );
            let for_head = get(&asked).by(&Method::HEAD);
            assert!(select(&for_head, heads, now(), |head| head).is_none());
        }
        let end = part(10, 19, 20, &[]);
        for (asked, expected) in [("bytes=12-", span(12, 19)), ("bytes=-3", span(17, 19))] {
            let asked = fields(&[("range", asked)]);
            assert_eq!(wanted_of(&get(&asked), &end, end.part().unwrap()), Some(expected));
        }
    }

    /// RFC 9111 s3.4
    #[test]
    fn parts_are_put_together_by_a_strong_validator() {
        let tagged = &[("etag", "\"1\"")][..];
        let one = part(4, 8, 20, tagged);
        for (other, expected) in [
            (part(9, 12, 20, tagged), Some((4, 12))),
            (part(0, 3, 20, tagged), Some((0, 8))),
            (part(6, 12, 20, tagged), Some((4, 12))),
            (part(5, 6, 20, tagged), Some((4, 8))),
            (part(10, 12, 20, tagged), None),
            (part(0, 2, 20, tagged), None),
            (part(9, 12, 21, tagged), None),
            (part(9, 12, 20, &[("etag", "\"2\"")]), None),
            (part(9, 12, 20, &[("etag", "W/\"1\"")]), None),
            (part(9, 12, 20, &[]), None),
            (part(9, 12, 20, &[tagged[0], ("content-encoding", "gzip")]), None),
        ] {
            let found = combined(&other, &one);
            let spans = found.as_ref().map(|head| (head.part().unwrap().span, head.status));
            let expected = expected.map(|(first, last)| (span(first, last), StatusCode::PARTIAL_CONTENT));
            assert_eq!(spans, expected, "{other:?}");
            if let Some(head) = found {
                assert_eq!(part_of(&head.fields()), head.part());
            }
        }
        let untagged = part(0, 3, 20, &[]);
        assert!(combined(&untagged, &part(4, 8, 20, &[])).is_none());
    }

    #[test]
    fn parts_without_a_gap_are_the_whole() {
        let (one, other) = (part(0, 8, 20, &[("etag", "\"1\"")]), part(9, 19, 20, &[("etag", "\"1\"")]));
        let whole = combined(&other, &one).unwrap();
        assert_eq!((whole.status, whole.part()), (StatusCode::OK, None));
        assert_eq!(whole.field(&header::CONTENT_LENGTH), Some(&b"20"[..]));
        assert_eq!(whole.field(&header::CONTENT_RANGE), None);
        assert_eq!(one.of_whole().unwrap().status, StatusCode::OK);
    }

    #[test]
    fn parts_of_one_representation_stand_beside_each_other() {
        let tagged = &[("etag", "\"1\"")][..];
        let one = part(4, 8, 20, tagged);
        assert!(!same_variant(&one, &part(10, 12, 20, tagged)));
        for other in [
            part(5, 9, 20, tagged),
            part(10, 12, 20, &[("etag", "\"2\"")]),
            part(10, 12, 20, &[]),
            one.of_whole().unwrap(),
        ] {
            assert!(same_variant(&one, &other), "{other:?}");
        }
    }
}
