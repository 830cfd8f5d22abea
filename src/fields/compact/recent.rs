//! The maps of fields that a thread made lately and more than once, for what is
//! popular is asked for again and again: to copy a map costs a fifth of making
//! it. A copy has no room for more, and making some costs as much as the copy; so
//! what every response gets has a place in it. Maps are found by where the text of
//! their fields lies. It never changes, and lies there as long as its map is kept, so
//! that none is ever out of date.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderMap;

use super::CompactFields;

/// How many maps a thread keeps at most, a power of two.
const KEPT: usize = 512;

/// Fields that are longer, in bytes, or more than this are not kept.
const LONGEST: usize = 2 << 10;
const MOST_FIELDS: usize = 32;

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// The map of these fields, for a response that `varies` on Accept-Encoding or not.
pub(super) fn map_of(fields: &CompactFields, varies: bool) -> HeaderMap {
    if fields.text.len() > LONGEST || fields.count > MOST_FIELDS {
        return fields.make_response_map(varies);
    }
    RECENT.with_borrow_mut(|recent| recent.map_of(fields, varies))
}

#[derive(Default)]
struct Recent {
    /// None before the first use.
    places: Vec<Place>,
}

/// Room for one map.
#[derive(Default)]
struct Place {
    kept: Option<Kept>,
    /// The text that was asked for in vain since the kept one was used.
    asked: usize,
}

/// A map, with what it was made of.
struct Kept {
    text: Bytes,
    varies: bool,
    map: HeaderMap,
}

impl Kept {
    fn is_of(&self, fields: &CompactFields, varies: bool) -> bool {
        let place = |text: &Bytes| (text.as_ptr() as usize, text.len());
        place(&self.text) == place(&fields.text) && self.varies == varies
    }
}

impl Recent {
    fn map_of(&mut self, fields: &CompactFields, varies: bool) -> HeaderMap {
        if self.places.is_empty() {
            self.places.resize_with(KEPT, Place::default);
        }
        let address = fields.text.as_ptr() as usize;
        match self.places.get_mut(place_of(address)) {
            Some(place) => place.map_of(fields, varies, address),
            None => fields.make_response_map(varies),
        }
    }
}

impl Place {
    fn map_of(&mut self, fields: &CompactFields, varies: bool, address: usize) -> HeaderMap {
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.is_of(fields, varies)) {
            self.asked = 0;
            return kept.map.clone();
        }
        // What is asked for once displaces nothing.
        if self.asked == address {
            // Of a copy: each response counts references to the text of its fields, and
            // those of what is popular are made by all threads.
            let own = CompactFields { text: Bytes::copy_from_slice(&fields.text), ..*fields };
            let kept = Kept { text: fields.text.clone(), varies, map: own.make_response_map(varies) };
            return self.kept.insert(kept).map.clone();
        }
        self.asked = address;
        fields.make_response_map(varies)
    }
}

fn place_of(address: usize) -> usize {
    // Fibonacci hashing: allocations lie at multiples of some power of two.
    let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(hash >> (u64::BITS - KEPT.trailing_zeros())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn fields(value: &str) -> CompactFields {
        let mut map = HeaderMap::new();
        map.insert(header::ETAG, HeaderValue::from_str(value).unwrap());
        CompactFields::of(&map)
    }

    fn is_kept(fields: &CompactFields) -> bool {
        let address = fields.text.as_ptr() as usize;
        RECENT.with_borrow(|recent| {
            let kept = recent.places.get(place_of(address)).and_then(|place| place.kept.as_ref());
            kept.is_some_and(|kept| kept.text.as_ptr() as usize == address)
        })
    }

    #[test]
    fn what_is_asked_for_again_is_kept() {
        let one = fields("1");
        assert!(!is_kept(&one));
        for kept in [false, true, true] {
            assert_eq!(map_of(&one, false)[header::ETAG], "1");
            assert_eq!(is_kept(&one), kept);
        }
        let mut changed = map_of(&one, false);
        changed.insert(header::AGE, HeaderValue::from_static("7"));
        assert_eq!(map_of(&one, false)[header::AGE], "");
    }

    #[test]
    fn another_text_in_its_place_is_another_map() {
        let all: Vec<_> = (0..4 * KEPT).map(|number| fields(&number.to_string())).collect();
        for _ in 0..3 {
            for (number, one) in all.iter().enumerate() {
                let map = (map_of(one, false), map_of(one, false));
                assert_eq!(map.0[header::ETAG], number.to_string().as_str());
                assert_eq!(map.0, map.1);
            }
        }
        // A buffer that is given back can come again with another content.
        for number in 0..100 {
            let one = fields(&number.to_string());
            for _ in 0..3 {
                assert_eq!(map_of(&one, false)[header::ETAG], number.to_string().as_str());
            }
        }
    }

    #[test]
    fn what_is_asked_for_once_displaces_nothing() {
        let popular = fields("popular");
        map_of(&popular, false);
        map_of(&popular, false);
        let others: Vec<_> = (0..4 * KEPT).map(|number| fields(&number.to_string())).collect();
        others.iter().for_each(|one| drop(map_of(one, false)));
        assert!(is_kept(&popular));
    }

    #[test]
    fn what_is_large_is_not_kept() {
        let large = fields(&"x".repeat(LONGEST + 1));
        for _ in 0..3 {
            map_of(&large, false);
            assert!(!is_kept(&large));
        }
    }
}
