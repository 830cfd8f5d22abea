//! Fields in one buffer of exactly their size, as they are stored: a
//! `HeaderMap` takes about 100 bytes a field besides its text. Says nothing of
//! what they mean.

mod recent;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::cache_status::CACHE_STATUS;
use super::vary;

/// Maps that are made of stored fields have room for as many more, such as Age
/// and Cache-Status.
const ROOM: usize = 4;

/// What most responses are made of: these names are kept as their number here.
static KNOWN: [HeaderName; 28] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFERRER_POLICY,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::VIA,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
];

/// In place of a number: the name itself follows.
const WRITTEN: u8 = u8::MAX;

/// Fields that do not change.
///
/// One after the other: the number of the name, the length of the value in four
/// bytes, the name if it has no number with its length in two, the value.
#[derive(Clone, Debug, Default)]
pub struct CompactFields {
    text: Bytes,
    count: usize,
}

impl CompactFields {
    /// Copies `fields`, whose buffers are let go.
    pub fn of(fields: &HeaderMap) -> Self {
        let text = fields.iter().map(|(name, value)| 7 + name.as_str().len() + value.len()).sum();
        let mut into = BytesMut::with_capacity(text);
        for (name, value) in fields {
            write(name, value, &mut into);
        }
        // Names that have a number took less: exactly what is needed is kept.
        Self { text: Bytes::copy_from_slice(&into), count: fields.len() }
    }

    /// The same fields as a map, which borrows their text.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::try_with_capacity(self.count + ROOM).unwrap_or_default();
        for record in self.records() {
            let value = HeaderValue::from_maybe_shared(self.text.slice_ref(record.value));
            if let (Some(name), Ok(value)) = (record.name(), value) {
                map.append(name, value);
            }
        }
        map
    }

    /// The same with a place for Age and one for Cache-Status, which every response
    /// that is made of stored fields gets: an empty value, unless they have it already.
    /// Where the response `varies` on Accept-Encoding, they say so.
    pub fn to_response_map(&self, varies: bool) -> HeaderMap {
        recent::map_of(self, varies)
    }

    fn make_response_map(&self, varies: bool) -> HeaderMap {
        let mut map = self.to_map();
        for name in [header::AGE, CACHE_STATUS] {
            map.entry(name).or_insert(HeaderValue::from_static(""));
        }
        if varies {
            vary::add_accept_encoding(&mut map);
        }
        map
    }

    /// The values of a field, in order.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.records().filter(move |record| record.is(name)).map(|record| record.value)
    }

    /// The first value of a field.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// True for the same text in the same place.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const *self.text, &raw const *other.text)
    }

    /// Bytes of memory behind it.
    pub fn weight(&self) -> usize {
        self.text.len()
    }

    fn records(&self) -> Records<'_> {
        Records { rest: &self.text }
    }
}

fn write(name: &HeaderName, value: &HeaderValue, into: &mut BytesMut) {
    // No field is as long: the limits on heads are far below.
    let length = u32::try_from(value.len()).unwrap_or(0);
    let number = KNOWN.iter().position(|known| known == name).and_then(|at| u8::try_from(at).ok());
    into.put_u8(number.unwrap_or(WRITTEN));
    into.put_u32(length);
    if number.is_none() {
        into.put_u16(u16::try_from(name.as_str().len()).unwrap_or(0));
        into.put_slice(name.as_str().as_bytes());
    }
    into.put_slice(value.as_bytes());
}

struct Records<'a> {
    rest: &'a [u8],
}

struct Record<'a> {
    number: u8,
    written: &'a [u8],
    value: &'a [u8],
}

impl Record<'_> {
    fn name(&self) -> Option<HeaderName> {
        match self.number {
            WRITTEN => HeaderName::from_bytes(self.written).ok(),
            number => KNOWN.get(usize::from(number)).cloned(),
        }
    }

    fn is(&self, name: &HeaderName) -> bool {
        match self.number {
            WRITTEN => self.written == name.as_str().as_bytes(),
            number => KNOWN.get(usize::from(number)) == Some(name),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (&number, rest) = self.rest.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (written, rest) = if number == WRITTEN {
            let (length, rest) = rest.split_first_chunk()?;
            rest.split_at_checked(u16::from_be_bytes(*length).into())?
        } else {
            (&rest[..0], rest)
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Record { number, written, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_read_buffer_is_let_go() {
        let buffer = Bytes::from(vec![b'x'; 64 << 10]);
        let mut received = HeaderMap::new();
        for name in [header::SERVER, HeaderName::from_static("x-own")] {
            received.insert(name, HeaderValue::from_maybe_shared(buffer.slice(5..10)).unwrap());
        }
        let compact = CompactFields::of(&received);
        drop(received);
        assert!(buffer.is_unique());
        assert_eq!(compact.get(&header::SERVER), Some(&b"xxxxx"[..]));
        assert_eq!(compact.get(&HeaderName::from_static("x-own")), Some(&b"xxxxx"[..]));
        assert_eq!(compact.get(&header::VIA), None);
        assert_eq!(compact.weight(), 2 * 10 + 2 + "x-own".len());
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(
            lines in proptest::collection::vec(("[a-d]|date|via|set-cookie|x-frame-options", "[ -~]{0,9}"), 0..20),
        ) {
            let mut fields = HeaderMap::new();
            for (name, value) in &lines {
                fields.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let compact = CompactFields::of(&fields);
            prop_assert_eq!(compact.to_map(), fields.clone());
            for _ in 0..3 {
                let mut response = compact.to_response_map(false);
                prop_assert_eq!(response.remove(header::AGE), Some(HeaderValue::from_static("")));
                prop_assert_eq!(response.remove(CACHE_STATUS), Some(HeaderValue::from_static("")));
                prop_assert_eq!(response, fields.clone());
            }
            for name in fields.keys() {
                prop_assert!(compact.get_all(name).eq(fields.get_all(name).iter().map(HeaderValue::as_bytes)));
            }
        }
    }
}
