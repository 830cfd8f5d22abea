//! Reads the head of a record and believes nothing of it: every length is
//! compared with what there is before anything is taken or reserved.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::{ABSENT, Blocks, ENDED, LONGEST_HEAD, MAGIC, PREFIX, PRESENT, SOURCES};
use crate::cache::store::Sliced;
use crate::fields::cache_control::{NoCache, ResponseDirectives};
use crate::policy::{FreshnessLifetime, HeadParts, SelectingValue, StoredHead};

/// The head of a record.
#[derive(Debug)]
pub(in super::super) struct Decoded {
    /// The whole key it is kept under.
    pub(in super::super) key: Box<[u8]>,
    /// It was asked for after the purges up to this one.
    pub(in super::super) epoch: u64,
    /// The head of the response.
    pub(in super::super) head: StoredHead,
    /// How its content is kept in other records, if it is.
    pub(in super::super) sliced: Option<Sliced>,
    /// What its content has to be like.
    pub(in super::super) blocks: Blocks,
}

/// Why bytes are not the head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Refused {
    /// Nothing that this version wrote.
    #[error("it is not a record of this version")]
    Foreign,
    /// It ends too early, or states an impossible length.
    #[error("its length is wrong")]
    Length,
    /// It is not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// It states what no record states.
    #[error("it makes no sense")]
    Senseless,
}

/// How long the head is whose first [`PREFIX`] bytes these are.
pub(in super::super) fn head_length(prefix: &[u8]) -> Result<usize, Refused> {
    let mut from = Reader(prefix);
    if from.take(MAGIC.len()).ok_or(Refused::Length)? != MAGIC {
        return Err(Refused::Foreign);
    }
    let length = from.u32().and_then(|length| usize::try_from(length).ok()).ok_or(Refused::Length)?;
    if (PREFIX..=LONGEST_HEAD).contains(&length) { Ok(length) } else { Err(Refused::Length) }
}

/// Reads a head of exactly these bytes.
pub(in super::super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    if head_length(bytes)? != bytes.len() {
        return Err(Refused::Length);
    }
    let (prefix, rest) = bytes.split_at(PREFIX);
    if Reader(&prefix[PREFIX - size_of::<u64>()..]).u64() != Some(xxh3_64(rest)) {
        return Err(Refused::Checksum);
    }
    let mut from = Reader(rest);
    match (from.record(), from.0) {
        (Some(decoded), []) => Ok(decoded),
        _ => Err(Refused::Senseless),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<Decoded> {
        let key = self.bytes()?.into();
        let epoch = self.u64()?;
        let mut parts = self.head()?;
        parts.selecting = self.selecting()?;
        let sliced = self.optional(Self::sliced)?;
        let length = self.u64()?;
        let (sums, []) = self.0.as_chunks() else { return None };
        let sums: Arc<[u64]> = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        self.0 = &[];
        Some(Decoded {
            key,
            epoch,
            head: StoredHead::from_parts(parts),
            sliced,
            blocks: Blocks::from_parts(length, sums)?,
        })
    }

    fn head(&mut self) -> Option<HeadParts> {
        let status = StatusCode::from_u16(self.u16()?).ok()?;
        let (duration, source) = (self.duration()?, self.u8()?);
        let is_ended = source & ENDED != 0;
        let source = *SOURCES.get(usize::from(source & !ENDED))?;
        Some(HeadParts {
            status,
            lifetime: FreshnessLifetime { duration, source },
            initial_age: self.duration()?,
            made: self.time()?,
            received: self.time()?,
            directives: self.directives()?,
            fields: self.fields()?,
            selecting: None,
            is_ended,
        })
    }

    fn directives(&mut self) -> Option<ResponseDirectives> {
        Some(ResponseDirectives {
            max_age: self.optional(Self::u32)?,
            s_maxage: self.optional(Self::u32)?,
            stale_while_revalidate: self.optional(Self::u32)?,
            stale_if_error: self.optional(Self::u32)?,
            no_store: self.flag()?,
            private: self.flag()?,
            public: self.flag()?,
            must_revalidate: self.flag()?,
            proxy_revalidate: self.flag()?,
            must_understand: self.flag()?,
            immutable: self.flag()?,
            no_cache: match self.u8()? {
                0 => NoCache::No,
                1 => NoCache::Whole,
                2 => {
                    let count = self.u32()?;
                    NoCache::Fields((0..count).map(|_| self.name()).collect::<Option<_>>()?)
                }
                _ => return None,
            },
        })
    }

    fn fields(&mut self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        for _ in 0..self.u32()? {
            let name = self.name()?;
            fields.try_append(name, HeaderValue::from_bytes(self.bytes()?).ok()?).ok()?;
        }
        Some(fields)
    }

    fn sliced(&mut self) -> Option<Sliced> {
        Sliced::from_parts(self.u64()?, self.u64()?, self.u128()?)
    }

    fn selecting(&mut self) -> Option<Option<Vec<SelectingValue>>> {
        self.optional(|from| {
            let count = from.u32()?;
            (0..count).map(|_| Some((from.name()?, from.optional(Self::bytes)?.map(Box::from)))).collect()
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        Some(if self.flag()? { Some(read(self)?) } else { None })
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            ABSENT => Some(false),
            PRESENT => Some(true),
            _ => None,
        }
    }

    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.bytes()?).ok()
    }

    fn time(&mut self) -> Option<SystemTime> {
        match (self.u8()?, self.duration()?) {
            (0, after) => SystemTime::UNIX_EPOCH.checked_add(after),
            (1, before) => SystemTime::UNIX_EPOCH.checked_sub(before),
            _ => None,
        }
    }

    fn duration(&mut self) -> Option<Duration> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    fn u8(&mut self) -> Option<u8> {
        self.number().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        let (low, high) = (self.u64()?, self.u64()?);
        Some(u128::from(high) << 64 | u128::from(low))
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
