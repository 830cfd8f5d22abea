//! A table of the file, read key by key. Which keys it knows follows from
//! which ones are asked for; every other one is an error.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeTable;

use super::{Diagnostic, Reading, Span, Value, did_you_mean};

/// A table, or its absence: then every key is absent.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) reading: &'a Reading<'a>,
    /// Where it begins: its heading or its brace.
    pub(crate) span: Span,
    name: String,
    content: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
    refused: Vec<&'static str>,
    any_key: bool,
}

/// A key that the user named, such as that of a pool or a site.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// Where the name stands.
    pub(crate) name_span: Span,
    /// What it is.
    pub(crate) value: Value<'a>,
}

impl<'a> Table<'a> {
    /// Reads a table by `read`, then reports the keys `read` did not ask for.
    pub(crate) fn read<T>(
        reading: &'a Reading<'a>,
        name: &str,
        span: Span,
        content: Option<&'a DeTable<'a>>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let name = name.to_owned();
        let (asked, refused) = (Vec::new(), Vec::new());
        let mut table = Self { reading, span, name, content, asked, refused, any_key: false };
        let result = read(&mut table);
        table.report_unknown_keys();
        result
    }

    /// The value of a key, where it is written.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.find(key)
    }

    /// Reports that none of these keys is there, unless one is there with a slip,
    /// which is reported on its own.
    pub(crate) fn report_absent(&self, keys: &[&'static str], diagnostic: Diagnostic) {
        let written = self.content.into_iter().flat_map(DeTable::keys);
        let is_slip = |key: &str| did_you_mean(key, keys.iter().copied()).is_some();
        if !written.into_iter().any(|key| is_slip(key.get_ref())) {
            self.reading.report_missing(diagnostic);
        }
    }

    /// All keys, which the user is free to name, in the order of the file.
    pub(crate) fn entries(&mut self) -> Vec<Entry<'a>> {
        self.any_key = true;
        let mut entries: Vec<_> = self
            .content
            .into_iter()
            .flat_map(DeTable::iter)
            .map(|(key, item)| {
                let name: &'a str = key.get_ref();
                Entry { name, name_span: key.span(), value: Value::new(self.reading, name, item) }
            })
            .collect();
        entries.sort_by_key(|entry| entry.name_span.start);
        entries
    }

    /// Refuses keys of things that are planned: never ignored.
    pub(crate) fn not_yet(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.refused.push(key);
            if let Some(span) = self.key_span(key) {
                self.reading.report(
                    Diagnostic::error(format!("`{key}` is not supported yet"))
                        .at(span, "this version does not do it")
                        .help("take it out: nothing here is silently ignored"),
                );
            }
        }
    }

    /// Refuses keys that belong into another table.
    pub(crate) fn belongs_elsewhere(&mut self, keys: &[&'static str], where_to: &str) {
        for key in keys {
            self.refused.push(key);
            if let Some(span) = self.key_span(key) {
                self.reading.report(
                    Diagnostic::error(format!("`{key}` does not belong into {}", self.name))
                        .at(span, "not known here")
                        .help(where_to),
                );
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key).and_then(|value| value.flag()).unwrap_or(default)
    }

    /// A whole number.
    pub(crate) fn number<N: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        default: N,
        range: RangeInclusive<u64>,
    ) -> N {
        let number = self.value(key).and_then(|value| value.number(range));
        number.and_then(|number| N::try_from(number).ok()).unwrap_or(default)
    }

    /// A size in bytes.
    pub(crate) fn size<N: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        default: N,
        range: RangeInclusive<u64>,
    ) -> N {
        let size = self.value(key).and_then(|value| value.size(range));
        size.and_then(|size| N::try_from(size).ok()).unwrap_or(default)
    }

    /// A duration.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.value(key).and_then(|value| value.duration(range)).unwrap_or(default)
    }

    /// A list, each item by `read`; `None` where it is not written or no list.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(Value<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.value(key)?.items()?;
        Some(items.into_iter().filter_map(read).collect())
    }

    /// A table in this table. Where it is absent, `read` sees an empty one, so
    /// that the defaults stand in one place.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        match self.value(key) {
            Some(value) => value.table_or_empty(read),
            None => Self::read(self.reading, &format!("`{key}`"), self.span.clone(), None, read),
        }
    }

    fn find(&self, key: &str) -> Option<Value<'a>> {
        let (key, item) = self.content?.get_key_value(key)?;
        Some(Value::new(self.reading, key.get_ref(), item))
    }

    fn key_span(&self, key: &str) -> Option<Span> {
        self.content?.get_key_value(key).map(|(key, _)| key.span())
    }

    fn report_unknown_keys(&self) {
        if self.any_key {
            return;
        }
        for (key, _) in self.content.into_iter().flat_map(DeTable::iter) {
            let written: &str = key.get_ref();
            if self.asked.contains(&written) || self.refused.contains(&written) {
                continue;
            }
            let help = match did_you_mean(written, self.asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.reading.report(
                Diagnostic::error(format!("unknown key `{}`", written.escape_debug()))
                    .at(key.span(), format!("not a key of {}", self.name))
                    .help(help),
            );
        }
    }
}
