//! One value of the file, turned into what its key needs. What does not fit is
//! reported, and `None` stands for it.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::units::{self, duration_text, size_text};
use super::{Diagnostic, Fault, Reading, Span, Table, did_you_mean};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) reading: &'a Reading<'a>,
    /// The key it belongs to; an item of a list has that of the list.
    pub(crate) key: &'a str,
    /// Where it stands; for a table its heading.
    pub(crate) span: Span,
    item: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// The value of `key`.
    pub(crate) fn new(reading: &'a Reading<'a>, key: &'a str, item: &'a Spanned<DeValue<'a>>) -> Self {
        Self { reading, key, span: item.span(), item: item.get_ref() }
    }

    /// A text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.text_that_is("a string")
    }

    /// A text that `parse` understands; `what` says what else it has to be.
    pub(crate) fn parse<T>(&self, what: &str, parse: impl FnOnce(&'a str) -> Result<T, Fault>) -> Option<T> {
        let text = self.text_that_is(what)?;
        parse(text).map_err(|fault| self.fault(fault)).ok()
    }

    /// One of a few words.
    pub(crate) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let list = words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let text = self.text_that_is(&format!("one of {list}"))?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(choice.clone());
        }
        let help = match did_you_mean(text, words()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("it is one of {list}"),
        };
        self.fault(Fault::new("unknown word").help(help));
        None
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        let flag = self.item.as_bool();
        if flag.is_none() {
            self.mismatch("true or false");
        }
        flag
    }

    /// A whole number of the range.
    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = self.item else {
            self.mismatch("a number");
            return None;
        };
        let number = u64_of(integer).filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(&range.start().to_string(), &range.end().to_string());
        }
        number
    }

    /// A size of the range, in bytes.
    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.refuse_bare_number("a size", "B")?;
        let size = self.parse("a size such as \"8KiB\"", units::size)?;
        if range.contains(&size) {
            return Some(size);
        }
        self.out_of_range(&size_text(*range.start()), &size_text(*range.end()));
        None
    }

    /// A duration of the range.
    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.refuse_bare_number("a duration", "s")?;
        let duration = self.parse("a duration such as \"10s\"", units::duration)?;
        if range.contains(&duration) {
            return Some(duration);
        }
        self.out_of_range(&duration_text(*range.start()), &duration_text(*range.end()));
        None
    }

    /// A path, absolute or from the directory of the config file.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.parse("a path", |text| match text {
            "" => Err(Fault::new("an empty path")),
            _ if text.contains('\0') => Err(Fault::new("a path with a NUL byte")),
            _ => Ok(self.reading.resolve(text)),
        })
    }

    /// An IP address and a port.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        if let DeValue::Integer(port) = self.item {
            let fault = Fault::new("a port without an address");
            self.fault(fault.help(format!("for every address write \"[::]:{port}\"")));
            return None;
        }
        self.parse("an address and a port", |text| {
            text.parse().map_err(|_| {
                let fault = Fault::new("not an IP address with a port");
                let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
                match port {
                    Some(port) => fault.help(format!("for every address write \"[::]:{port}\"")),
                    None => fault.help("write it as \"127.0.0.1:8080\" or \"[::1]:8080\""),
                }
            })
        })
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        let Some(array) = self.item.as_array() else {
            self.mismatch("a list");
            return None;
        };
        Some(array.iter().map(|item| Self::new(self.reading, self.key, item)).collect())
    }

    /// The items of a list; a single value is a list of one.
    pub(crate) fn items_or_one(&self) -> Vec<Self> {
        if self.item.is_array() { self.items().unwrap_or_default() } else { vec![self.clone()] }
    }

    /// A table, read by `read`.
    pub(crate) fn table<T>(&self, read: impl FnOnce(&mut Table<'a>) -> T) -> Option<T> {
        if self.is_table() {
            return Some(self.table_or_empty(read));
        }
        self.mismatch("a table");
        None
    }

    /// As `table`; after the report of what is no table `read` sees an empty one.
    pub(crate) fn table_or_empty<T>(&self, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        let content = self.item.as_table();
        if content.is_none() {
            self.mismatch("a table");
        }
        Table::read(self.reading, &format!("`{}`", self.key.escape_debug()), self.span.clone(), content, read)
    }

    /// True for a table.
    pub(crate) fn is_table(&self) -> bool {
        self.item.is_table()
    }

    /// What a heading without quotes was meant to name: `[site.example.com]` is
    /// the table `com` in the table `example`, and neither has a key of `known`.
    pub(crate) fn unquoted_name(&self, known: &[&str]) -> Option<String> {
        let mut name = String::new();
        let mut item = self.item;
        while let Some(table) = item.as_table()
            && !table.is_empty()
            && table
                .iter()
                .all(|(key, inner)| inner.get_ref().is_table() && !known.contains(&&**key.get_ref()))
            && let Some((key, inner)) = table.iter().next()
        {
            name.push('.');
            name.push_str(key.get_ref());
            item = inner.get_ref();
        }
        (!name.is_empty()).then(|| format!("{}{name}", self.key))
    }

    /// True for a table without keys.
    pub(crate) fn is_empty_table(&self) -> bool {
        self.item.as_table().is_some_and(DeTable::is_empty)
    }

    /// True for a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        self.item.as_array().is_some_and(|items| items.is_empty())
    }

    /// True for the number 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.item.as_integer().is_some_and(|number| u64_of(number) == Some(0))
    }

    /// True for a text.
    pub(crate) fn is_text(&self) -> bool {
        self.item.is_str()
    }

    /// True for exactly this text.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.item.as_str() == Some(word)
    }

    /// True for `false`.
    pub(crate) fn is_false(&self) -> bool {
        self.item.as_bool() == Some(false)
    }

    /// True for `true`.
    pub(crate) fn is_true(&self) -> bool {
        self.item.as_bool() == Some(true)
    }

    /// Reports that this is not what the key needs.
    pub(crate) fn fault(&self, fault: Fault) {
        self.reading.report(
            Diagnostic::error(format!("invalid `{}`", self.key.escape_debug()))
                .at(self.span.clone(), fault.reason)
                .maybe_help(fault.help),
        );
    }

    /// Reports that the value is of the wrong type.
    pub(crate) fn mismatch(&self, expected: &str) {
        self.reading.report(
            Diagnostic::error(format!("`{}` must be {expected}", self.key.escape_debug()))
                .at(self.span.clone(), format!("this is {}", type_name(self.item))),
        );
    }

    /// Reports something that can be used, but is hardly meant.
    pub(crate) fn warn(&self, title: impl Into<String>, label: &str, help: &str) {
        self.reading.report(Diagnostic::warning(title).at(self.span.clone(), label).help(help));
    }

    fn text_that_is(&self, what: &str) -> Option<&'a str> {
        let text = self.item.as_str();
        if text.is_none() {
            self.mismatch(what);
        }
        text
    }

    fn refuse_bare_number(&self, what: &str, unit: &str) -> Option<()> {
        let number = match self.item {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().split('.').next().unwrap_or_default().to_owned(),
            _ => return Some(()),
        };
        let fault = Fault::new("a number without a unit");
        self.fault(fault.help(format!("{what} is a string with a unit: \"{number}{unit}\"")));
        None
    }

    fn out_of_range(&self, least: &str, most: &str) {
        self.fault(Fault::new(format!("out of range: {least} to {most}")));
    }
}

fn u64_of(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn type_name(item: &DeValue<'_>) -> &'static str {
    match item {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
