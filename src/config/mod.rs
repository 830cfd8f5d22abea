//! The configuration: what a user wrote, checked, as values the program can
//! work with. It reads one file (and looks into the certificates that this one
//! names) and starts nothing. All errors of a file are reported at once.

mod acme;
mod admin;
mod by_host;
mod cache;
mod changes;
mod compress;
mod dns;
mod key;
mod limits;
mod listen;
mod log;
mod machine;
pub mod model;
mod pem;
mod pool;
mod read;
mod resolver;
mod root;
mod secret;
mod serve;
mod site;
mod webhook;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

pub use by_host::ByHost;
pub use changes::{Change, ChangeKind, Changes};
#[cfg(all(test, feature = "dns-providers"))]
pub(crate) use dns::PROVIDERS as DNS_PROVIDERS;
pub use machine::Machine;
pub use model::Config;
pub use serve::serve_text;
pub use site::is_orderable;

use cache::CacheSection;
use model::{Acme, Limits, Listen};
use read::{Diagnostic, Diagnostics, Files, Reading, Rendered};

use crate::base::FileMark;

/// The largest file that is taken for a config.
const LARGEST_FILE: u64 = 4 << 20;

/// A config that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// What is hardly meant, each rendered with its place in the file.
    pub warnings: Vec<String>,
    /// The file it was read from; `None` for a text that was given.
    pub source: Option<PathBuf>,
    /// That file as it was before it was read.
    pub mark: Option<FileMark>,
    /// The text it was read from.
    pub text: String,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any config.
    #[error("{} is larger than {} MiB, and no config is that large", path.display(), LARGEST_FILE >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file holds errors; the text shows each in its place, and the
    /// warnings with them.
    #[error("{rendered}")]
    Invalid {
        /// The findings as text.
        rendered: String,
        /// How many of them are errors.
        errors: usize,
    },
}

/// Reads and checks a config file, and the certificate files it names.
///
/// # Errors
/// When the file cannot be read or holds errors.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    load_for(&Machine::detect(), path)
}

/// As [`load`], for a machine that is given.
///
/// # Errors
/// When the file cannot be read or holds errors.
pub fn load_for(machine: &Machine, path: &Path) -> Result<Loaded, ConfigError> {
    let mark = FileMark::of(path);
    let text = read_file(path)?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    let mut loaded = check(&path.display().to_string(), &text, base_dir, machine, Files::Check)?;
    (loaded.source, loaded.mark) = (Some(path.to_owned()), mark);
    Ok(loaded)
}

/// Checks the text of a config; the files it names are not looked into.
/// `file_name` stands in messages, relative paths are relative to `base_dir`.
///
/// # Errors
/// When the text holds errors.
pub fn parse(file_name: &str, text: &str, base_dir: &Path) -> Result<Loaded, ConfigError> {
    parse_for(&Machine::detect(), file_name, text, base_dir)
}

/// As [`parse`], for a machine that is given.
///
/// # Errors
/// When the text holds errors.
pub fn parse_for(
    machine: &Machine,
    file_name: &str,
    text: &str,
    base_dir: &Path,
) -> Result<Loaded, ConfigError> {
    check(file_name, text, base_dir, machine, Files::Trust)
}

/// The admin socket of the edge that runs with the config in `path`. The files
/// this names are not looked into: who asks may not be allowed to read them. Nor
/// do errors elsewhere in it count: the edge may run with what it held before.
///
/// # Errors
/// When the config cannot be read.
pub fn admin_socket(path: &Path) -> Result<PathBuf, ConfigError> {
    let base_dir = path.parent().unwrap_or(Path::new(""));
    let machine = Machine::detect();
    let reading = Reading::new(&machine, base_dir, Files::Trust);
    Ok(root::read(&reading, &read_file(path)?).admin.socket)
}

/// The admin socket of an edge that runs without a config.
pub fn default_admin_socket() -> PathBuf {
    let machine = Machine::detect();
    admin::default_socket(&machine, &machine.state_dir)
}

/// What a pool or a site depends on.
#[derive(Debug)]
struct Around<'a> {
    listen: &'a Listen,
    limits: &'a Limits,
    acme: &'a Acme,
    cache: &'a CacheSection,
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(content).map_err(|error| not_utf8(&path.display().to_string(), &error))
}

fn not_utf8(file_name: &str, error: &FromUtf8Error) -> ConfigError {
    let text = String::from_utf8_lossy(error.as_bytes());
    let start = error.utf8_error().valid_up_to();
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(
        Diagnostic::error("the file is not UTF-8")
            .at(start..start + char::REPLACEMENT_CHARACTER.len_utf8(), "not a character")
            .help("save it as UTF-8, as TOML has to be"),
    );
    invalid(file_name, read::render(diagnostics, file_name, &text))
}

fn check(
    file_name: &str,
    text: &str,
    base_dir: &Path,
    machine: &Machine,
    files: Files,
) -> Result<Loaded, ConfigError> {
    let reading = Reading::new(machine, base_dir, files);
    let config = root::read(&reading, text);
    let rendered = read::render(reading.diagnostics.into_inner(), file_name, text);
    if rendered.errors == 0 {
        return Ok(Loaded {
            config,
            warnings: rendered.findings,
            source: None,
            mark: None,
            text: text.to_owned(),
        });
    }
    Err(invalid(file_name, rendered))
}

fn invalid(file_name: &str, rendered: Rendered) -> ConfigError {
    let plural = if rendered.errors == 1 { "error" } else { "errors" };
    let total = format!("{file_name}: {} {plural}", rendered.errors);
    let findings = rendered.findings.into_iter().chain([total]).collect::<Vec<_>>();
    ConfigError::Invalid { rendered: findings.join("\n\n"), errors: rendered.errors }
}
