//! Writes the head of a record.

use std::time::{Duration, SystemTime};

use http::{HeaderName, header};
use xxhash_rust::xxh3::xxh3_64;

use super::{ABSENT, Blocks, ENDED, LONGEST_HEAD, MAGIC, PREFIX, PRESENT, SOURCES};
use crate::cache::store::Sliced;
use crate::fields::cache_control::{NoCache, ResponseDirectives};
use crate::policy::{HeadParts, SelectingValue, StoredHead};

/// The head of a record, ready to be written before the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Encoded {
    /// Its bytes.
    pub(in super::super) bytes: Vec<u8>,
    /// Which of the variants of its key it is.
    pub(in super::super) variant: u64,
}

/// Writes the head of a response kept under `key` and asked for in `epoch`,
/// whose content has these `blocks`, or is kept in other records; `None` if it
/// would be longer than any that is read.
pub(in super::super) fn encode(
    key: &[u8],
    epoch: u64,
    head: &StoredHead,
    sliced: Option<Sliced>,
    blocks: &Blocks,
) -> Option<Encoded> {
    let parts = head.to_parts();
    let selecting = selecting(parts.selecting.as_deref());
    let mut into = Writer(vec![0; PREFIX]);
    into.bytes(key);
    into.u64(epoch);
    into.head(&parts);
    into.0.extend_from_slice(&selecting);
    into.optional(sliced, |into, sliced| {
        into.u64(sliced.length);
        into.u64(sliced.slice);
        into.u128(sliced.id);
    });
    into.u64(blocks.length());
    for sum in blocks.sums() {
        into.u64(*sum);
    }
    let Writer(mut bytes) = into;
    if bytes.len() > LONGEST_HEAD {
        return None;
    }
    let length = u32::try_from(bytes.len()).ok()?;
    let mut prefix = Writer(Vec::with_capacity(PREFIX));
    prefix.0.extend_from_slice(&MAGIC);
    prefix.u32(length);
    prefix.u64(xxh3_64(&bytes[PREFIX..]));
    bytes[..PREFIX].copy_from_slice(&prefix.0);
    Some(Encoded { bytes, variant: variant_of(&parts, selecting) })
}

/// Which of the variants of its key a response is: the same for those that the
/// same requests select, in the same coding. Two that share it by chance cost each other their
/// place, no more, for it is never taken for the selecting fields themselves.
pub(in super::super) fn variant(head: &StoredHead) -> u64 {
    let parts = head.to_parts();
    let selecting = selecting(parts.selecting.as_deref());
    variant_of(&parts, selecting)
}

fn variant_of(parts: &HeadParts, mut selecting: Vec<u8>) -> u64 {
    for codings in parts.fields.get_all(header::CONTENT_ENCODING) {
        selecting.extend(codings.as_bytes().to_ascii_lowercase());
    }
    xxh3_64(&selecting)
}

fn selecting(values: Option<&[SelectingValue]>) -> Vec<u8> {
    let mut into = Writer(Vec::new());
    into.optional(values, |into, values| {
        into.count(values.len());
        for (name, form) in values {
            into.bytes(name.as_str().as_bytes());
            into.optional(form.as_deref(), Writer::bytes);
        }
    });
    into.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, parts: &HeadParts) {
        self.u16(parts.status.as_u16());
        self.duration(parts.lifetime.duration);
        // INVARIANT: the list has every source, which its test holds.
        let source = SOURCES.iter().position(|source| *source == parts.lifetime.source).unwrap_or_default();
        let ended = if parts.is_ended { ENDED } else { 0 };
        self.u8(u8::try_from(source).unwrap_or_default() | ended);
        self.duration(parts.initial_age);
        self.time(parts.made);
        self.time(parts.received);
        self.directives(&parts.directives);
        self.count(parts.fields.len());
        for (name, value) in &parts.fields {
            self.bytes(name.as_str().as_bytes());
            self.bytes(value.as_bytes());
        }
    }

    fn directives(&mut self, stated: &ResponseDirectives) {
        let ResponseDirectives {
            max_age,
            s_maxage,
            no_cache,
            no_store,
            private,
            public,
            must_revalidate,
            proxy_revalidate,
            must_understand,
            immutable,
            stale_while_revalidate,
            stale_if_error,
        } = stated;
        for seconds in [max_age, s_maxage, stale_while_revalidate, stale_if_error] {
            self.optional(*seconds, Self::u32);
        }
        for flag in [no_store, private, public, must_revalidate, proxy_revalidate, must_understand, immutable]
        {
            self.u8(if *flag { PRESENT } else { ABSENT });
        }
        match no_cache {
            NoCache::No => self.u8(0),
            NoCache::Whole => self.u8(1),
            NoCache::Fields(names) => {
                self.u8(2);
                self.count(names.len());
                names.iter().map(HeaderName::as_str).for_each(|name| self.bytes(name.as_bytes()));
            }
        }
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.u8(ABSENT),
            Some(value) => {
                self.u8(PRESENT);
                write(self, value);
            }
        }
    }

    fn time(&mut self, time: SystemTime) {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => {
                self.u8(0);
                self.duration(after);
            }
            Err(before) => {
                self.u8(1);
                self.duration(before.duration());
            }
        }
    }

    fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u32(duration.subsec_nanos());
    }

    /// What does not fit makes a head that is too long anyway.
    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u128(&mut self, number: u128) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
}
