//! Parts of responses: what an origin server answers to a range is kept by
//! itself, and put together with what is there of the same representation
//! (RFC 9111 s3.3, s3.4). Parts are kept in memory only.

use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::pump::joined;
use super::store::{StoredBody, StoredResponse};
use crate::fields::range::Span;
use crate::policy::{self, CacheKey};

/// Parts are put together up to so many bytes, however short they are.
const SHORT: u64 = 8 << 20;

/// What is longer is copied only for at least this part of it: who asks for a few bytes
/// at a time would have it copied as often.
const LEAST_ADDED: u64 = 16;

impl Cache {
    /// The response that is to be kept: `new`, together with the parts that are
    /// stored of the same representation and meet it, up to `max_object` bytes, and
    /// as long as running fills leave room for what is copied.
    pub(super) async fn put_together(
        &self,
        key: &CacheKey,
        new: Arc<StoredResponse>,
        max_object: u64,
    ) -> Arc<StoredResponse> {
        if new.head.part().is_none() {
            return new;
        }
        let Some(kept) = self.store.memory.look_again(key).await else { return new };
        let mut new = new;
        let mut share = self.budget.share();
        for other in kept.responses() {
            // A part that began sooner may end later.
            let (newer, older) = if other.received > new.received { (other, &new) } else { (&new, other) };
            let Some(head) = policy::combined(&newer.head, &older.head) else { continue };
            let (Some(one), Some(two)) = (lies(&new), lies(other)) else { continue };
            let length = length_of(one.0, two.0);
            if length > max_object || !is_worth_it(one.0, two.0) || !share.grow(length) {
                continue;
            }
            let union = union(one, two).await;
            new = Arc::new(new.combined_with(other, head, StoredBody::Memory(union)));
        }
        new
    }
}

/// True if what one span adds to the other is worth a copy of both.
fn is_worth_it(one: Span, other: Span) -> bool {
    let length = length_of(one, other);
    let added = length - one.length().max(other.length());
    length <= SHORT || added >= length / LEAST_ADDED
}

/// How many bytes two spans have without what they share.
fn length_of(one: Span, other: Span) -> u64 {
    Span { first: one.first.min(other.first), last: one.last.max(other.last) }.length()
}

/// Where the bytes of a part lie, and the bytes.
fn lies(response: &StoredResponse) -> Option<(Span, &Bytes)> {
    match (response.head.part(), &response.body) {
        (Some(part), StoredBody::Memory(bytes)) if bytes.len() as u64 == part.span.length() => {
            Some((part.span, bytes))
        }
        _ => None,
    }
}

/// The bytes of two spans without a gap between them.
async fn union(one: (Span, &Bytes), other: (Span, &Bytes)) -> Bytes {
    let ((before, bytes), (after, rest)) =
        if one.0.first <= other.0.first { (one, other) } else { (other, one) };
    let shared = usize::try_from((before.last + 1).saturating_sub(after.first)).unwrap_or(rest.len());
    joined(std::slice::from_ref(bytes), rest.get(shared..).unwrap_or_default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_not_copied_for_a_few_bytes() {
        let span = |first, length| Span { first, last: first + length - 1 };
        for (one, other, expected) in [
            (span(0, SHORT - 1), span(SHORT - 1, 1), true),
            (span(0, SHORT), span(SHORT, 1), false),
            (span(0, SHORT), span(SHORT - 9, 10), false),
            (span(0, 15 * SHORT), span(15 * SHORT, SHORT), true),
            (span(15 * SHORT, SHORT), span(0, 15 * SHORT), true),
            (span(0, 16 * SHORT), span(16 * SHORT, SHORT), false),
        ] {
            assert_eq!(is_worth_it(one, other), expected, "{one:?} {other:?}");
        }
    }

    #[tokio::test]
    async fn spans_that_meet_are_one() {
        let bytes = Bytes::from_static(b"0123456789");
        let of = |first: usize, last: usize| {
            (Span { first: first as u64, last: last as u64 }, bytes.slice(first..=last))
        };
        for (one, other, expected) in [
            ((2, 4), (5, 7), "234567"),
            ((5, 7), (2, 4), "234567"),
            ((2, 5), (4, 7), "234567"),
            ((2, 7), (3, 4), "234567"),
            ((3, 4), (2, 7), "234567"),
            ((2, 4), (2, 4), "234"),
            ((0, 4), (5, 9), "0123456789"),
        ] {
            let ((span, text), (other_span, other_text)) = (of(one.0, one.1), of(other.0, other.1));
            assert_eq!(union((span, &text), (other_span, &other_text)).await, expected);
        }
    }
}
