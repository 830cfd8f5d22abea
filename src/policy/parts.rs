//! A stored head taken apart, so that a store can write it down and read it
//! back as it was. Nothing is decided anew on the way: a restart under other
//! rules changes what is stored from then on, not what was stored before.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::compression::is_compressible;
use super::stored::is_encoded_anyway;
use super::vary::{Selecting, Value};
use super::{FreshnessLifetime, StoredHead};
use crate::fields::cache_control::ResponseDirectives;
use crate::fields::compact::CompactFields;
use crate::fields::date;

/// Everything that a [`StoredHead`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadParts {
    /// The status code.
    pub status: StatusCode,
    /// The fields that are stored.
    pub fields: HeaderMap,
    /// The directives that hold for it.
    pub directives: ResponseDirectives,
    /// What a request must have to select it; `None` if no request does.
    pub selecting: Option<Vec<SelectingValue>>,
    /// For how long it is fresh, and what says so.
    pub lifetime: FreshnessLifetime,
    /// How old it was when it came.
    pub initial_age: Duration,
    /// When it was made.
    pub made: SystemTime,
    /// When it came.
    pub received: SystemTime,
    /// True if its lifetime was ended early.
    pub is_ended: bool,
}

/// A field that Vary names, and its normal form in the request that brought
/// the response; `None` for absent.
pub type SelectingValue = (HeaderName, Option<Box<[u8]>>);

impl StoredHead {
    /// When it came.
    pub fn received(&self) -> SystemTime {
        self.received
    }

    /// Takes it apart.
    pub fn to_parts(&self) -> HeadParts {
        HeadParts {
            status: self.status,
            fields: self.fields(),
            directives: self.directives.clone(),
            selecting: match &self.selecting {
                Selecting::Unknown => None,
                Selecting::Values(values) => {
                    Some(values.iter().map(|value| (value.name.clone(), value.form.clone())).collect())
                }
            },
            lifetime: self.lifetime,
            initial_age: self.initial_age,
            made: self.made,
            received: self.received,
            is_ended: self.is_ended,
        }
    }

    /// Puts one together that had been taken apart.
    pub fn from_parts(parts: HeadParts) -> Self {
        let selecting = parts.selecting.map_or(Selecting::Unknown, |values| {
            Selecting::Values(values.into_iter().map(|(name, form)| Value { name, form }).collect())
        });
        Self {
            status: parts.status,
            // Parts are not taken apart.
            part: None,
            last_modified: parts.fields.get(header::LAST_MODIFIED).and_then(date::of),
            is_encoded: parts.fields.contains_key(header::CONTENT_ENCODING),
            is_encoded_anyway: is_encoded_anyway(&parts.fields, &selecting),
            is_compressible: is_compressible(parts.status, &parts.fields, &parts.directives, &selecting),
            fields: CompactFields::of(&parts.fields),
            selecting,
            directives: parts.directives,
            lifetime: parts.lifetime,
            initial_age: parts.initial_age,
            made: parts.made,
            received: parts.received,
            is_ended: parts.is_ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::same_variant;
    use crate::policy::testing::{fields, get, now, selects, stored_for};

    #[test]
    fn what_is_taken_apart_is_put_together_as_it_was() {
        for (vary, selected) in [("foo, bar", true), ("*", false)] {
            let head = stored_for(
                &[("foo", "1"), ("baz", "2")],
                &[
                    ("vary", vary),
                    ("cache-control", "max-age=60, no-cache=\"cache-control\", must-revalidate"),
                    ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
                    ("etag", "\"1\""),
                    ("age", "7"),
                    ("link", "<a>"),
                    ("link", "<b>"),
                ],
                now(),
            );
            let parts = head.to_parts();
            let restored = StoredHead::from_parts(parts.clone());
            assert_eq!(restored.to_parts(), parts);
            assert!(parts.directives.must_revalidate, "the field itself is not stored");
            assert!(same_variant(&head, &restored));
            assert_eq!(restored.last_modified(), head.last_modified());
            assert_eq!((restored.age(now()), restored.ttl(now())), (head.age(now()), 53));
            assert_eq!(restored.weight(), head.weight());
            assert_eq!(selects(&get(&fields(&[("foo", "1")])), &restored), selected);
        }
    }
}
