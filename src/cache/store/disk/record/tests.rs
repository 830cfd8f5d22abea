//! What is written is read as it was, and nothing else is read at all.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::fields::cache_control::{NoCache, ResponseDirectives};
use crate::policy::{FreshnessLifetime, HeadParts, LifetimeSource, StoredHead};

fn name() -> impl Strategy<Value = HeaderName> {
    "[a-z][a-z0-9-]{0,12}".prop_map(|name| name.parse().unwrap())
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 40, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn time() -> impl Strategy<Value = SystemTime> {
    (any::<bool>(), duration()).prop_map(|(before, duration)| {
        let epoch = SystemTime::UNIX_EPOCH;
        if before { epoch - duration } else { epoch + duration }
    })
}

fn directives() -> impl Strategy<Value = ResponseDirectives> {
    let no_cache =
        prop_oneof![Just(NoCache::No), Just(NoCache::Whole), vec(name(), 0..3).prop_map(NoCache::Fields)];
    (
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        no_cache,
        any::<[bool; 7]>(),
    )
        .prop_map(|(max_age, s_maxage, stale, no_cache, flags)| ResponseDirectives {
            max_age,
            s_maxage,
            no_cache,
            no_store: flags[0],
            private: flags[1],
            public: flags[2],
            must_revalidate: flags[3],
            proxy_revalidate: flags[4],
            must_understand: flags[5],
            immutable: flags[6],
            stale_while_revalidate: stale,
            stale_if_error: s_maxage,
        })
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let value = vec(prop_oneof![0x20..0x7f_u8, 0x80..0xff_u8, Just(b'\t')], 0..20)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    vec((name(), value), 0..8).prop_map(|lines| {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(name, value);
        }
        fields
    })
}

prop_compose! {
    fn parts()(
        status in 100..1000_u16,
        fields in fields(),
        directives in directives(),
        selecting in option::of(vec((name(), option::of(vec(any::<u8>(), 0..9).prop_map(Vec::into))), 0..3)),
        (lifetime, initial_age) in (duration(), duration()),
        source in 0..SOURCES.len(),
        (made, received) in (time(), time()),
        is_ended: bool,
    ) -> HeadParts {
        HeadParts {
            status: StatusCode::from_u16(status).unwrap(),
            fields,
            directives,
            selecting,
            lifetime: FreshnessLifetime { duration: lifetime, source: SOURCES[source] },
            initial_age,
            made,
            received,
            is_ended,
        }
    }
}

fn record(parts: HeadParts, key: &[u8], content: &[u8]) -> Vec<u8> {
    encode(key, 7, &StoredHead::from_parts(parts), None, &Blocks::of(content)).unwrap().bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read(parts in parts(), key in vec(any::<u8>(), 0..40), length in 0..3 * BLOCK) {
        let content = vec![7; length];
        let bytes = record(parts.clone(), &key, &content);
        prop_assert_eq!(head_length(&bytes), Ok(bytes.len()));
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!(decoded.epoch, 7);
        prop_assert_eq!(&decoded.key[..], &key[..]);
        prop_assert_eq!(&decoded.blocks, &Blocks::of(&content));
        let restored = decoded.head.to_parts();
        let lines = |fields: &HeaderMap| fields.iter().map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>();
        prop_assert_eq!(lines(&restored.fields), lines(&parts.fields), "in the same order");
        prop_assert_eq!(restored, parts);
    }

    #[test]
    fn what_was_changed_is_refused(
        parts in parts(),
        flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = record(parts, b"key", b"content");
        let mut changed = bytes.clone();
        for (at, bit) in flips {
            *at.get_mut(&mut changed[..]) ^= 1 << bit;
        }
        prop_assert!(changed == bytes || decode(&changed).is_err());
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
        // Behind a prefix that is right the decoder itself is reached.
        let mut prefix = MAGIC.to_vec();
        prefix.extend_from_slice(&u32::try_from(PREFIX + bytes.len()).unwrap().to_le_bytes());
        prefix.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
        prefix.append(&mut bytes);
        let _ = decode(&prefix);
    }

    #[test]
    fn a_decoder_that_is_lied_to_does_not_panic(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        lie in any::<u32>(),
    ) {
        let mut bytes = record(parts, b"key", b"content");
        let at = PREFIX + at.index(bytes.len() - PREFIX - 4);
        bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes[PREFIX..]);
        bytes[PREFIX - 8..PREFIX].copy_from_slice(&sum.to_le_bytes());
        let _ = decode(&bytes);
    }
}

#[test]
fn every_bit_of_a_head_counts() {
    let head = StoredHead::from_parts(HeadParts {
        status: StatusCode::OK,
        fields: HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]),
        directives: ResponseDirectives::default(),
        selecting: Some(Vec::new()),
        lifetime: FreshnessLifetime { duration: Duration::ZERO, source: LifetimeSource::None },
        initial_age: Duration::ZERO,
        made: SystemTime::UNIX_EPOCH,
        received: SystemTime::UNIX_EPOCH,
        is_ended: false,
    });
    let bytes = encode(b"key", 7, &head, None, &Blocks::of(b"content")).unwrap().bytes;
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(decode(&changed).is_err(), "bit {at}");
    }
    let mut parts = head.to_parts();
    parts.fields.insert("x", HeaderValue::from_bytes(&vec![b'x'; LONGEST_HEAD]).unwrap());
    assert!(
        encode(b"key", 7, &StoredHead::from_parts(parts), None, &Blocks::of(b"")).is_none(),
        "longer than any that is read"
    );
}

#[test]
fn every_source_of_a_lifetime_can_be_written() {
    for source in SOURCES {
        // Whoever adds one is told by the compiler to add it to the list, too.
        match source {
            LifetimeSource::SharedMaxAge
            | LifetimeSource::MaxAge
            | LifetimeSource::Expires
            | LifetimeSource::Targeted
            | LifetimeSource::Route
            | LifetimeSource::Heuristic
            | LifetimeSource::Negative
            | LifetimeSource::Default
            | LifetimeSource::None => {}
        }
    }
    let names: std::collections::BTreeSet<_> = SOURCES.iter().map(|source| source.as_str()).collect();
    assert_eq!(names.len(), 9);
}

#[test]
fn blocks_are_checked_one_by_one() {
    let mut content = vec![0; 2 * BLOCK + 5];
    content.iter_mut().enumerate().for_each(|(at, byte)| *byte = u8::try_from(at % 251).unwrap());
    let blocks = Blocks::of(&content);
    assert_eq!((blocks.length(), blocks.count()), (2 * BLOCK as u64 + 5, 3));
    for block in 0..3 {
        let range = blocks.range(block);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(blocks.holds(block, &content[range.clone()]));
        assert!(!blocks.holds(block, &content[range.start..range.end - 1]));
        content[range.start] ^= 1;
        assert!(!blocks.holds(block, &content[range]));
    }
    assert!(!blocks.holds(3, &[]));
    assert_eq!(Blocks::of(b"").count(), 0);
}
