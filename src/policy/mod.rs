//! RFC 9111 as pure functions of fields, rules and `now`. No I/O, no clock, no
//! state; every refusal has a name.
//!
//! One file for each question:
//!
//! - where a response is kept: `key`, and what of a query counts: `query`
//! - what a request asks of caches: `asks`, and is the cache asked at all: `bypass`
//! - whether a response is kept: `storability`, and is what its path promises:
//!   `static_path`; what there is to say of a refusal: `why`
//! - for how long it is fresh: `freshness`
//! - which of several answers a request: `vary`, and may it: `reuse`
//! - how it is validated: `validate`, and updated: `update`
//! - what of it the client wants: `conditional`, `range`, in which coding:
//!   `compression`
//! - which parts are kept, and become one: `partial`; whether it is fetched
//!   part by part: `slice`
//! - what a write makes void: `invalidate`, and what it brings: `post`
//! - by which tags it is purged: `tags`

mod alike;
mod asks;
mod bypass;
mod compression;
mod conditional;
mod digest;
mod freshness;
mod invalidate;
mod key;
mod partial;
mod parts;
mod post;
mod query;
mod range;
mod reference;
mod reuse;
mod rules;
mod slice;
mod stated;
mod static_path;
mod status;
mod storability;
mod stored;
mod tags;
mod update;
mod validate;
mod vary;
mod why;

#[cfg(test)]
mod testing;

use std::time::SystemTime;

use http::{HeaderMap, Method};

pub use crate::fields::coding::Coding;
pub use alike::Alike;
pub use asks::Asks;
pub use bypass::{BypassReason, bypass};
pub use compression::{CompressionRules, Representation, encode_fields, representation};
pub use conditional::{Precondition, evaluate, not_modified_fields};
pub use digest::remove_content_digests;
pub use freshness::{FreshnessLifetime, LifetimeSource, freshness_lifetime};
pub use invalidate::invalidated_by;
pub use key::{CacheKey, KeyParts, key_prefixes, write_key};
pub use partial::{Part, combined, is_more_of, part_of, range_within};
pub use parts::{HeadParts, SelectingValue};
pub use post::answers_get;
pub use query::{ParameterPattern, QueryRules};
pub use range::{RangeAnswer, asks_for_part, range};
pub use reuse::{Reuse, only_if_cached, outlasts_error, reuse, stale_if_error, stale_windows};
pub use rules::CacheRules;
pub use slice::{PartAnswer, ask_for_part, is_fetched_in_parts, part_answer};
pub use status::is_of_resource;
pub use storability::{NoStoreReason, Storability, is_personal, is_unwanted, storability};
pub use stored::StoredHead;
pub use tags::{LONGEST_TAG, SURROGATE_KEY, requested_tags, tags};
pub use update::{HeadUpdate, freshened, head_freshens};
pub use validate::{conditional, matches_validator, strip_conditional};
pub use vary::{exclude_each_other, has_part, is_more_recent, same_variant, select};
pub use why::{FieldLine, Refusal, Remedy, Sender, Verdict, remedy_of, varies_on, why};

/// What policy reads of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path of its target, as it is forwarded.
    pub path: &'a str,
    /// The fields.
    pub fields: &'a HeaderMap,
    /// What is read of them.
    asks: Asks,
}

impl<'a> RequestHead<'a> {
    /// Reads what the fields ask for.
    pub fn new(method: &'a Method, path: &'a str, fields: &'a HeaderMap) -> Self {
        Self::asking(method, path, fields, Asks::of(fields))
    }

    /// The same where it is known what the fields ask for.
    pub fn asking(method: &'a Method, path: &'a str, fields: &'a HeaderMap, asks: Asks) -> Self {
        Self { method, path, fields, asks }
    }

    /// True if it is about what its client has: it has If-None-Match or
    /// If-Modified-Since (RFC 9110 s13.1.2, s13.1.3).
    pub fn has_validators(&self) -> bool {
        self.asks.has_validators
    }

    /// True if simply the whole of a representation is asked for: it has neither
    /// preconditions nor ranges.
    pub fn is_plain(&self) -> bool {
        !(self.asks.expects_a_state || self.asks.has_validators || self.asks.has_range)
    }

    /// The same request by another method.
    #[must_use]
    pub fn by(self, method: &'a Method) -> Self {
        Self { method, ..self }
    }
}

/// When a response was asked for and when it came (RFC 9111 s4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When the request was sent that it answers.
    pub request: SystemTime,
    /// When its head was received.
    pub response: SystemTime,
}
