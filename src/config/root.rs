//! The file as a whole: its syntax, its outermost keys, and the order in which
//! sections are read, each after those it depends on.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use nix::unistd::User;
use toml::de::DeTable;

use super::model::{Config, SiteTls};
use super::read::{Diagnostic, Fault, Files, Reading, Table, Value};
use super::{Around, acme, admin, cache, limits, listen, log, pool, site};

/// Reads the whole file; what is wrong is reported and has its default in the
/// result.
pub(super) fn read(reading: &Reading<'_>, text: &str) -> Config {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        reading.report(Diagnostic::syntax("the file is not TOML").at(span, error.message()));
    }
    Table::read(reading, "a config", 0..0, Some(tree.get_ref()), config)
}

fn config(root: &mut Table<'_>) -> Config {
    root.not_yet(&["cluster", "http3"]);
    check_any_site(root);
    let user = root.value("user").and_then(|value| user_of(&value));
    let state_dir = state_dir(root, user.is_some());
    let listen = root.section("listen", listen::read);
    let limits = root.section("limits", limits::read);
    let (acme, on_demand) = root.section("acme", |table| {
        (acme::read(table, &listen), table.value("on_demand").map(|value| value.span))
    });
    let cache = root.section("cache", |table| cache::read(table, limits.memory));
    let around = Around { listen: &listen, limits: &limits, acme: &acme, cache: &cache };
    let mut pools = root.section("pool", |table| pool::read(table, &around));
    let sites = root.section("site", |table| site::read(table, &around, &mut pools));
    if let Some(span) = on_demand.filter(|_| !sites.all.iter().any(|site| site.tls == SiteTls::OnDemand)) {
        root.reading.report(
            Diagnostic::warning("no site orders certificates on demand")
                .at(span, "nobody is asked")
                .help("add a [site.\"*\"], or leave it out"),
        );
    }
    Config {
        email: root.value("email").and_then(|value| value.parse("an address for mail", email)),
        workers: workers(root),
        tls_default: sites.tls_default(root.value("tls_default")),
        log: root.section("log", log::read),
        admin: root.section("admin", |table| admin::read(table, &state_dir, &listen)),
        cache: cache.store,
        purge_token: cache.purge_token,
        pools: pools.finish(root.reading),
        sites: sites.all,
        user,
        state_dir,
        listen,
        limits,
        acme,
    }
}

fn check_any_site(root: &mut Table<'_>) {
    let error = Diagnostic::error("the file has no site")
        .help("write [site.\"example.com\"] and under it origins = [\"10.0.0.1:8080\"]");
    match root.value("site") {
        Some(sites) if sites.is_empty_table() => root.reading.report_missing(error),
        _ => root.report_absent(&["site"], error),
    }
}

/// The same whoever reads the file, where it names who runs the process.
fn state_dir(root: &mut Table<'_>, has_user: bool) -> PathBuf {
    let written = root.value("state_dir").and_then(|value| value.path());
    let machine = root.reading.machine;
    let of_machine = if has_user { &machine.system_state_dir } else { &machine.state_dir };
    written.unwrap_or_else(|| of_machine.clone())
}

fn user_of(value: &Value<'_>) -> Option<String> {
    let name = value.parse("a user", user)?;
    // A file may be checked on another machine than the one that it is for.
    if value.reading.files == Files::Check && matches!(User::from_name(&name), Ok(None)) {
        let help = format!("make one before the next start: useradd --system {name}");
        value.warn(format!("this machine has no user `{name}`"), "nobody to become", &help);
    }
    Some(name)
}

fn user(text: &str) -> Result<String, Fault> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match text.bytes().all(is_name) && !text.is_empty() {
        true if text == "root" => Err(Fault::new("root is who starts it").help("name another user, or none")),
        true => Ok(text.to_owned()),
        false => Err(Fault::new("not the name of a user").help("write one such as \"seawall\"")),
    }
}

fn email(text: &str) -> Result<String, Fault> {
    let is_address = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.starts_with('.')
    });
    let is_plain =
        text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ','));
    if is_address && is_plain {
        return Ok(text.to_owned());
    }
    Err(Fault::new("not an address for mail")
        .help("the certificate authority writes to it: \"me@example.com\""))
}

fn workers(root: &mut Table<'_>) -> NonZeroUsize {
    let cores = root.reading.machine.cores;
    let written = root.value("workers").filter(|value| !value.is_word("auto"));
    written.and_then(|value| worker_count(&value)).unwrap_or(cores)
}

fn worker_count(value: &Value<'_>) -> Option<NonZeroUsize> {
    if value.is_text() {
        value.fault(
            Fault::new("unknown word").help("it is a number or \"auto\", which is one for every core"),
        );
        return None;
    }
    value.number(1..=1024).and_then(|count| usize::try_from(count).ok()).and_then(NonZeroUsize::new)
}
