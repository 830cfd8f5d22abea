//! `Range` and `Content-Range` for bytes (RFC 9110 s14). Which ranges are
//! answered, and how, is decided by `policy`.

use std::fmt;

use super::list;

/// A stretch of bytes in a representation, both positions inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The position of the first byte.
    pub first: u64,
    /// The position of the last byte, not before the first.
    pub last: u64,
}

impl Span {
    /// How many bytes it has.
    pub fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Have both some of the same bytes?
    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Are all bytes of `other` in it?
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// One range of a Range field, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first position to the last, or to the end.
    From {
        /// The position of the first byte.
        first: u64,
        /// That of the last one, not before the first.
        last: Option<u64>,
    },
    /// This many bytes at the end.
    Suffix(u64),
}

/// Where a range lies in a representation of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// These bytes, both positions inside.
    Part {
        /// The position of the first byte.
        first: u64,
        /// The position of the last byte.
        last: u64,
    },
    /// All of an empty representation, which no pair of positions can name.
    Empty,
    /// It has no byte of the range.
    Outside,
}

impl ByteRange {
    /// The value of a Range field. `None` if it is invalid, of another unit, or
    /// has several ranges: then the field may be ignored (RFC 9110 s14.2).
    pub fn parse(value: &[u8]) -> Option<Self> {
        Self::of_spec(range_set(value)?.trim_ascii())
    }

    /// The ranges of a Range field, several or one, each `None` if it is
    /// invalid: then the whole field is. `None` for another unit.
    pub fn parse_each(value: &[u8]) -> Option<impl Iterator<Item = Option<Self>>> {
        Some(list::members(range_set(value)?).map(Self::of_spec))
    }

    fn of_spec(spec: &[u8]) -> Option<Self> {
        match split(spec, b'-')? {
            (b"", length) => position(length).map(Self::Suffix),
            (first, b"") => Some(Self::From { first: position(first)?, last: None }),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }

    /// Where it lies in `length` bytes.
    pub fn within(self, length: u64) -> Resolved {
        match self {
            Self::Suffix(0) => Resolved::Outside,
            Self::Suffix(_) if length == 0 => Resolved::Empty,
            Self::Suffix(wanted) => Resolved::Part { first: length.saturating_sub(wanted), last: length - 1 },
            Self::From { first, .. } if first >= length => Resolved::Outside,
            Self::From { first, last } => {
                Resolved::Part { first, last: last.map_or(length - 1, |last| last.min(length - 1)) }
            }
        }
    }
}

/// The value of a Content-Range field (RFC 9110 s14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The content is this part.
    Part {
        /// The position of its first byte.
        first: u64,
        /// The position of its last byte, not before the first.
        last: u64,
        /// The length of the whole, where it is known.
        complete: Option<u64>,
    },
    /// No byte of the requested range is there, in a 416.
    Unsatisfied {
        /// The length of the whole.
        complete: u64,
    },
}

impl ContentRange {
    /// The value of a Content-Range field, if it is valid and of bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = split(value.trim_ascii(), b' ')?;
        let (range, complete) = split(rest, b'/')?;
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        if range == b"*" {
            return Some(Self::Unsatisfied { complete: position(complete)? });
        }
        let (first, last) = split(range, b'-')?;
        let (first, last) = (position(first)?, position(last)?);
        let complete = if complete == b"*" { None } else { Some(position(complete)?) };
        let is_valid = first <= last && complete.is_none_or(|complete| last < complete);
        is_valid.then_some(Self::Part { first, last, complete })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { first, last, complete: Some(complete) } => {
                write!(f, "bytes {first}-{last}/{complete}")
            }
            Self::Part { first, last, complete: None } => write!(f, "bytes {first}-{last}/*"),
            Self::Unsatisfied { complete } => write!(f, "bytes */{complete}"),
        }
    }
}

/// What follows the unit, if that is bytes.
fn range_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = split(value.trim_ascii(), b'=')?;
    unit.eq_ignore_ascii_case(b"bytes").then_some(set)
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let found = text.iter().position(|byte| *byte == at)?;
    Some((text.get(..found)?, text.get(found + 1..)?))
}

/// Digits as a number; one that is too large to hold lies behind every end.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9110 s14.1.2 and s14.2
    #[test]
    fn ranges_lie_where_they_should() {
        let part = |first, last| Some(Resolved::Part { first, last });
        for (text, length, expected) in [
            ("bytes=0-1", 10, part(0, 1)),
            ("Bytes=1-", 10, part(1, 9)),
            ("bytes=-1", 10, part(9, 9)),
            ("bytes=-100", 10, part(0, 9)),
            ("bytes=5-100", 10, part(5, 9)),
            ("bytes= 5-6 ", 10, part(5, 6)),
            ("bytes=9-9", 10, part(9, 9)),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Some(Resolved::Outside)),
            ("bytes=99999999999999999999999-", 10, Some(Resolved::Outside)),
            ("bytes=-0", 10, Some(Resolved::Outside)),
            ("bytes=0-", 0, Some(Resolved::Outside)),
            ("bytes=-5", 0, Some(Resolved::Empty)),
            ("bytes=2-1", 10, None),
            ("bytes=-", 10, None),
            ("bytes=", 10, None),
            ("bytes", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=1-2,4-5", 10, None),
            ("bytes=1-2-3", 10, None),
            ("bytes=+1-2", 10, None),
            ("items=0-1", 10, None),
        ] {
            assert_eq!(
                ByteRange::parse(text.as_bytes()).map(|range| range.within(length)),
                expected,
                "{text}"
            );
        }
    }

    /// RFC 9110 s14.1.2
    #[test]
    fn sets_of_ranges_are_read_one_by_one() {
        let first = |first, last| Some(ByteRange::From { first, last });
        for (text, expected) in [
            ("bytes=0-1", Some(vec![first(0, Some(1))])),
            (
                "bytes= 0-1 ,, 5-,\t-3",
                Some(vec![first(0, Some(1)), first(5, None), Some(ByteRange::Suffix(3))]),
            ),
            ("bytes=0-1,5-4", Some(vec![first(0, Some(1)), None])),
            ("bytes=,", Some(vec![])),
            ("items=0-1", None),
            ("bytes 0-1", None),
        ] {
            let read = ByteRange::parse_each(text.as_bytes()).map(Iterator::collect::<Vec<_>>);
            assert_eq!(read, expected, "{text}");
        }
    }

    /// RFC 9110 s14.4
    #[test]
    fn content_ranges_are_read_and_written() {
        for text in ["bytes 0-4/10", "bytes 4-9/*", "bytes */10"] {
            assert_eq!(ContentRange::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in ["", "bytes", "bytes 4-9/9", "bytes 5-4/10", "bytes */*", "bytes 1-/5", "items 0-1/2"] {
            assert_eq!(ContentRange::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_always_inside(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", length: u64) {
            if let Some(Resolved::Part { first, last }) =
                ByteRange::parse(text.as_bytes()).map(|range| range.within(length))
            {
                prop_assert!(first <= last && last < length);
                let written = ContentRange::Part { first, last, complete: Some(length) };
                prop_assert_eq!(ContentRange::parse(written.to_string().as_bytes()), Some(written));
            }
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _ = (ByteRange::parse(&text), ContentRange::parse(&text));
            let _ = ByteRange::parse_each(&text).map(Iterator::count);
        }
    }
}
