//! `cache`: the store as a whole, and the rules that the file, a site and a
//! route give one after the other.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::model::{CacheConfig, DiskConfig, Secret};
use super::read::{Diagnostic, Fault, Table, Value};
use super::{compress, key, secret};
use crate::policy::{CacheRules, QueryRules, SURROGATE_KEY};

const MIB: u64 = 1 << 20;
/// The least and the most that the memory tier is given unless it is written.
const AUTOMATIC: (u64, u64) = (64 * MIB, 1024 * MIB);
/// A memory tier of more than this part of the memory would soon have to give way.
const MOST_PERCENT: u64 = 60;
const DISK: RangeInclusive<u64> = 64 * MIB..=1 << 60;
const OBJECT: RangeInclusive<u64> = 1..=1 << 50;
const LIFETIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10 * 365 * 24 * 3600);

/// The store, and the rules where no site or route says otherwise.
#[derive(Clone, Debug)]
pub(super) struct CacheSection {
    pub(super) store: CacheConfig,
    pub(super) purge_token: Option<Secret>,
    pub(super) rules: CacheRules,
    /// The largest object that the store takes, whatever is written.
    pub(super) most: u64,
}

/// Reads the table of the whole file, for a process that may use so many bytes.
pub(super) fn read(table: &mut Table<'_>, there_is: u64) -> CacheSection {
    table.belongs_elsewhere(
        &["ttl", "force", "ignore_query", "ignore_cookies"],
        "give it to a site or a route: cache = { ttl = \"1h\" }; for all there is `default_ttl`",
    );
    let memory = memory(table, there_is);
    let disk = table.value("disk").and_then(|value| value.table(disk)?);
    let defaults = CacheRules::default();
    // Objects share the memory tier: one must not push out all others. The disk
    // takes larger ones, in slices.
    let in_memory = memory / 8;
    let most = if disk.is_some() { u64::MAX } else { in_memory };
    let inherited = CacheRules { max_object: defaults.max_object.min(most), ..defaults };
    let rules = CacheRules {
        max_object: table.size("max_object", inherited.max_object, OBJECT).min(most),
        ..common_rules(table, &inherited)
    };
    let tags_field = table.value("tags_field").and_then(|value| tags_field(&value)).unwrap_or(SURROGATE_KEY);
    let purge_token = table.value("purge_token").and_then(|value| secret::read(&value));
    CacheSection {
        store: CacheConfig { memory, max_object: in_memory, disk, tags_field },
        purge_token,
        rules,
        most,
    }
}

/// Reads the `cache` of a site or route: `false`, `true` or a table, over what
/// it inherits, in a store that takes objects of `most` bytes.
pub(super) fn rules(value: Option<Value<'_>>, inherited: &CacheRules, most: u64) -> CacheRules {
    let Some(value) = value else { return inherited.clone() };
    if value.is_false() || value.is_true() {
        return CacheRules { enabled: value.is_true(), ..inherited.clone() };
    }
    if !value.is_table() {
        value.mismatch("false or a table");
        return inherited.clone();
    }
    value.table_or_empty(|table| rules_table(table, inherited, most))
}

fn rules_table(table: &mut Table<'_>, inherited: &CacheRules, most: u64) -> CacheRules {
    table.belongs_elsewhere(
        &["memory", "disk", "tags_field", "purge_token"],
        "there is one store for all sites: set it in [cache]",
    );
    let ttl = table.value("ttl").and_then(|value| value.duration(LIFETIME)).or(inherited.ttl);
    let force = table.value("force");
    let common = common_rules(table, inherited);
    let rules = CacheRules {
        enabled: true,
        ttl,
        force: force.as_ref().and_then(Value::flag).unwrap_or(inherited.force),
        query: QueryRules {
            ignored: table.flag("ignore_query", inherited.query.ignored),
            ..common.query.clone()
        },
        ignore_cookies: table.flag("ignore_cookies", inherited.ignore_cookies),
        max_object: table.size("max_object", inherited.max_object, OBJECT).min(most),
        ..common
    };
    if let Some(force) = force.filter(Value::is_true) {
        check_force(&force, &rules);
    }
    rules
}

fn check_force(force: &Value<'_>, rules: &CacheRules) {
    if rules.ttl.is_none() {
        force.fault(Fault::new("needs a `ttl` to put in place of what the response states"));
        return;
    }
    force.warn(
        "`force` overrides `no-store` and `private`",
        "stores what the origin server says is not for everyone",
        "keep it to routes whose responses are the same for every client",
    );
}

/// The keys that the file, a site and a route have in common.
fn common_rules(table: &mut Table<'_>, inherited: &CacheRules) -> CacheRules {
    CacheRules {
        default_ttl: table.duration("default_ttl", inherited.default_ttl, LIFETIME),
        negative_ttl: table.duration("negative_ttl", inherited.negative_ttl, LIFETIME),
        stale_while_revalidate: table.duration(
            "stale_while_revalidate",
            inherited.stale_while_revalidate,
            LIFETIME,
        ),
        stale_if_error: table.duration("stale_if_error", inherited.stale_if_error, LIFETIME),
        query: key::read(table.value("key"), &inherited.query),
        compression: compress::read(table.value("compress"), &inherited.compression),
        ..inherited.clone()
    }
}

/// An eighth of what there is, unless it is written.
fn memory(table: &mut Table<'_>, there_is: u64) -> u64 {
    let default = (there_is / 8).clamp(AUTOMATIC.0.min(there_is / 4), AUTOMATIC.1);
    let written = table.value("memory").filter(|value| !value.is_word("auto"));
    let Some(value) = written else { return default };
    let Some(memory) = value.size(MIB..=1 << 50) else { return default };
    if memory > there_is / 100 * MOST_PERCENT {
        value.warn(
            "the cache is too large for the memory",
            &format!("there are {} MiB for everything", there_is / MIB),
            "it gives way before all of them are in use; \"auto\" takes an eighth",
        );
    }
    memory
}

fn tags_field(value: &Value<'_>) -> Option<HeaderName> {
    value.parse("the name of a field", |text| {
        text.parse()
            .map_err(|_| Fault::new("not the name of a field").help("the usual one is \"Surrogate-Key\""))
    })
}

/// Both keys are needed: neither has a value that suits most.
fn disk(table: &mut Table<'_>) -> Option<DiskConfig> {
    let (path, size) = (table.value("path"), table.value("size"));
    for (key, value) in [("path", &path), ("size", &size)] {
        if value.is_none() {
            let error = Diagnostic::error(format!("the disk cache has no `{key}`"))
                .at(table.span.clone(), "says only a part of it")
                .help("write disk = { path = \"/var/cache/seawall\", size = \"10GiB\" }");
            table.report_absent(&[key], error);
        }
    }
    let (path, size) = (path.and_then(|path| path.path()), size.and_then(|size| size.size(DISK)));
    Some(DiskConfig { path: path?, size: size? })
}
