//! From TOML with spans to typed values: the words every section is read with.
//! Collects all errors and goes on with the default; decides nothing about
//! what a key means.

mod diagnostic;
mod fault;
mod suggest;
mod table;
mod units;
mod value;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

pub(crate) use diagnostic::{Diagnostic, Diagnostics, Rendered, Span, render};
pub(crate) use fault::Fault;
pub(crate) use suggest::did_you_mean;
pub(crate) use table::{Entry, Table};
pub(crate) use units::{duration_text, frequency, percent, rate};
pub(crate) use value::Value;

use super::Machine;

/// What the readers of all sections share.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    /// Where findings go.
    pub(crate) diagnostics: RefCell<Diagnostics>,
    /// The machine the defaults are for.
    pub(crate) machine: &'a Machine,
    /// What relative paths are relative to.
    pub(crate) base_dir: &'a Path,
    /// Whether the files the config names are looked into.
    pub(crate) files: Files,
}

/// Whether the files a config names are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// Certificates, keys and roots are read and checked.
    Check,
    /// Only the text counts.
    Trust,
}

impl<'a> Reading<'a> {
    /// Nothing was found yet.
    pub(crate) fn new(machine: &'a Machine, base_dir: &'a Path, files: Files) -> Self {
        Self { diagnostics: RefCell::new(Diagnostics::default()), machine, base_dir, files }
    }

    /// Notes a finding.
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Notes that something is missing, unless a syntax error may have hidden it.
    pub(crate) fn report_missing(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push_missing(diagnostic);
    }

    /// A path as the config means it.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.base_dir.join(path)
    }
}
