//! Lists and entity tags: a member lies in its line, without space around it; a
//! tag is itself.

#![no_main]

use http::header::{ETAG, IF_NONE_MATCH};
use libfuzzer_sys::fuzz_target;
use seawall::fields::entity_tag::{self, EntityTag};
use seawall::fields::{list, media_type};
use seawall_fuzz::{lines, values};

fuzz_target!(|data: &[u8]| {
    let _ = media_type::is_compressible(data);
    let mut at = 0;
    for member in list::members(data) {
        assert!(!member.is_empty() && member.trim_ascii() == member);
        let start = member.as_ptr() as usize - data.as_ptr() as usize;
        assert!(at <= start && start + member.len() <= data.len());
        at = start + member.len();
    }
    let fields = lines(&IF_NONE_MATCH, data);
    for value in values(data) {
        let Some(tag) = EntityTag::parse(value.as_bytes()) else { continue };
        assert!(tag.weak_eq(tag) && tag.strong_eq(tag) != tag.weak);
        assert!(entity_tag::any(&fields, &IF_NONE_MATCH, |other| other == tag));
        let own = [(ETAG, value.clone())].into_iter().collect();
        assert_eq!(EntityTag::of(&own), Some(tag));
    }
});
